"""Word pairs of 14 relations from the wheel `gensim`, under the Apache 2 licence. Fetched, never shipped.

Source: T. Mikolov et al., "Efficient estimation of word representations in vector space", 2013, whose test set it is.
"""

from rheostat.base.errors import DamagedFile
from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="gensim",
    version="4.4.0",
    sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    filename="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    size=27_809_988,
)
"""Read as an archive of data: the same file serves every system."""
MEMBER = "gensim/test/test_data/questions-words.txt"
N_RELATIONS = 14


def load_analogies() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return relation → its distinct pairs of words, in the order of the source."""
    return parse_analogies(read_member(fetch_wheel(WHEEL), MEMBER))


def parse_analogies(content: bytes) -> dict[str, tuple[tuple[str, str], ...]]:
    """Read lines of two pairs of words each, below a line `: relation`.

    Raises:
        DamagedFile: it is no such list.
    """
    found: dict[str, dict[tuple[str, str], None]] = {}
    relation = ""
    for line in content.decode("utf-8").splitlines():
        words = line.split()
        if words[:1] == [":"]:
            relation = " ".join(words[1:])
            found[relation] = {}
        elif len(words) == 4 and relation:
            found[relation] |= dict.fromkeys([(words[0], words[1]), (words[2], words[3])])
        elif words:
            raise DamagedFile(f"{MEMBER} of {WHEEL.filename} holds a line that is no analogy: {line!r}.")
    if len(found) != N_RELATIONS:
        raise DamagedFile(f"{MEMBER} of {WHEEL.filename} holds {len(found)} relations, {N_RELATIONS} were expected.")
    return {relation: tuple(pairs) for relation, pairs in found.items()}
