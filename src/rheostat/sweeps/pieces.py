"""How a sweep is divided: pieces that are computed, and committed, together."""

from collections.abc import Callable, Iterable
from itertools import groupby, pairwise
from typing import TypeAlias

from rheostat.sweeps.question import Place

Piece: TypeAlias = tuple[Place, ...]
"""Places that one worker computes at once; those of one prompt stand together."""

PIECE = 256
"""Places of a piece that is committed at once, or sent to a worker, at most: so many are lost by a kill."""


def cut(places: Iterable[Place], first_token: Callable[[Place], int], *, size: int) -> list[Piece]:
    """Divide places (in the order of prompts) into pieces of at most `size`.

    Cells of one prompt that edit the same tokens share most of their work, so they stay together: prompts are kept
    whole where they fit, and a longer one is cut along its tokens.
    """
    pieces: list[Piece] = []
    room = 0
    for _, group in groupby(places, key=lambda place: place[0]):
        members = tuple(group)
        if len(members) <= room:
            pieces[-1] += members
        elif len(members) <= size:
            pieces.append(members)
        else:
            pieces += _even(sorted(members, key=first_token), size)
        room = size - len(pieces[-1])
    return pieces


def _even(places: list[Place], size: int) -> list[Piece]:
    n = -(-len(places) // size)
    borders = [len(places) * part // n for part in range(n + 1)]
    return [tuple(places[start:stop]) for start, stop in pairwise(borders)]
