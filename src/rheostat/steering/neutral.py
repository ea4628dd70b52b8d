"""Real texts about nothing in particular, on which steering should change little."""

from rheostat.base.errors import BadArgument
from rheostat.data.bbc import load_bbc

SHORTEST, LONGEST = 80, 240
"""Characters of a text."""


def neutral_texts(n: int = 20) -> tuple[str, ...]:
    """Return the opening sentences of n BBC News articles, spread evenly over its five topics.

    The texts are fetched with the data set on first use (`rheostat.data.bbc`).

    Raises:
        BadArgument: n is below 1, or above what there is.
        DownloadFailed: the data set could not be fetched.
    """
    openings: dict[str, list[str]] = {}
    for document in load_bbc():
        sentence = document.text.partition(". ")[0].rstrip(".") + "."
        if SHORTEST <= len(sentence) <= LONGEST:
            openings.setdefault(document.topic, []).append(sentence)
    per_topic = -(-n // len(openings))
    if n < 1 or per_topic > min(map(len, openings.values())):
        raise BadArgument(f"n={n}: from 1 to {len(openings) * min(map(len, openings.values()))} neutral texts.")
    chosen = [own[number * len(own) // per_topic] for number in range(per_topic) for own in openings.values()]
    return tuple(chosen[:n])
