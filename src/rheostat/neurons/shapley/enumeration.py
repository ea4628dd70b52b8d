"""Shapley values by enumeration of all coalitions: exact, for games of few players.

Reference: Shapley 1953, A value for n-person games.
"""

import math

import numpy as np
from jaxtyping import Float

from rheostat.base.errors import BadArgument
from rheostat.neurons.shapley.game import Game

MOST_PLAYERS = 16


def exact_shapley(game: Game, *, walk: int = 0) -> Float[np.ndarray, " player"]:
    """Return each player's Shapley value, from the values of all 2ⁿ coalitions.

    Args:
        game: of at most 16 players.
        walk: which sample of the world the coalitions are measured on.

    Raises:
        BadArgument: the game has no player, or more than 16.
    """
    n = game.n_players
    if not 1 <= n <= MOST_PLAYERS:
        raise BadArgument(f"{n} players have 2^{n} coalitions; 1 to {MOST_PLAYERS} can be enumerated. Sample instead.")
    numbers = np.arange(2**n)
    present = (numbers[:, None] >> np.arange(n)) & 1 == 1
    values = game.values(present, walk)
    sizes = present.sum(axis=1)
    weights = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    found = []
    for player in range(n):
        without = numbers[~present[:, player]]
        found.append(float((weights[sizes[without]] * (values[without | (1 << player)] - values[without])).sum()))
    return np.array(found)
