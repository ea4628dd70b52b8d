"""How a sweep is divided: which prompts' cells leave a shared run, and which run as rows of full batches.

Leaving a shared run pays when a prompt has many cells that leave late. With few, or with cells that edit everything, it
is cheaper to run each cell whole, in a batch with those of other prompts: so prompts of different lengths share passes
where that is faster, and a prompt that begins another needs no row of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from rheostat.engine.beginnings import Carrier, Meant, carriers, meant_by
from rheostat.engine.cells import BoundCell
from rheostat.engine.departure import earliest
from rheostat.engine.schedule import BLOCK_OVERHEAD, Group, group
from rheostat.models.network import Network
from rheostat.models.tokens import Row

ENOUGH_TOKEN_ROWS = 256
"""From so many on, a token of a row costs no less in a larger batch."""


@dataclass(frozen=True)
class FullRow:
    """One cell on one prompt and on those that begin it, from the first token through all blocks."""

    carrier: Carrier
    cell: int

    @property
    def n_tokens(self) -> int:
        """Return its length."""
        return len(self.carrier.row)


@dataclass(frozen=True)
class Division:
    """What a sweep will run."""

    bases: tuple[tuple[BoundCell, ...], ...]
    """The cells that leave shared runs, by the base that these carry."""
    branching: tuple[int, ...]
    """Prompts whose cells leave shared runs."""
    groups: tuple[Group, ...]
    """Their passes; cells that turn out to change nothing will be missing from these."""
    batches: tuple[tuple[FullRow, ...], ...]
    """Rows of full passes."""


def divide(
    network: Network,
    rows: Sequence[Row],
    cells: Sequence[BoundCell],
    asked: Sequence[tuple[int, ...]],
    *,
    max_token_rows: int,
    shared: bool,
) -> Division:
    """Choose, for each prompt and those that begin it, what is estimated to cost less.

    Args:
        network: the loaded network.
        rows: the prompts.
        cells: what runs on each.
        asked: per prompt, the positions to unembed; a pass goes no further than the last of them.
        max_token_rows: rows × tokens of a pass.
        shared: whether the shared runs exist already, so that they cost nothing.

    Raises:
        PromptTooLong: passes over parts of a prompt would give it other positions.
    """
    for row in rows:
        network.check_length(len(row), shared=True)
    bases = _by_base(cells)
    leaving, anywhere = [cell for base in bases for cell in base], [cell for cell in cells if cell.in_modules]
    n_needed = [max(positions) + 1 for positions in asked]
    branching: list[int] = []
    groups: list[Group] = []
    full: list[FullRow] = []
    for family in carriers(rows, n_needed, range(len(rows)), frozenset()):
        apart = _full_rows(rows, n_needed, family.prompts, leaving)
        passes = {one: _passes(network, bases, rows[one], n_needed[one], max_token_rows) for one in family.prompts}
        cost = sum(_cost(network, bases, rows[one], each) for one, each in passes.items())
        if leaving and (shared or cost <= _full_cost(network, apart)):
            branching += family.prompts
            groups += [each for one in passes.values() for each in one]
        else:
            full += apart
        full += _full_rows(rows, n_needed, family.prompts, anywhere)
    return Division(bases, tuple(sorted(branching)), tuple(groups), _batches(network, full, max_token_rows))


def lengths_together(rows: Sequence[Row], prompts: Sequence[int], max_token_rows: int) -> list[list[int]]:
    """Return prompts in groups of one length that fit a pass."""
    found: list[list[int]] = []
    for prompt in sorted(prompts, key=lambda one: len(rows[one])):
        n = len(rows[prompt])
        if not found or len(rows[found[-1][0]]) != n or (len(found[-1]) + 1) * n > max_token_rows:
            found.append([])
        found[-1].append(prompt)
    return found


def _by_base(cells: Sequence[BoundCell]) -> tuple[tuple[BoundCell, ...], ...]:
    bases: dict[str, list[BoundCell]] = {}
    for cell in cells:
        if not cell.in_modules:
            bases.setdefault(cell.base, []).append(cell)
    return tuple(map(tuple, bases.values()))


def _full_rows(
    rows: Sequence[Row], n_needed: Sequence[int], prompts: Sequence[int], cells: Sequence[BoundCell]
) -> list[FullRow]:
    """Return the rows that give all cells' logits on some prompts."""
    found: dict[frozenset[Meant] | None, list[Carrier]] = {}
    full = []
    for cell in cells:
        meant = meant_by(cell)
        if meant not in found:
            found[meant] = carriers(rows, n_needed, prompts, meant)
        full += [FullRow(carrier, cell.index) for carrier in found[meant]]
    return full


def _passes(
    network: Network, bases: Sequence[Sequence[BoundCell]], row: Row, n_needed: int, max_token_rows: int
) -> list[Group]:
    """Return the passes of one prompt's cells; a cell whose edits begin behind the last token asked for needs none."""
    found = []
    for members in bases:
        places = [place for cell in members if (place := earliest(network, cell, row)) and place.token < n_needed]
        found += group(places, n_tokens=n_needed, n_blocks=network.n_blocks, max_token_rows=max_token_rows)
    return found


def _cost(network: Network, bases: Sequence[Sequence[BoundCell]], row: Row, passes: Sequence[Group]) -> int:
    """Estimate block-token-rows of shared runs and the passes that leave them, weights read for each."""
    n = network.n_blocks
    shared = len(bases) * n * (len(row) + BLOCK_OVERHEAD)
    return shared + sum(each.block_token_rows(n) + BLOCK_OVERHEAD * n for each in passes)


def _full_cost(network: Network, full: Sequence[FullRow]) -> int:
    """Estimate block-token-rows of full rows; their batches are large, so that reading weights costs little."""
    return network.n_blocks * sum(one.n_tokens for one in full)


def _batches(network: Network, full: Sequence[FullRow], max_token_rows: int) -> tuple[tuple[FullRow, ...], ...]:
    """Divide full rows into batches, those of one cell together: an edit that all rows carry is made at once.

    What a cell has too few rows for shares batches with what other cells leave.
    """
    batches, left = [], []
    for _, rows in groupby(sorted(full, key=lambda one: one.cell), key=lambda one: one.cell):
        for batch in _of_like_length(network, rows, max_token_rows):
            if sum(one.n_tokens for one in batch) < ENOUGH_TOKEN_ROWS:
                left += batch
            else:
                batches.append(batch)
    return tuple(map(tuple, [*batches, *_of_like_length(network, left, max_token_rows)]))


def _of_like_length(network: Network, full: Iterable[FullRow], max_token_rows: int) -> list[list[FullRow]]:
    """Divide rows into batches whose pads cost no more than reading the weights for another.

    Where pads would turn rows into NaN, of exactly one length.
    """
    batches: list[list[FullRow]] = []
    exact = network.dtype == torch.float64 and network.attention == "eager"
    for one in sorted(full, key=lambda row: row.n_tokens):  # ascending: the row that comes is the longest of its batch
        batch = batches[-1] if batches else []
        too_many = (len(batch) + 1) * one.n_tokens > max_token_rows
        pads = sum(one.n_tokens - row.n_tokens for row in batch)
        if not batch or too_many or pads > (0 if exact else BLOCK_OVERHEAD):
            batches.append([])
        batches[-1].append(one)
    return batches
