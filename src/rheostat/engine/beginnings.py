"""Prompts that begin other prompts: one row answers for all of them.

Attention is causal, and noise is keyed by a token's place in its row. So what a network computes at a token depends on
the tokens up to it, and on what the edits do to those. Where two prompts begin alike and a plan edits the same tokens
of that beginning in both, their logits there are the same, and the longer row has those of the shorter one. No row goes
on behind the last token whose logits are asked for, where the plan means the same without the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.base.errors import PositionNotFound
from rheostat.edit.knockout import CutAttention
from rheostat.engine.cells import BoundCell, BoundEdit
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions


@dataclass(frozen=True)
class Carrier:
    """A row that runs, and the prompts whose logits it has."""

    row: Row
    prompts: tuple[int, ...]
    """Their numbers; each one's asked positions are the row's own."""


@dataclass(frozen=True)
class Meant:
    """Which tokens an edit means, and how closely two rows must agree about it."""

    where: Positions
    hidden: Positions | None
    """The keys that a cut hides; None: no cut."""
    counted: bool
    """Whether the edit has a value for each of its tokens, counted from the first."""

    def alike(self, row: Row, other: Row, n_tokens: int) -> bool:
        """Tell whether the edit does the same to the first `n_tokens` of two rows, which are the same tokens.

        Of a cut, and of values that are counted, all tokens must be the same: what a cut refuses depends on all edges.
        """
        try:
            here, there = self.where.in_prompt(row), self.where.in_prompt(other)
            if self.hidden is not None and self.hidden.in_prompt(row) != self.hidden.in_prompt(other):
                return False
        except PositionNotFound:
            return False
        if self.hidden is not None or self.counted:
            return here == there
        return bool(there) and {one for one in here if one < n_tokens} == {one for one in there if one < n_tokens}


def meant_by(cell: BoundCell) -> frozenset[Meant] | None:
    """Return what a cell's edits mean; None where its rows can stand for no other prompt.

    That is so for substrings, which are found in one text, and for module paths, of which nothing is known.
    """
    return None if cell.names_text or cell.in_modules else frozenset(map(_meant, cell.each))


def carriers(
    rows: Sequence[Row], n_needed: Sequence[int], prompts: Sequence[int], meant: frozenset[Meant] | None
) -> list[Carrier]:
    """Return the rows that have to run for some prompts.

    Args:
        rows: all prompts.
        n_needed: per prompt, how many of its tokens there are up to the last whose logits are asked for.
        prompts: the numbers of those that run.
        meant: what the edits mean; none: only the tokens count. None: every prompt runs whole, by itself.
    """
    if meant is None:
        return [Carrier(rows[prompt], (prompt,)) for prompt in prompts]
    found: list[tuple[Row, list[int]]] = []
    # Sorted by tokens, what begins others stands right before them: so from the end, each begins the last one or none.
    for prompt in sorted(prompts, key=lambda one: rows[one].ids[: n_needed[one]], reverse=True):
        row, n = rows[prompt], n_needed[prompt]
        if found and _stands_for(found[-1][0], row, n, meant):
            found[-1][1].append(prompt)
        else:
            short = row if n == len(row) else Row(row.ids[:n])
            found.append((short if _stands_for(short, row, n, meant) else row, [prompt]))
    return [Carrier(row, tuple(sorted(members))) for row, members in found]


def _stands_for(carrier: Row, row: Row, n_tokens: int, meant: frozenset[Meant]) -> bool:
    """Tell whether a row has the logits of the first tokens of another."""
    return carrier.ids[:n_tokens] == row.ids[:n_tokens] and all(one.alike(row, carrier, n_tokens) for one in meant)


def _meant(bound: BoundEdit) -> Meant:
    edit = bound.edit
    hidden = edit.hidden if isinstance(edit, CutAttention) else None
    return Meant(edit.where, hidden, bound.value is not None and bound.value.shape[1] > 1)
