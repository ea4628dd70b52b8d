"""Mixing a list of words into a prompt: its last token's activation, times a factor, added to one attention output.

As in the post's code the vector goes to every token of the prompt, and to generated ones. Two sources: the attention
output itself, as the post describes, and attention output plus the block's input (`resid_mid`), which its code stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.model import Model
from rheostat.studies.decoding.cells import all_cells, capture_cells

SOURCES = ("attn_out", "resid_mid")


@dataclass(frozen=True, order=True)
class Dial:
    """Where and how strongly something is mixed in."""

    block: int
    source: str
    factor: float

    def __str__(self) -> str:
        return f"block {self.block}, {self.source} × {self.factor:g}"

    @property
    def site(self) -> str:
        """The site that is edited."""
        return f"blocks.{self.block}.attn_out"


Vectors = Mapping[tuple[str, int, str], Tensor]
"""(mixing text, block, source) → activation, (d_model)."""


def mixing_vectors(model: Model, texts: Sequence[str]) -> dict[tuple[str, int, str], Tensor]:
    """Return the last-token activations of each text at both sources of every block."""
    cells = all_cells(model, SOURCES)
    states = capture_cells(model, texts, cells)
    return {
        (text, cell.block, cell.point): states[index, row]
        for index, cell in enumerate(cells)
        for row, text in enumerate(texts)
    }


def mixing(vectors: Vectors, text: str, dial: Dial) -> Add:
    """Return the edit that mixes a text in; it equals `Mix(site, text, factor, kind=source)`."""
    return Add(dial.site, vectors[text, dial.block, dial.source], strength=dial.factor, positions="all")


def adding(vector: Tensor, dial: Dial) -> Add:
    """Return the edit that adds any vector in the same place, as strongly."""
    return Add(dial.site, vector, strength=dial.factor, positions="all")
