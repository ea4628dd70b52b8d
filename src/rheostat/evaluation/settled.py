"""What an evaluation settled before its first question, written down, and held against every later call."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.base.files import atomic_file
from rheostat.evaluation.api import now
from rheostat.evaluation.protocol import Protocol
from rheostat.store.key import as_json
from rheostat.tasks.item import Task


@dataclass(frozen=True)
class Settled:
    """Which questions are put to which model, and by what rule."""

    api: str
    """Where the server was; another address of the same model may follow."""
    model: dict[str, Any]
    """What the server said of the model."""
    task: dict[str, Any]
    """Name, number of items and the SHA-256 of all of them; the questions themselves may be dangerous to pass on."""
    protocol: dict[str, Any]
    at: str
    """UTC, ISO 8601."""


def settle(folder: Path, *, api: str, model: dict[str, Any], task: Task, protocol: Protocol) -> Settled:
    """Write down what is settled, or check it against what was.

    Raises:
        BadArgument: the folder holds another evaluation.
        FileNotUsable: the file is damaged.
    """
    path = folder / "protocol.json"
    asked = Settled(api, model, task.describe(), _plain(asdict(protocol)), now())
    if not path.exists():
        with atomic_file(path) as temporary:
            temporary.write_text(as_json(asdict(asked), ordered=False) + "\n", encoding="utf-8")
        return asked
    try:
        found = TypeAdapter(Settled).validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise FileNotUsable(f"{path} is damaged. Begin anew in another folder.") from error
    differs = [name for name in ("task", "protocol", "model") if _identity(found, name) != _identity(asked, name)]
    if differs:
        raise BadArgument(
            f"{folder} holds an evaluation of another {' and '.join(differs)}, settled {found.at}. Nothing of it may "
            "change once questions were asked; give another folder."
        )
    return found


def _identity(settled: Settled, name: str) -> object:
    value: dict[str, Any] = getattr(settled, name)
    return {key: one for key, one in value.items() if key not in ("created", "name")}


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: list(one) if isinstance(one, tuple) else one for key, one in value.items()}
