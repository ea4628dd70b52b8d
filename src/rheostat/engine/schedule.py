"""Which cells share a pass: neighbours by first edited token, so that little of what they recompute is wasted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rheostat.engine.departure import Departure

BLOCK_OVERHEAD = 20
"""What a block costs beside its rows, in token-rows: its weights must be read once per pass."""


@dataclass(frozen=True)
class Group:
    """Cells that run in one pass."""

    departures: tuple[Departure, ...]
    n_tokens: int
    """Tokens of the pass."""

    def token_rows(self, n_blocks: int) -> int:
        """Return block-token-rows: one is one token of one row in one block."""
        carried = min(departure.border for departure in self.departures)
        return self.n_tokens * (carried + sum(n_blocks - departure.border for departure in self.departures))


def group(departures: Iterable[Departure], *, n_prompt: int, n_blocks: int, max_token_rows: int) -> list[Group]:
    """Divide cells into passes of least estimated cost.

    Args:
        departures: the cells.
        n_prompt: tokens of the prompt.
        n_blocks: blocks of the network.
        max_token_rows: rows × tokens of one pass; one row may exceed it.
    """
    ordered = sorted(departures, key=lambda one: (-one.token, one.border, one.cell))
    stacks = [list(each) for _, each in groupby(ordered, lambda one: one.token)]
    groups = []
    for first, last in pairwise(_cuts(stacks, n_prompt, n_blocks, max_token_rows)):
        members = sorted((one for stack in stacks[first:last] for one in stack), key=lambda one: one.border)
        n_tokens = n_prompt - min(one.token for one in members)
        n_rows = max(1, max_token_rows // n_tokens)
        groups += [Group(tuple(part), n_tokens) for part in _parts(members, n_rows)]
    return groups


def _cuts(stacks: Sequence[Sequence[Departure]], n_prompt: int, n_blocks: int, max_token_rows: int) -> list[int]:
    """Return the borders of the cheapest division of a list of stacks, by dynamic programming over its beginnings."""
    best = [0.0] + [float("inf")] * len(stacks)
    previous = [0] * (len(stacks) + 1)
    for first in range(len(stacks)):
        rows = work = 0
        for last in range(first + 1, len(stacks) + 1):
            stack = stacks[last - 1]
            n_tokens = n_prompt - stack[0].token
            rows += len(stack)
            work += sum(n_blocks - one.border for one in stack)
            if last > first + 1 and rows * n_tokens > max_token_rows:
                break
            cost = best[first] + n_tokens * work + BLOCK_OVERHEAD * n_blocks
            if cost < best[last]:
                best[last], previous[last] = cost, first
    cuts = [len(stacks)]
    while cuts[-1]:
        cuts.append(previous[cuts[-1]])
    return cuts[::-1]


def _parts(members: Sequence[Departure], n_rows: int) -> list[Sequence[Departure]]:
    """Divide into equal parts of at most `n_rows`."""
    n_parts = -(-len(members) // n_rows)
    size = -(-len(members) // n_parts)
    return [members[first : first + size] for first in range(0, len(members), size)]
