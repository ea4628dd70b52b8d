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
from rheostat.engine.departure import Departure, departure, earliest
from rheostat.engine.forward import passing, positions_in, run
from rheostat.engine.prefix import CleanRun, run_clean
from rheostat.engine.schedule import group
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import Site

MAX_TOKEN_ROWS = 1024


@dataclass(frozen=True)
class SweepCost:
    """What a sweep will compute, stated before it runs."""

    n_cells: int
    n_prompts: int
    passes: int
    """Calls of the network, the shared runs included."""
    block_token_rows: int
    """How often a token of a row passes a block, at most."""
    plain_block_token_rows: int
    """The same for one forward pass per cell."""
    bytes: int
    """Memory beside the weights and the results, estimated."""

    def __str__(self) -> str:
        return (
            f"{self.n_cells} cells × {self.n_prompts} prompts in {self.passes} passes; at most "
            f"{self.block_token_rows} block-token-rows instead of {self.plain_block_token_rows} one by one; "
            f"about {self.bytes / 1e6:.0f} MB"
        )


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
    shared: Sequence[CleanRun] | None = None,
) -> Float[Tensor, "cell prompt pos d_vocab"]:
    """Return the logits (cell, prompt, pos, d_vocab) of every cell on every prompt, as `run` gives them one by one.

    NaN where a prompt has fewer of the positions than another. `sweep_chunks` takes less memory.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        cells: cells, or bare plans.
        logits_at: positions to unembed.
        max_token_rows: rows × tokens that one pass may hold; memory grows with it.
        shared: the prompts' unedited runs, where `share_runs` has made them; with the sites that cells edit.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
        BadArgument: `shared` is of other prompts, positions or sites.
    """
    listed, asked = as_cells(cells), as_prompts(prompts)
    filled: Tensor | None = None
    n_positions = max(map(len, positions_in([network.row(prompt) for prompt in asked], logits_at)))
    chunks = sweep_chunks(network, asked, listed, logits_at=logits_at, max_token_rows=max_token_rows, shared=shared)
    for chunk in chunks:
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
    shared: Sequence[CleanRun] | None = None,
) -> Iterator[Chunk]:
    """Yield the logits of every cell on every prompt, pass by pass; arguments and errors as in `sweep_logits`."""
    rows, asked, listed, bound = _prepare(network, prompts, cells, logits_at, max_token_rows)
    if shared is not None:
        _check_shared(shared, rows, asked, bound)
    runs = _shared_runs(network, rows, asked, bound, max_token_rows) if shared is None else iter(shared)
    return (
        Chunk(prompt, members, clean.asked, logits)
        for prompt, clean in enumerate(runs)
        for members, logits in _on_one_prompt(network, clean, listed, bound, max_token_rows)
    )


def _sites(bound: Sequence[BoundCell]) -> list[Site]:
    """Return what the shared run must keep for the cells that branch."""
    return list(dict.fromkeys(edit.site for cell in bound if not cell.in_modules for edit in cell.edits))


def _check_shared(
    shared: Sequence[CleanRun], rows: Sequence[Row], asked: Sequence[tuple[int, ...]], bound: Sequence[BoundCell]
) -> None:
    if [(run.row.ids, run.asked) for run in shared] != [(row.ids, one) for row, one in zip(rows, asked, strict=True)]:
        raise BadArgument("shared holds the runs of other prompts, or other positions. Give theirs, in order.")
    for clean in shared:
        clean.check(_sites(bound))


def _shared_runs(
    network: Network,
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    bound: Sequence[BoundCell],
    max_token_rows: int,
) -> Iterator[CleanRun]:
    """Yield the shared runs of the prompts, in order; neighbours of one length run together."""
    sites = _sites(bound)
    first = 0
    while first < len(rows):
        length = len(rows[first])
        last = first + 1
        while last < len(rows) and len(rows[last]) == length and (last + 1 - first) * length <= max_token_rows:
            last += 1
        yield from run_clean(network, rows[first:last], sites, asked[first:last])
        first = last


def explain_sweep(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    *,
    logits_at: PositionsLike = "last",
    max_token_rows: int = MAX_TOKEN_ROWS,
) -> SweepCost:
    """State what a sweep would compute, without running it (prompts that edits read are run).

    Cells whose edits turn out to change nothing cost less than stated here.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: the message names the cell.
    """
    rows, asked, listed, bound = _prepare(network, prompts, cells, logits_at, max_token_rows)
    n_blocks = network.n_blocks
    full = [cell for cell in bound if cell.in_modules]
    passes, work, rows_at_once, tokens_at_once = 0, 0, 1, max(map(len, rows))
    for row in rows:
        places = [place for cell in bound if not cell.in_modules and (place := earliest(network, cell, row))]
        groups = group(places, n_prompt=len(row), n_blocks=n_blocks, max_token_rows=max_token_rows)
        in_full = _sizes(len(full), len(row), max_token_rows)
        passes += 1 + len(groups) + len(in_full)
        work += n_blocks * len(row) * (1 + len(full)) + sum(each.block_token_rows(n_blocks) for each in groups)
        rows_at_once = max([rows_at_once, *in_full, *(len(each.places) for each in groups)])
        tokens_at_once = max(
            [tokens_at_once, *(n * len(row) for n in in_full), *(len(each.places) * each.n_tokens for each in groups)]
        )
    return SweepCost(
        n_cells=len(listed),
        n_prompts=len(rows),
        passes=passes,
        block_token_rows=work,
        plain_block_token_rows=n_blocks * len(listed) * sum(map(len, rows)),
        bytes=_bytes(network, rows, max(map(len, asked)), rows_at_once, tokens_at_once),
    )


def _bytes(network: Network, rows: Sequence[Row], n_asked: int, rows_at_once: int, tokens_at_once: int) -> int:
    """Estimate the memory of the shared run of the longest prompt and of the widest pass, logits included."""
    body, longest = network.body, max(map(len, rows))
    heads = body.n_heads * body.d_head
    shared = longest * (body.n_blocks + 1) * (body.d_model + 2 * heads)
    one_block = tokens_at_once * (4 * body.d_model + 3 * body.d_mlp + 4 * heads) + rows_at_once * longest * 4 * heads
    return network.dtype.itemsize * (shared + one_block + 2 * rows_at_once * n_asked * body.d_vocab)


def _prepare(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    logits_at: PositionsLike,
    max_token_rows: int,
) -> tuple[list[Row], tuple[tuple[int, ...], ...], list[Cell], list[BoundCell]]:
    """Resolve everything that a sweep names, before any of it runs."""
    if max_token_rows < 1:
        raise BadArgument(f"max_token_rows={max_token_rows}: at least 1.")
    rows = [network.row(prompt) for prompt in as_prompts(prompts)]
    asked = positions_in(rows, logits_at)
    listed = as_cells(cells)
    bound = bind_cells(network, listed)
    for row in rows:
        for cell in bound:
            check_cell(cell, row)
    return rows, asked, listed, bound


def _on_one_prompt(
    network: Network, clean: CleanRun, cells: Sequence[Cell], bound: Sequence[BoundCell], max_token_rows: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    branching = [cell for cell in bound if not cell.in_modules]
    row = clean.row
    with torch.no_grad():
        leaving = {cell.index: departure(network, cell, clean) for cell in branching}
    if unchanged := tuple(cell for cell, left in leaving.items() if left is None):
        yield unchanged, clean.logits.expand(len(unchanged), -1, -1)
    left = {cell: one for cell, one in leaving.items() if one is not None}
    places = [one.place for one in left.values()]
    for each in group(places, n_prompt=len(row), n_blocks=network.n_blocks, max_token_rows=max_token_rows):
        members = tuple(place.cell for place in each.places)
        yield members, _pass(network, clean, [left[cell] for cell in members])
    yield from _in_full(network, clean, cells, [cell.index for cell in bound if cell.in_modules], max_token_rows)


def _pass(network: Network, clean: CleanRun, departures: Sequence[Departure]) -> Tensor:
    with passing(network, gradients=False) as stack:
        branch = Branch(network, clean, departures)
        branch.attach(stack)
        return branch.run()


def _in_full(
    network: Network, clean: CleanRun, cells: Sequence[Cell], members: list[int], max_token_rows: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run cells as rows of full passes: what edits a module path may begin anywhere."""
    row = clean.row
    prompt: Prompt = row.ids if row.text is None else row.text
    first = 0
    for size in _sizes(len(members), len(row), max_token_rows):
        part = members[first : first + size]
        plans = [cells[index].plan for index in part]
        yield tuple(part), run(network, [prompt] * size, plans=plans, logits_at=list(clean.asked)).logits
        first += size


def _sizes(n_cells: int, n_tokens: int, max_token_rows: int) -> list[int]:
    """Return the numbers of rows of full passes."""
    size = max(1, max_token_rows // n_tokens)
    return [min(size, n_cells - first) for first in range(0, n_cells, size)]
