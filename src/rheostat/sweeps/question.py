"""`Question`: what a sweep asks, resolved; and the values that answer it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.engine.cells import Cell
from rheostat.engine.forward import run
from rheostat.engine.sweep import sweep_chunks
from rheostat.metrics.metric import Bound, Metric
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row

Place: TypeAlias = tuple[int, int]
"""Numbers of a prompt and of a cell."""

Advance: TypeAlias = Callable[[int], None]
"""Told how many more places are done."""


@dataclass(frozen=True)
class Question:
    """Cells × prompts × metrics on one network."""

    network: Network
    prompts: Sequence[Prompt]
    cells: Sequence[Cell]
    metrics: Sequence[Metric]
    max_token_rows: int

    @cached_property
    def rows(self) -> list[Row]:
        """Return the prompts in tokens."""
        return [self.network.row(prompt) for prompt in self.prompts]

    @cached_property
    def bound(self) -> list[tuple[Bound, ...]]:
        """Return, per prompt, its metrics with their tokens and positions."""
        return list(zip(*(metric.bind(self.network, self.rows) for metric in self.metrics), strict=True))

    def check(self) -> None:
        """Bind every metric to every prompt, which refuses what cannot be measured.

        Raises:
            NotOneToken, PositionNotFound, AmbiguousPosition, BadArgument: as `Metric.bind` says.
        """
        _ = self.bound

    def values(self, places: Sequence[Place], advance: Advance | None = None) -> Float[Tensor, "place metric"]:
        """Return (place, metric) in float64; places of one prompt stand together."""
        parts = [
            self._on_one_prompt(prompt, [cell for _, cell in group], advance or (lambda _: None))
            for prompt, group in groupby(places, key=lambda place: place[0])
        ]
        return torch.cat(parts)

    def first_token(self, place: Place) -> int:
        """Return the first token that a cell edits in a prompt; cells that share it share most of their work."""
        row, plan = self.rows[place[0]], self.cells[place[1]].plan
        return min((token for edit in plan for token in edit.where.in_prompt(row)), default=len(row))

    def _on_one_prompt(self, prompt: int, members: Sequence[int], advance: Advance) -> Tensor:
        bound, asked = self.bound[prompt], [self.prompts[prompt]]
        positions = sorted({position for each in bound for position in each.positions})
        clean = None
        if any(each.needs_clean for each in bound):
            clean = run(self.network, asked, logits_at=positions).logits[0]
        values = torch.full((len(members), len(bound)), float("nan"), dtype=torch.float64)
        cells = [self.cells[cell] for cell in members]
        chunks = sweep_chunks(self.network, asked, cells, logits_at=positions, max_token_rows=self.max_token_rows)
        for chunk in chunks:
            values[list(chunk.cells)] = _measure(chunk.logits, bound, clean, positions)
            advance(len(chunk.cells))
        return values


def _measure(logits: Tensor, bound: Sequence[Bound], clean: Tensor | None, positions: Sequence[int]) -> Tensor:
    """Return (cell, metric) of logits (cell, pos, d_vocab) at `positions`."""
    columns = [[positions.index(one) for one in each.positions] for each in bound]
    values = [
        each(logits[:, where], None if clean is None or not each.needs_clean else clean[where])
        for each, where in zip(bound, columns, strict=True)
    ]
    return torch.stack([one.double().cpu() for one in values], dim=-1)
