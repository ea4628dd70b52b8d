"""`Article`: a text with a topic, from BBC News, from a user's folder, or from a user's JSONL file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rheostat.base.errors import FileNotUsable
from rheostat.data.bbc import load_bbc

TOPIC, TEXT = "topic", "text"


@dataclass(frozen=True)
class Article:
    """A text with a topic."""

    topic: str
    name: str
    """Its own: where it stands."""
    text: str


def bbc_articles() -> tuple[Article, ...]:
    """Return the articles of BBC News without their titles, each text once (the corpus repeats some).

    Raises:
        DownloadFailed: the data set could not be fetched.
    """
    first: dict[str, Article] = {}
    for number, document in enumerate(load_bbc()):
        first.setdefault(document.text, Article(document.topic, f"{document.topic}/{number}", document.text))
    return tuple(first.values())


def read_articles(path: str | Path) -> tuple[Article, ...]:
    """Read a user's texts: a folder with one subfolder of .txt files per topic, or JSONL with {"topic", "text"} a line.

    Each text counts once.

    Raises:
        FileNotUsable: nothing such is there, or a file cannot be read.
    """
    place = Path(path)
    found = _of_folder(place) if place.is_dir() else _of_jsonl(place)
    first: dict[str, Article] = {}
    for article in found:
        first.setdefault(article.text, article)
    n_topics = len({article.topic for article in first.values()})
    if n_topics < 2:
        raise FileNotUsable(
            f"{path} holds texts of {n_topics} topics; keywords come from the contrast of at least two. Give a folder "
            'with one subfolder of .txt files per topic, or lines {"topic": …, "text": …}.'
        )
    return tuple(first.values())


def _of_folder(place: Path) -> Iterable[Article]:
    for path in sorted(place.glob("*/*.txt")):
        try:
            text = " ".join(path.read_text(encoding="utf-8-sig").split())
        except (OSError, UnicodeDecodeError) as error:
            raise FileNotUsable(f"{path} cannot be read as text: {error}") from error
        yield Article(path.parent.name, f"{path.parent.name}/{path.name}", text)


def _of_jsonl(place: Path) -> Iterable[Article]:
    try:
        lines = place.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{place} cannot be read as articles: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileNotUsable(f"{place}, line {number} is no JSON ({error.msg}). {_LINE}") from error
        if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in (TOPIC, TEXT)):
            raise FileNotUsable(f"{place}, line {number} has no texts {TOPIC!r} and {TEXT!r}. {_LINE}")
        yield Article(fields[TOPIC], f"{fields[TOPIC]}/line {number}", " ".join(fields[TEXT].split()))


_LINE = 'Each line holds one article: {"topic": …, "text": …}.'
