"""Texts of two classes: words that praise or blame, titles of news, snippets of film reviews."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rheostat.data.bbc import load_bbc
from rheostat.data.rotten_tomatoes import load_snippets
from rheostat.data.sentiment_words import SENTIMENT

LEAST_WORDS, MOST_WORDS = 4, 8
"""Of a snippet: longer ones leave less room for examples."""


@dataclass(frozen=True)
class TextSet:
    """Texts of two classes, with the words that name the classes."""

    name: str
    labels: tuple[str, str]
    """The word of class 0 and that of class 1."""
    texts: tuple[tuple[str, ...], tuple[str, ...]]
    """Texts of class 0 and of class 1, each once."""


def sentiment_words() -> TextSet:
    """Return words that blame or praise."""
    return TextSet("words", ("Negative", "Positive"), (SENTIMENT["negative"], SENTIMENT["positive"]))


def news_titles() -> TextSet:
    """Return titles of articles on sports and on business."""
    first = {one.title: one.topic for one in load_bbc()}
    sports, business = (tuple(title for title, of in first.items() if of == topic) for topic in ("sports", "business"))
    return TextSet("titles", ("Sports", "Business"), (sports, business))


def review_snippets() -> TextSet:
    """Return short snippets of reviews of critics who advise against a film, or recommend it."""
    short = [one for one in load_snippets() if LEAST_WORDS <= len(one.text.split()) <= MOST_WORDS]
    rotten, fresh = (tuple(" ".join(one.text.split()) for one in short if one.fresh == side) for side in (False, True))
    return TextSet("reviews", ("Negative", "Positive"), (rotten, fresh))


TEXT_SETS: Mapping[str, Callable[[], TextSet]] = {
    "words": sentiment_words,
    "titles": news_titles,
    "reviews": review_snippets,
}
"""From the easiest to the hardest."""
