"""Sweeps: many cells over one or several prompts, sharing all that the cells have in common.

The prompt runs once, unedited, and once under each base that cells name. Each cell leaves its run at the first block
and the first token where its edits change anything: cells with neighbouring first tokens share one pass over the end
of the prompt, in which each joins as a row at its own block. What comes before is never computed again, and a cell that
changes nothing costs nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import Plan, PlanLike, as_plan
from rheostat.engine.batch import as_prompts
from rheostat.engine.branch import Branch
from rheostat.engine.cells import BoundCell, Cell, as_cells, bind_cells, check_cell
from rheostat.engine.departure import Departure, departure, earliest
from rheostat.engine.forward import passing, positions_in, run
from rheostat.engine.prefix import CleanRun, run_clean
from rheostat.engine.schedule import Group, group
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
        shared: one run per prompt, where `share_runs` has made them; with the sites that cells edit, and under their
            base, which is then the same for all.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
        BadArgument: `shared` is of other prompts, positions, sites or another base.
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
    branching, in_full = _by_base(bound)
    if shared is not None:
        _check_shared(shared, rows, asked, branching)
    return _chunks(network, rows, asked, listed, branching, in_full, max_token_rows, shared)


def _chunks(
    network: Network,
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    cells: Sequence[Cell],
    branching: Sequence[Sequence[BoundCell]],
    in_full: Sequence[BoundCell],
    max_token_rows: int,
    shared: Sequence[CleanRun] | None,
) -> Iterator[Chunk]:
    for members in branching:
        base = as_plan(cells[members[0].index].base)
        runs = _shared_runs(network, rows, asked, members, base, max_token_rows) if shared is None else iter(shared)
        for prompt, clean in enumerate(runs):
            for chosen, logits in _leaving(network, clean, members, max_token_rows):
                yield Chunk(prompt, chosen, clean.asked, logits)
    for prompt, (row, positions) in enumerate(zip(rows, asked, strict=True)):
        for chosen, logits in _in_full(network, row, positions, cells, in_full, max_token_rows):
            yield Chunk(prompt, chosen, positions, logits)


def _by_base(bound: Sequence[BoundCell]) -> tuple[list[list[BoundCell]], list[BoundCell]]:
    """Return the cells that share a run, base by base, and those that run in full."""
    bases: dict[str, list[BoundCell]] = {}
    for cell in bound:
        if not cell.in_modules:
            bases.setdefault(cell.base, []).append(cell)
    return list(bases.values()), [cell for cell in bound if cell.in_modules]


def _sites(members: Sequence[BoundCell]) -> list[Site]:
    """Return what the shared run must keep for the cells that leave it."""
    return list(dict.fromkeys(edit.site for cell in members for edit in cell.own if edit.site.kind != "pattern"))


def _check_shared(
    shared: Sequence[CleanRun],
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    branching: Sequence[Sequence[BoundCell]],
) -> None:
    if [(run.row.ids, run.asked) for run in shared] != [(row.ids, one) for row, one in zip(rows, asked, strict=True)]:
        raise BadArgument("shared holds the runs of other prompts, or other positions. Give theirs, in order.")
    bases = {clean.base.fingerprint() for clean in shared}
    for members in branching:
        if bases != {members[0].base}:
            index = members[0].index
            raise BadArgument(
                f"cell {index} has another base than the shared runs. Give share_runs(…, base=…) its base."
            )
        for clean in shared:
            clean.check(_sites(members))


def _shared_runs(
    network: Network,
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    members: Sequence[BoundCell],
    base: Plan,
    max_token_rows: int,
) -> Iterator[CleanRun]:
    """Yield the shared runs of the prompts, in order; neighbours of one length run together."""
    sites = _sites(members)
    first = 0
    while first < len(rows):
        length = len(rows[first])
        last = first + 1
        while last < len(rows) and len(rows[last]) == length and (last + 1 - first) * length <= max_token_rows:
            last += 1
        yield from run_clean(network, rows[first:last], sites, asked[first:last], base)
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
    branching, full = _by_base(bound)
    passes, work, rows_at_once, tokens_at_once = 0, 0, 1, max(map(len, rows))
    for row in rows:
        groups: list[Group] = []
        for members in branching:
            places = [place for cell in members if (place := earliest(network, cell, row))]
            groups += group(places, n_prompt=len(row), n_blocks=n_blocks, max_token_rows=max_token_rows)
        in_full = _sizes(len(full), len(row), max_token_rows)
        passes += len(branching) + len(groups) + len(in_full)
        work += n_blocks * len(row) * (len(branching) + len(full))
        work += sum(each.block_token_rows(n_blocks) for each in groups)
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


def _leaving(
    network: Network, clean: CleanRun, members: Sequence[BoundCell], max_token_rows: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run the cells that leave one shared run."""
    with torch.no_grad():
        leaving = {cell.index: departure(network, cell, clean) for cell in members}
    if unchanged := tuple(cell for cell, left in leaving.items() if left is None):
        yield unchanged, clean.logits.expand(len(unchanged), -1, -1)
    left = {cell: one for cell, one in leaving.items() if one is not None}
    places = [one.place for one in left.values()]
    for each in group(places, n_prompt=len(clean.row), n_blocks=network.n_blocks, max_token_rows=max_token_rows):
        cells = tuple(place.cell for place in each.places)
        yield cells, _pass(network, clean, [left[cell] for cell in cells])


def _pass(network: Network, clean: CleanRun, departures: Sequence[Departure]) -> Tensor:
    with passing(network, gradients=False) as stack:
        branch = Branch(network, clean, departures)
        branch.attach(stack)
        return branch.run()


def _in_full(
    network: Network,
    row: Row,
    asked: tuple[int, ...],
    cells: Sequence[Cell],
    members: Sequence[BoundCell],
    max_token_rows: int,
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run cells as rows of full passes: what edits a module path may begin anywhere."""
    prompt: Prompt = row.ids if row.text is None else row.text
    first = 0
    for size in _sizes(len(members), len(row), max_token_rows):
        part = tuple(cell.index for cell in members[first : first + size])
        plans = [cells[index].plan for index in part]
        yield part, run(network, [prompt] * size, plans=plans, logits_at=list(asked)).logits
        first += size


def _sizes(n_cells: int, n_tokens: int, max_token_rows: int) -> list[int]:
    """Return the numbers of rows of full passes."""
    size = max(1, max_token_rows // n_tokens)
    return [min(size, n_cells - first) for first in range(0, n_cells, size)]
