"""Whole walks kept as numbers, and the game that they replay: what another way of sampling would have seen of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from rheostat.base.errors import BadArgument
from rheostat.neurons.shapley.game import Game
from rheostat.neurons.shapley.walk import coalitions, permutation


def record_walk(game: Game, walk: int, *, seed: int, chunk: int) -> Float[np.ndarray, " n_left"]:
    """Return what is left after each player of a permutation has gone, from everybody to nobody: n + 1 evaluations."""
    order = permutation(game.n_players, seed=seed, walk=walk)
    n = game.n_players + 1
    parts = [range(first, min(first + chunk, n)) for first in range(0, n, chunk)]
    return np.concatenate([game.values(coalitions(order, part), walk) for part in parts])


@dataclass(frozen=True, eq=False)
class RecordedGame:
    """A game that knows the coalitions along recorded walks, and no others."""

    n_players: int
    seed: int
    """Of the permutations."""
    walks: Mapping[int, Float[np.ndarray, " n_left"]]
    """By their numbers, as `record_walk` returns them."""
    fingerprint: str = ""

    def values(self, present: Bool[np.ndarray, "coalition player"], walk: int) -> Float[np.ndarray, " coalition"]:
        """Look coalitions up.

        Raises:
            BadArgument: the walk was not recorded, or a coalition does not lie on it.
        """
        if walk not in self.walks:
            raise BadArgument(f"walk {walk} was not recorded; {len(self.walks)} others were.")
        n_left = (self.n_players - present.sum(axis=1)).tolist()
        if not np.array_equal(coalitions(permutation(self.n_players, seed=self.seed, walk=walk), n_left), present):
            raise BadArgument(f"a coalition does not lie on walk {walk}: another seed?")
        return np.asarray(self.walks[walk][n_left])
