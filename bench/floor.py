"""The least that a sweep must compute: block-token-rows, and what one of them costs at the best batch size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from rheostat.engine.cells import Cell
from rheostat.engine.turns import take_turns
from rheostat.model import Model
from rheostat.sites.site import resolve_single

SHAPES = ((32, 1), (64, 1), (128, 1), (256, 1), (32, 4), (64, 4), (16, 10), (32, 10), (8, 28), (16, 28), (32, 28))
"""(rows, tokens) of the batches that are tried."""
TURNS = 3


@dataclass(frozen=True)
class Unit:
    """A pass through the blocks at the batch size where one token of one row is cheapest."""

    n_rows: int
    n_tokens: int
    run: Callable[[], Any]

    def block_token_rows(self, n_blocks: int) -> int:
        """Return how often the pass takes a token of a row through a block."""
        return self.n_rows * self.n_tokens * n_blocks


def best_unit(model: Model) -> Unit:
    """Try all shapes in turns; return the cheapest."""
    units = {shape: unit_of(model, *shape) for shape in SHAPES}
    _, times = take_turns({str(shape): unit.run for shape, unit in units.items()}, turns=TURNS, device=model.device)
    return min(units.values(), key=lambda unit: min(times[str((unit.n_rows, unit.n_tokens))].wall) / _size(unit))


def least_work(model: Model, n_tokens: int, cells: Sequence[Cell], differ_at: int) -> int:
    """Return the block-token-rows that no sweep can do without.

    The prompt runs once, the donor from its own first token on, and each cell that changes something the blocks and
    tokens that come after its edit; the block that it edits is counted whole, unless only the residual stream is left.
    """
    work = model.n_blocks * (n_tokens + n_tokens - differ_at)
    for cell in cells:
        site, position = resolve_single(model, str(cell.labels["site"])), int(str(cell.labels["position"]))
        if position >= differ_at:
            assert site.block is not None
            border = site.block + (site.kind in ("mlp_out", "resid_post"))
            work += (model.n_blocks - border) * (n_tokens - position)
    return work


def unit_of(model: Model, n_rows: int, n_tokens: int) -> Unit:
    """Return a pass of a given size."""
    return Unit(n_rows, n_tokens, partial(_blocks, model, n_rows, n_tokens))


@torch.no_grad()
def _blocks(model: Model, n_rows: int, n_tokens: int) -> Any:
    ids = torch.zeros(n_rows, n_tokens, dtype=torch.long, device=model.device)
    return model.module.base_model(ids, use_cache=False)  # type: ignore[operator]


def _size(unit: Unit) -> int:
    return unit.n_rows * unit.n_tokens
