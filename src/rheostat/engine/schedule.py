"""Which cells share a pass: neighbours by first edited token, so that little of what they recompute is wasted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

BLOCK_OVERHEAD = 20
"""What a block costs beside its rows, in token-rows: its weights must be read once per pass."""


@dataclass(frozen=True)
class Place:
    """Where a cell leaves the shared run: before this border and before this token the two are the same."""

    cell: int
    border: int
    """Its row joins the pass before this block; the number of blocks: before the final norm."""
    token: int


@dataclass(frozen=True)
class Group:
    """Cells that run in one pass over the end of a prompt."""

    places: tuple[Place, ...]
    """In the order of their borders, in which their rows join."""
    n_tokens: int
    """Tokens of the pass."""

    def block_token_rows(self, n_blocks: int) -> int:
        """Return how often a token of a row passes a block; one row carries the pass until the first cell joins."""
        carried = min(place.border for place in self.places)
        return self.n_tokens * (carried + sum(n_blocks - place.border for place in self.places))


def group(places: Iterable[Place], *, n_tokens: int, n_blocks: int, max_token_rows: int) -> list[Group]:
    """Divide cells into passes of least estimated cost.

    Args:
        places: where the cells leave the shared run.
        n_tokens: tokens of the prompt, up to the last whose logits are asked for.
        n_blocks: blocks of the network.
        max_token_rows: rows × tokens of one pass; a single row may exceed it.
    """
    ordered = sorted(places, key=lambda one: (-one.token, one.border, one.cell))
    stacks = [list(each) for _, each in groupby(ordered, lambda one: one.token)]
    groups = []
    for first, last in pairwise(_cuts(stacks, n_tokens, n_blocks, max_token_rows)):
        members = sorted((one for stack in stacks[first:last] for one in stack), key=lambda one: one.border)
        widest = n_tokens - min(one.token for one in members)
        for part in _parts(members, max(1, max_token_rows // widest)):
            groups.append(Group(tuple(part), n_tokens - min(one.token for one in part)))
    return groups


def _cuts(stacks: Sequence[Sequence[Place]], n_tokens: int, n_blocks: int, max_token_rows: int) -> list[int]:
    """Return the borders of the cheapest division of a list of stacks, by dynamic programming over its beginnings.

    A stack holds the cells that leave at one token.
    """
    best = [0.0] + [float("inf")] * len(stacks)
    previous = [0] * (len(stacks) + 1)
    for first in range(len(stacks)):
        rows = work = 0
        for last in range(first + 1, len(stacks) + 1):
            stack = stacks[last - 1]
            width = n_tokens - stack[0].token
            rows += len(stack)
            work += sum(n_blocks - one.border for one in stack)
            if last > first + 1 and rows * width > max_token_rows:
                break
            cost = best[first] + width * work + BLOCK_OVERHEAD * n_blocks
            if cost < best[last]:
                best[last], previous[last] = cost, first
    cuts = [len(stacks)]
    while cuts[-1]:
        cuts.append(previous[cuts[-1]])
    return cuts[::-1]


def _parts(members: Sequence[Place], n_rows: int) -> list[Sequence[Place]]:
    """Divide into nearly equal parts of at most `n_rows`."""
    n_parts = -(-len(members) // n_rows)
    size = -(-len(members) // n_parts)
    return [members[first : first + size] for first in range(0, len(members), size)]
