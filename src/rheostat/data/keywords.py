"""Keywords of topics: words and names that are more frequent in one topic's articles than in the others'.

The score is the log-odds ratio of document frequencies with a Dirichlet prior in proportion to the frequencies in all
articles, divided by its standard error. The reference counts tokens; counting articles keeps one long article about one
person from making that person a keyword.

Reference: Monroe, Colaresi and Quinn 2008, Fightin' words: lexical feature selection and evaluation for identifying the
content of political conflict.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.base.errors import BadArgument, TooLittleText
from rheostat.data.articles import Article
from rheostat.data.stop_words import STOP_WORDS

PLACE = re.compile(r"(?<![^\s\"(])[A-Za-z]+(?![\w-]|['’]t\b)")
"""A word that a space, a quotation mark or a bracket precedes, in plain letters, whole: no *didn* of *didn't*."""
SHORTEST = 4
"""Letters of a single word; names of two words may have shorter ones."""
LEAST_ARTICLES = 5
"""Articles of a topic in which a keyword stands at least, and articles that a topic needs."""
PRIOR = 0.1
"""Size of the prior, as a share of what was counted."""
SCORE = 1.96
"""Standard errors that a keyword's log-odds lie above zero at least."""


@dataclass(frozen=True)
class Keyword:
    """A word, or a name of two words, that tells a topic from the others."""

    topic: str
    words: str
    """In lower case."""
    score: float
    """Log-odds over its standard error; above 0: more frequent in this topic."""
    n_articles: int
    """Articles of the topic that hold it."""


@dataclass(frozen=True)
class Occurrence:
    """A word or a name of two words in a text."""

    start: int
    words: str
    """As they stand there."""


def occurrences(text: str) -> list[Occurrence]:
    """Return the content words of a text and the names of two words (both with a capital), in order."""
    found: list[Occurrence] = []
    before: re.Match[str] | None = None
    for match in PLACE.finditer(text):
        word = match.group()
        adjacent = before is not None and text[before.end() : match.start()] == " "
        if before is not None and adjacent and _named(before.group()) and _named(word):
            found.append(Occurrence(before.start(), text[before.start() : match.end()]))
        if len(word) >= SHORTEST and word.lower() not in STOP_WORDS:
            found.append(Occurrence(match.start(), word))
        before = match
    return sorted(found, key=lambda one: (one.start, -len(one.words)))


def topic_keywords(articles: Sequence[Article], *, most: int = 200) -> dict[str, tuple[Keyword, ...]]:
    """Return the keywords of every topic, those with the highest score first.

    Args:
        articles: of at least two topics.
        most: keywords per topic.

    Raises:
        BadArgument: there is only one topic.
        TooLittleText: a topic has fewer than five articles, or no word tells it from the others.
    """
    topics = sorted({article.topic for article in articles})
    if len(topics) < 2:
        raise BadArgument(f"keywords tell topics apart; there is only {', '.join(topics) or 'none'}. Give two or more.")
    counts: dict[str, Counter[str]] = {topic: Counter() for topic in topics}
    for article in articles:
        counts[article.topic].update({one.words.lower() for one in occurrences(article.text)})
    n_articles = Counter(article.topic for article in articles)
    for topic in topics:
        if n_articles[topic] < LEAST_ARTICLES:
            raise TooLittleText(
                f"the topic {topic!r} has {n_articles[topic]} articles; at least {LEAST_ARTICLES} are needed to tell "
                "its words from those of other topics. Give it more."
            )
    return {topic: _contrast(topic, counts, most) for topic in topics}


def _contrast(topic: str, counts: dict[str, Counter[str]], most: int) -> tuple[Keyword, ...]:
    """Return the highest words of one topic."""
    own = counts[topic]
    words = sorted(word for word, n in own.items() if n >= LEAST_ARTICLES)
    inside = np.array([own[word] for word in words], dtype=np.float64)
    everywhere = np.array([sum(one[word] for one in counts.values()) for word in words], dtype=np.float64)
    n_inside, n_all = float(own.total()), float(sum(one.total() for one in counts.values()))
    prior, n_prior = PRIOR * everywhere, PRIOR * n_all
    with_prior, other = inside + prior, everywhere - inside + prior
    odds = np.log(with_prior / (n_inside + n_prior - with_prior))
    odds -= np.log(other / (n_all - n_inside + n_prior - other))
    scores = odds / np.sqrt(1 / with_prior + 1 / other)
    order = np.argsort(-scores, kind="stable")[:most]
    found = [Keyword(topic, words[place], float(scores[place]), int(inside[place])) for place in order]
    kept = tuple(keyword for keyword in found if keyword.score >= SCORE)
    if not kept:
        raise TooLittleText(
            f"no word tells the topic {topic!r} from the others (a word counts from {LEAST_ARTICLES} articles on). "
            "Give it more articles, or articles that are about something else than the others'."
        )
    return kept


def _named(word: str) -> bool:
    return word[0].isupper() and len(word) > 1 and word.lower() not in STOP_WORDS
