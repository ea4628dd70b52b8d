"""Mixing a list of words into a prompt: its last token's activation, times a factor, added to one attention output.

As in the post's code the vector goes to every token of the prompt, and to generated ones. Two sources: the attention
output itself, as the post describes, and attention output plus the block's input (`resid_mid`), which its code stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Values
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


def all_dials(model: Model, source: str, factor: float, *, every: int = 1) -> list[Dial]:
    """Return the dials to try with one source and factor: every `every`-th block up to the last."""
    return [Dial(block, source, factor) for block in range((model.n_blocks - 1) % every, model.n_blocks, every)]


def dials_of(table: pd.DataFrame) -> tuple[Dial, ...]:
    """Return the dials of a table with the columns block, source and factor, in order of appearance."""
    keys = table[["block", "source", "factor"]].drop_duplicates()
    columns = zip(keys["block"].tolist(), keys["source"].tolist(), keys["factor"].tolist(), strict=True)
    return tuple(Dial(int(block), str(source), float(factor)) for block, source, factor in columns)


def specific(effects: Values, own: Sequence[int], controls: Sequence[Sequence[int]]) -> Values:
    """Return each list's effect on its own concept beyond that of the control texts on the same concept.

    Args:
        effects: (text, target, …).
        own: per list, which text it is; the list's target has the list's own index.
        controls: per list, which texts are its controls.

    Returns:
        (list, …)
    """
    return np.stack(
        [
            effects[text, index] - effects[list(others), index].mean(axis=0)
            for index, (text, others) in enumerate(zip(own, controls, strict=True))
        ]
    )
