"""Unrelated contexts that carry an argument: three random words and the argument, over and over."""

from collections.abc import Sequence

import numpy as np

from rheostat.data.dictionary import DICTIONARY
from rheostat.metrics.tokens import Rank
from rheostat.models.network import Network

N_WORDS, REPEATS = 3, 3
"""Words before the argument; the context breaks off after three repeats and the words of a fourth."""


def context_words(network: Network, never: Sequence[str]) -> list[str]:
    """Return everyday words of one token, none of them among the words that are never to stand in a context."""
    left_out = {word.lower() for word in never}
    return [
        word
        for word in dict.fromkeys(DICTIONARY["French"])
        if word.lower() not in left_out and len(network.tokens.spell(" " + word)) == 1
    ]


def repetition(argument: str, words: Sequence[str]) -> str:
    """Return the words and the argument three times, then the words once more."""
    return " ".join([*[*words, argument] * REPEATS, *words])


def draw_words(words: Sequence[str], n: int, rng: np.random.Generator) -> list[list[str]]:
    """Return n draws of three different words."""
    return [[words[place] for place in rng.permutation(len(words))[:N_WORDS]] for _ in range(n)]


class RivalRank(Rank):
    """The rank of a second token per prompt: the answer to another argument, beside the answer's own."""
