"""Sweeps: many cells over one or several prompts, sharing all that the cells have in common.

The prompt runs once, unedited, and once under each base that cells name. Each cell leaves its run at the first block
and the first token where its edits change anything: cells with neighbouring first tokens share one pass over the end
of the prompt, in which each joins as a row at its own block. What comes before is never computed again, nothing is
behind the last token whose logits are asked for, and a cell that changes nothing costs nothing. Prompts for
which this does not pay, because they have few cells or cells that edit everything, run in full, in batches with others;
there a prompt that begins another is read off the longer row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike, as_plan
from rheostat.engine.batch import as_prompts
from rheostat.engine.branch import Branch
from rheostat.engine.cells import BoundCell, Cell, as_cells, bind_cells, check_cell
from rheostat.engine.departure import Departure, departure
from rheostat.engine.division import Division, FullRow, divide, lengths_together
from rheostat.engine.forward import passing, positions_in, run_rows
from rheostat.engine.prefix import CleanRun, run_clean
from rheostat.engine.schedule import group
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import Site

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
        BadArgument: `shared` is of another network, of other prompts, positions, sites or another base.
    """
    listed, asked = as_cells(cells), as_prompts(prompts, network)
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
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    asked = positions_in(rows, logits_at)
    return sweep_rows(network, rows, cells, asked, max_token_rows=max_token_rows, shared=shared)


def sweep_rows(
    network: Network,
    rows: Sequence[Row],
    cells: "Sequence[Cell | PlanLike]",
    asked: Sequence[tuple[int, ...]],
    *,
    max_token_rows: int = MAX_TOKEN_ROWS,
    shared: Sequence[CleanRun] | None = None,
) -> Iterator[Chunk]:
    """Yield the logits of every cell on every prompt, where each prompt has positions of its own to unembed."""
    listed, bound = prepare(network, rows, cells, max_token_rows)
    division = divide(network, rows, bound, asked, max_token_rows=max_token_rows, shared=shared is not None)
    if shared is not None:
        _check_shared(network, shared, rows, asked, division.bases)
    return _chunks(network, rows, asked, listed, division, max_token_rows, shared)


def _chunks(
    network: Network,
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    cells: Sequence[Cell],
    division: Division,
    max_token_rows: int,
    shared: Sequence[CleanRun] | None,
) -> Iterator[Chunk]:
    for members in division.bases:
        base, sites = as_plan(cells[members[0].index].base), _sites(members)
        for prompts in lengths_together(rows, division.branching, max_token_rows):
            if shared is None:
                chosen = [rows[prompt] for prompt in prompts]
                runs = run_clean(network, chosen, sites, [asked[prompt] for prompt in prompts], base)
            else:
                runs = [shared[prompt] for prompt in prompts]
            for prompt, clean in zip(prompts, runs, strict=True):
                for left, logits in _leaving(network, clean, members, max_token_rows):
                    yield Chunk(prompt, left, clean.asked, logits)
    for batch in division.batches:
        yield from _in_full(network, asked, cells, batch)


def _in_full(
    network: Network, asked: Sequence[tuple[int, ...]], cells: Sequence[Cell], batch: Sequence[FullRow]
) -> Iterator[Chunk]:
    """Run rows of one batch; each yields the logits of every prompt that it stands for."""
    wanted = [tuple(sorted({place for prompt in one.carrier.prompts for place in asked[prompt]})) for one in batch]
    plans = [cells[one.cell].plan for one in batch]
    found = run_rows(network, [one.carrier.row for one in batch], plans, wanted)
    for one, places, logits in zip(batch, wanted, found, strict=True):
        for prompt in one.carrier.prompts:
            own = [places.index(place) for place in asked[prompt]]
            yield Chunk(prompt, (one.cell,), asked[prompt], logits[None, own])


def prepare(
    network: Network, rows: Sequence[Row], cells: "Sequence[Cell | PlanLike]", max_token_rows: int
) -> tuple[list[Cell], list[BoundCell]]:
    """Resolve everything that a sweep names, before any of it runs.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: the message names the cell.
        BadArgument: no cells, or a budget below 1.
    """
    if max_token_rows < 1:
        raise BadArgument(f"max_token_rows={max_token_rows}: at least 1.")
    listed = as_cells(cells)
    bound = bind_cells(network, listed)
    for row in rows:
        for cell in bound:
            check_cell(cell, row)
    return listed, bound


def _sites(members: Sequence[BoundCell]) -> list[Site]:
    """Return what the shared run must keep for the cells that leave it."""
    return list(dict.fromkeys(edit.site for cell in members for edit in cell.own if edit.site.kind != "pattern"))


def _check_shared(
    network: Network,
    shared: Sequence[CleanRun],
    rows: Sequence[Row],
    asked: Sequence[tuple[int, ...]],
    branching: Sequence[Sequence[BoundCell]],
) -> None:
    if [(run.row.ids, run.asked) for run in shared] != [(row.ids, one) for row, one in zip(rows, asked, strict=True)]:
        raise BadArgument("shared holds the runs of other prompts, or other positions. Give theirs, in order.")
    if any(run.module is not network.module for run in shared):
        raise BadArgument(f"shared holds runs of another network than {network.name}. Give share_runs of this one.")
    bases = {clean.base.fingerprint() for clean in shared}
    for members in branching:
        if bases != {members[0].base}:
            index = members[0].index
            raise BadArgument(
                f"cell {index} has another base than the shared runs. Give share_runs(…, base=…) its base."
            )
        for clean, row in zip(shared, rows, strict=True):
            clean.check(_sites(members))
            named = next((cell.index for cell in members if cell.names_text), None)
            if named is not None and clean.row != row:
                raise BadArgument(
                    f"cell {named} names a part of a text, and shared holds the run of another text with the same "
                    f"tokens: {clean.row.shown!r}. Give share_runs the texts themselves."
                )


def _leaving(
    network: Network, clean: CleanRun, members: Sequence[BoundCell], max_token_rows: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Run the cells that leave one shared run."""
    with torch.no_grad():
        leaving = {cell.index: departure(network, cell, clean) for cell in members}
    if unchanged := tuple(cell for cell, left in leaving.items() if left is None):
        yield unchanged, clean.logits.expand(len(unchanged), -1, -1)
    left = {cell: one for cell, one in leaving.items() if one is not None}
    places, n_tokens = [one.place for one in left.values()], max(clean.asked) + 1
    for each in group(places, n_tokens=n_tokens, n_blocks=network.n_blocks, max_token_rows=max_token_rows):
        cells = tuple(place.cell for place in each.places)
        yield cells, _pass(network, clean, [left[cell] for cell in cells])


def _pass(network: Network, clean: CleanRun, departures: Sequence[Departure]) -> Tensor:
    with passing(network, gradients=False) as stack:
        branch = Branch(network, clean, departures)
        branch.attach(stack)
        return branch.run()
