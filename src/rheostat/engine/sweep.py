"""Sweeps: many cells over one or several prompts, sharing all that the cells have in common.

The unedited prompt runs once. Each cell leaves that run at the first block and the first token where its edits change
anything: cells with neighbouring first tokens share one pass over the end of the prompt, in which each joins as a row
at its own block. What comes before is never computed again, and a cell that changes nothing costs nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.branch import Branch
from rheostat.engine.cells import BoundCell, Cell, as_cells, bind_cells, check_cell
from rheostat.engine.departure import departure
from rheostat.engine.forward import passing, positions_in, run
from rheostat.engine.prefix import CleanRun, run_clean
from rheostat.engine.schedule import Group, group
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike

MAX_TOKEN_ROWS = 1024


@dataclass(frozen=True)
class Chunk:
    """Logits of some cells on one prompt."""

    prompt: int
    cells: tuple[int, ...]
    positions: tuple[int, ...]
    logits: Float[Tensor, "cell pos d_vocab"]


def sweep_logits(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    *,
    logits_at: PositionsLike = "last",
    max_token_rows: int = MAX_TOKEN_ROWS,
) -> Float[Tensor, "cell prompt pos d_vocab"]:
    """Return the logits (cell, prompt, pos, d_vocab) of every cell on every prompt, as `run` gives them one by one.

    NaN where a prompt has fewer of the positions than another. `sweep_chunks` takes less memory.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        cells: cells, or bare plans.
        logits_at: positions to unembed.
        max_token_rows: rows × tokens that one pass may hold; memory grows with it.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
    """
    listed, asked = as_cells(cells), as_prompts(prompts)
    filled: Tensor | None = None
    n_positions = max(map(len, positions_in([network.row(prompt) for prompt in asked], logits_at)))
    for chunk in sweep_chunks(network, asked, listed, logits_at=logits_at, max_token_rows=max_token_rows):
        if filled is None:
            shape = (len(listed), len(asked), n_positions, chunk.logits.shape[-1])
            filled = chunk.logits.new_full(shape, float("nan"))
        filled[list(chunk.cells), chunk.prompt, : len(chunk.positions)] = chunk.logits
    assert filled is not None
    return filled


def sweep_chunks(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    *,
    logits_at: PositionsLike = "last",
    max_token_rows: int = MAX_TOKEN_ROWS,
) -> Iterator[Chunk]:
    """Yield the logits of every cell on every prompt, pass by pass; arguments and errors as in `sweep_logits`."""
    if max_token_rows < 1:
        raise BadArgument(f"max_token_rows={max_token_rows}: at least 1.")
    rows = [network.row(prompt) for prompt in as_prompts(prompts)]
    asked = positions_in(rows, logits_at)
    listed = as_cells(cells)
    bound = bind_cells(network, listed)
    for row in rows:
        for cell in bound:
            check_cell(cell, row)
    return (
        Chunk(prompt, members, positions, logits)
        for prompt, (row, positions) in enumerate(zip(rows, asked, strict=True))
        for members, logits in _on_one_prompt(network, row, positions, listed, bound, max_token_rows)
    )


def _on_one_prompt(
    network: Network,
    row: Row,
    asked: tuple[int, ...],
    cells: Sequence[Cell],
    bound: Sequence[BoundCell],
    max_token_rows: int,
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    branching = [cell for cell in bound if not cell.in_modules]
    sites = dict.fromkeys(edit.site for cell in branching for edit in cell.edits)
    clean = run_clean(network, row, list(sites), asked)
    with torch.no_grad():
        leaving = {cell.index: departure(network, cell, clean) for cell in branching}
    if unchanged := tuple(cell for cell, left in leaving.items() if left is None):
        yield unchanged, clean.logits.expand(len(unchanged), -1, -1)
    left = [one for one in leaving.values() if one is not None]
    for each in group(left, n_prompt=len(row), n_blocks=network.n_blocks, max_token_rows=max_token_rows):
        yield tuple(one.cell for one in each.departures), _pass(network, clean, each)
    yield from _in_full(network, row, asked, cells, [cell.index for cell in bound if cell.in_modules], max_token_rows)


def _pass(network: Network, clean: CleanRun, each: Group) -> Tensor:
    with passing(network, gradients=False) as stack:
        branch = Branch(network, clean, each.departures)
        branch.attach(stack)
        return branch.run()


def _in_full(
    network: Network, row: Row, asked: tuple[int, ...], cells: Sequence[Cell], members: list[int], max_token_rows: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run cells as rows of full passes: what edits a module path may begin anywhere."""
    size = max(1, max_token_rows // len(row))
    prompt: Prompt = row.ids if row.text is None else row.text
    for first in range(0, len(members), size):
        part = members[first : first + size]
        plans = [cells[index].plan for index in part]
        yield tuple(part), run(network, [prompt] * len(part), plans=plans, logits_at=list(asked)).logits
