"""Texts on two topics: the passages on weddings and shipping, and sentences of BBC articles on business and sport."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.data.bbc import Document, load_bbc
from rheostat.data.weddings_and_shipping import SHIPPING, WEDDINGS

N_WORDS = (10, 22)
"""Words of a sentence taken from an article, at least and at most."""


@dataclass(frozen=True)
class TextSet:
    """Sentences on two topics, and the word of each, whose vector should help its own and leave the other."""

    name: str
    topics: tuple[str, str]
    words: tuple[str, str]
    sentences: tuple[tuple[str, ...], tuple[str, ...]]

    def other(self, topic: str) -> str:
        """Return the other topic."""
        first, second = self.topics
        return second if topic == first else first

    def word(self, topic: str) -> str:
        """Return the word of a topic."""
        return self.words[self.topics.index(topic)]


def own_texts(limit: int) -> TextSet:
    """Return the first `limit` sentences of both passages."""
    return TextSet(
        "passages", ("weddings", "shipping"), (" weddings", " shipping"), (WEDDINGS[:limit], SHIPPING[:limit])
    )


def bbc_texts(limit: int, *, seed: int) -> TextSet:
    """Return sentences of `limit` articles on business and as many on sport, one of each, drawn at random."""
    documents = load_bbc()
    drawn = [_drawn([one for one in documents if one.topic == name], limit, seed) for name in ("business", "sports")]
    return TextSet("bbc", ("business", "sport"), (" business", " sport"), (drawn[0], drawn[1]))


def sentences_of(document: Document) -> list[str]:
    """Return the sentences of an article that are neither short nor long and hold no quotation."""
    split = re.split(r"(?<=[a-z0-9][.!?])\s+(?=[A-Z])", document.text)
    least, most = N_WORDS
    return [one for one in split if least <= len(one.split()) <= most and '"' not in one and one[-1] in ".!?"]


def _drawn(documents: Sequence[Document], limit: int, seed: int) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    found: list[str] = []
    for index in rng.permutation(len(documents)):
        sentences = sentences_of(documents[index])
        if sentences:
            found.append(sentences[int(rng.integers(len(sentences)))])
        if len(found) == limit:
            break
    return tuple(found)
