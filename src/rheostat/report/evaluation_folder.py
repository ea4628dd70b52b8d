"""An evaluation as files: the signed JSON, and the page."""

from pathlib import Path
from typing import TYPE_CHECKING

from rheostat.base.files import atomic_file
from rheostat.evaluation.record import Evaluation
from rheostat.evaluation.signature import public_key_of, signed
from rheostat.report.evaluation_page import evaluation_page

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def write_evaluation(evaluation: Evaluation, folder: str | Path, key: "Ed25519PrivateKey") -> None:
    """Write `record.json` and `index.html` into the evaluation's folder, each whole or not at all.

    Raises:
        FileNotUsable: they cannot be written.
    """
    texts = {
        "record.json": signed(evaluation.content, key),
        "index.html": evaluation_page(evaluation.content, public_key_of(key)),
    }
    for name, text in texts.items():
        with atomic_file(Path(folder) / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
