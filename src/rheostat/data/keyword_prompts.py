"""Prompts that end where a keyword of their topic follows, from articles.

A passage starts with a sentence and holds up to three. Several keywords of a passage make several prompts, each of
which begins the next, so that a sweep can run them as one row.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.base.errors import BadArgument, TooLittleText
from rheostat.data.articles import Article
from rheostat.data.inflections import giveaways
from rheostat.data.keywords import occurrences, topic_keywords

SENTENCE_END = re.compile(r"(?<=[a-z0-9%)][.!?])\s+(?=[A-Z\"£$])|(?<=[.!?]\")\s+(?=[A-Z\"£$])")
"""Where a sentence ends: not after `U.S.` or an initial."""
ABBREVIATED = (
    "Mr.",
    "Mrs.",
    "Ms.",
    "Dr.",
    "St.",
    "Sen.",
    "Gov.",
    "Rep.",
    "Gen.",
    "Prof.",
    "Jr.",
    "Inc.",
    "Corp.",
    "vs.",
)
SENTENCES = 3
LEAST_WORDS, MOST_WORDS = 6, 40
"""Words of a prompt."""
PER_PASSAGE = 3
"""Keywords of a passage at most."""
PER_ARTICLE = 2
"""Passages of an article at most."""


@dataclass(frozen=True)
class KeywordPrompt:
    """The text that leads up to a keyword."""

    topic: str
    prompt: str
    """Ends before the keyword and the space before it."""
    keyword: str
    """As it stands in the article; one word, or a name of two."""
    article: str
    """Name of the article."""
    passage: int
    """Number of the passage in its article; prompts of one passage begin one another."""


def keyword_prompts(
    articles: Sequence[Article],
    *,
    n_per_topic: int | None = None,
    per_passage: int = PER_PASSAGE,
    per_article: int = PER_ARTICLE,
    keywords: int = 200,
    seed: int = 0,
) -> tuple[KeywordPrompt, ...]:
    """Return prompts of every topic, topic by topic; those of one passage stand together.

    No prompt holds its keyword or another form of it (`giveaways`). Articles come in a random order, the first passage
    of each before the second of any, so that few prompts stand in many articles.

    Args:
        articles: of at least two topics, without titles.
        n_per_topic: prompts of each topic; None: all there are, which may be more for one topic than for another.
        per_passage: keywords of a passage at most.
        per_article: passages of an article at most; those with most keywords are taken.
        keywords: words per topic that count as keywords; see `topic_keywords`.
        seed: of the order of the articles.

    Raises:
        BadArgument: there is only one topic, or a number is below 1.
        TooLittleText: a topic has too few articles, no word of its own, or gives fewer prompts than asked for.
    """
    for name, number in (("n_per_topic", n_per_topic), ("per_passage", per_passage), ("per_article", per_article)):
        if number is not None and number < 1:
            raise BadArgument(f"{name}={number}: at least 1.")
    found: list[KeywordPrompt] = []
    for place, (topic, known) in enumerate(topic_keywords(articles, most=keywords).items()):
        words = frozenset(keyword.words for keyword in known)
        own = [article for article in articles if article.topic == topic]
        order = np.random.default_rng([seed, place]).permutation(len(own))
        passages = [passages_of(own[one], words, per_passage=per_passage)[:per_article] for one in order]
        prompts = [prompt for turn in range(per_article) for one in passages for prompt in _at(one, turn)]
        if len(prompts) < (n_per_topic or 1):
            raise TooLittleText(
                f"the topic {topic!r} gives {len(prompts)} prompts from {len(own)} articles; {n_per_topic or 1} are "
                "wanted. Give it more text, or ask for fewer."
            )
        found += prompts[:n_per_topic]
    return tuple(found)


def passages_of(
    article: Article, keywords: frozenset[str], *, per_passage: int = PER_PASSAGE
) -> list[tuple[KeywordPrompt, ...]]:
    """Return the prompts of each passage of an article that leads up to a keyword, those with most keywords first.

    Passages do not overlap.
    """
    sentences = sentences_of(article.text)
    passages: list[tuple[KeywordPrompt, ...]] = []
    first = 0
    while first < len(sentences):
        passage = " ".join(sentences[first : first + SENTENCES])
        places = _places(passage, keywords)[:per_passage]
        passages.append(
            tuple(
                KeywordPrompt(article.topic, passage[: start - 1], keyword, article.name, len(passages))
                for start, keyword in places
            )
        )
        last = places[-1][0] if places else 0
        while first < len(sentences) and last >= 0:  # go on behind the sentence of the last keyword
            last -= len(sentences[first]) + 1
            first += 1
    return sorted(filter(None, passages), key=len, reverse=True)


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; after a common abbreviation none ends."""
    found: list[str] = []
    for part in SENTENCE_END.split(text):
        if found and found[-1].endswith(ABBREVIATED):
            found[-1] += f" {part}"
        elif part:
            found.append(part)
    return found


def _places(passage: str, keywords: frozenset[str]) -> list[tuple[int, str]]:
    """Return start and text of the keywords that a prompt may lead up to; none lies in another."""
    found: list[tuple[int, str]] = []
    free_from = 0
    for one in occurrences(passage):
        before = passage[: one.start]
        if (
            one.start >= free_from
            and one.words.lower() in keywords
            and before.endswith(" ")
            and LEAST_WORDS <= len(before.split()) <= MOST_WORDS
            and not giveaways(before, one.words)
        ):
            found.append((one.start, one.words))
            free_from = one.start + len(one.words)
    return found


def _at(passages: Sequence[tuple[KeywordPrompt, ...]], turn: int) -> tuple[KeywordPrompt, ...]:
    return passages[turn] if turn < len(passages) else ()
