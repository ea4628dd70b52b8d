"""How a sweep is divided: which prompts' cells leave a shared run, and which run as rows of full batches.

Leaving a shared run pays when a prompt has many cells. With one or two it is cheaper to run each cell whole, in a batch
with those of other prompts: so prompts of different lengths share passes where that is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rheostat.engine.cells import BoundCell
from rheostat.engine.departure import earliest
from rheostat.engine.schedule import BLOCK_OVERHEAD, Group, group
from rheostat.models.network import Network
from rheostat.models.tokens import Row


@dataclass(frozen=True)
class FullRow:
    """One cell on one prompt, from the first token through all blocks."""

    prompt: int
    cell: int
    n_tokens: int


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
    network: Network, rows: Sequence[Row], cells: Sequence[BoundCell], *, max_token_rows: int, shared: bool
) -> Division:
    """Choose, prompt by prompt, what is estimated to cost less.

    Args:
        network: the loaded network.
        rows: the prompts.
        cells: what runs on each.
        max_token_rows: rows × tokens of a pass.
        shared: whether the shared runs exist already, so that they cost nothing.
    """
    bases = _by_base(cells)
    anywhere = [cell for cell in cells if cell.in_modules]
    branching, groups, full = [], [], []
    for prompt, row in enumerate(rows):
        members = [cell for base in bases for cell in base]
        passes = _passes(network, bases, row, max_token_rows)
        if members and (shared or _cost(network, bases, row, passes) <= _full_cost(network, members, row)):
            branching.append(prompt)
            groups += passes
            members = []
        full += [FullRow(prompt, cell.index, len(row)) for cell in (*members, *anywhere)]
    return Division(bases, tuple(branching), tuple(groups), _batches(network, full, max_token_rows))


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


def _passes(network: Network, bases: Sequence[Sequence[BoundCell]], row: Row, max_token_rows: int) -> list[Group]:
    found = []
    for members in bases:
        places = [place for cell in members if (place := earliest(network, cell, row))]
        found += group(places, n_prompt=len(row), n_blocks=network.n_blocks, max_token_rows=max_token_rows)
    return found


def _cost(network: Network, bases: Sequence[Sequence[BoundCell]], row: Row, passes: Sequence[Group]) -> int:
    """Estimate block-token-rows of shared runs and the passes that leave them, weights read for each."""
    n = network.n_blocks
    shared = len(bases) * n * (len(row) + BLOCK_OVERHEAD)
    return shared + sum(each.block_token_rows(n) + BLOCK_OVERHEAD * n for each in passes)


def _full_cost(network: Network, cells: Sequence[BoundCell], row: Row) -> int:
    """Estimate block-token-rows of full rows; their batches are large, so that reading weights costs little."""
    return network.n_blocks * len(row) * len(cells)


def _batches(network: Network, full: Sequence[FullRow], max_token_rows: int) -> tuple[tuple[FullRow, ...], ...]:
    """Divide full rows into batches of like length: pads of a batch cost no more than reading the weights for another.

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
    return tuple(map(tuple, batches))
