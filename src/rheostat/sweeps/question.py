"""`Question`: what a sweep asks, resolved; and the values that answer it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.engine.cells import Cell
from rheostat.engine.forward import run_rows
from rheostat.engine.sweep import sweep_rows
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
        """Return (place, metric) in float64; prompts that ask for the same cells run together."""
        values = torch.full((len(places), len(self.metrics)), float("nan"), dtype=torch.float64)
        index = {place: number for number, place in enumerate(places)}
        for prompts, members in _blocks(places):
            cells = [self.cells[cell] for cell in members]
            asked = [self._positions(prompt) for prompt in prompts]
            clean = self._clean(prompts, asked)
            rows = [self.rows[prompt] for prompt in prompts]
            for chunk in sweep_rows(self.network, rows, cells, asked, max_token_rows=self.max_token_rows):
                prompt = prompts[chunk.prompt]
                where = [index[prompt, members[cell]] for cell in chunk.cells]
                values[where] = _measure(chunk.logits, self.bound[prompt], clean.get(prompt), chunk.positions)
                (advance or _nowhere)(len(where))
        return values

    def first_token(self, place: Place) -> int:
        """Return the first token that a cell edits in a prompt; cells that share it share most of their work."""
        row, plan = self.rows[place[0]], self.cells[place[1]].plan
        return min((token for edit in plan for token in edit.where.in_prompt(row)), default=len(row))

    def _positions(self, prompt: int) -> tuple[int, ...]:
        """Return where a prompt's metrics read logits."""
        return tuple(sorted({position for each in self.bound[prompt] for position in each.positions}))

    def _clean(self, prompts: Sequence[int], asked: Sequence[tuple[int, ...]]) -> dict[int, Tensor]:
        """Return the unedited network's logits (pos, d_vocab) where a metric compares with them."""
        found = {}
        for prompt, positions in zip(prompts, asked, strict=True):
            if any(each.needs_clean for each in self.bound[prompt]):
                found[prompt] = run_rows(self.network, [self.rows[prompt]], [None], [positions])[0]
        return found


def _blocks(places: Sequence[Place]) -> list[tuple[list[int], list[int]]]:
    """Return (prompts, cells) whose products are the places."""
    cells: dict[int, list[int]] = {}
    for prompt, cell in places:
        cells.setdefault(prompt, []).append(cell)
    prompts: dict[tuple[int, ...], list[int]] = {}
    for prompt, members in cells.items():
        prompts.setdefault(tuple(members), []).append(prompt)
    return [(together, list(members)) for members, together in prompts.items()]


def _nowhere(_n: int) -> None:
    """Stand for a progress bar that nobody sees."""


def _measure(logits: Tensor, bound: Sequence[Bound], clean: Tensor | None, positions: Sequence[int]) -> Tensor:
    """Return (cell, metric) of logits (cell, pos, d_vocab) at `positions`."""
    columns = [[positions.index(one) for one in each.positions] for each in bound]
    everything = list(range(len(positions)))
    values = [
        each(
            logits if where == everything else logits[:, where],  # an index copies, and logits are large
            None if clean is None or not each.needs_clean else clean[where],
        )
        for each, where in zip(bound, columns, strict=True)
    ]
    return torch.stack([one.double().cpu() for one in values], dim=-1)
