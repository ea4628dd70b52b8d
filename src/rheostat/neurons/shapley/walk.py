"""`walk`: one permutation of the players, who leave the full coalition one after another; what each takes along.

Following Ghorbani and Zou 2020, Neuron Shapley (arXiv:2002.09815), as their code does it. Only active players are
measured; the others leave unmeasured between them. A walk is cut short (truncated) when little is left to lose: then
the active players that still take part count as taking nothing. Where this differs from their code:

- what is left is compared with the game's own range on this walk's sample, from nobody to everybody, rather than with
  a constant for chance. It is one-sided as theirs: a coalition worth less than nobody counts as little left;
- a player who was not measured is NaN, where theirs is −1, which is a possible value too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from rheostat.base.errors import BadArgument
from rheostat.neurons.shapley.game import Game


@dataclass(frozen=True)
class Truncation:
    """When a walk is cut short."""

    share: float = 0.2
    """Of the game's range: a coalition worth at most this much more than nobody has little left to lose."""
    patience: int = 5
    """Measured players in a row that may leave such coalitions; at one more the walk ends."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1 or self.patience < 0:
            raise BadArgument(
                f"Truncation(share={self.share:g}, patience={self.patience}): share from 0 to below 1, patience 0 or "
                "above."
            )


@dataclass(frozen=True)
class Walk:
    """What one permutation showed."""

    marginals: Float[np.ndarray, " player"]
    """What the coalition lost when each player left it; NaN: not measured, 0 behind the cut."""
    evaluations: int
    """Coalitions whose value was computed, those behind the cut included."""


def permutation(n_players: int, *, seed: int, walk: int) -> Int[np.ndarray, " player"]:
    """Return the order in which players leave, keyed by (seed, walk): the same whatever else was drawn."""
    return np.random.default_rng([seed, walk]).permutation(n_players)


def take_walk(
    game: Game,
    walk: int,
    active: Bool[np.ndarray, " player"],
    *,
    seed: int,
    truncation: Truncation | None,
    chunk: int,
) -> Walk:
    """Let the players leave in the order of one permutation.

    Args:
        game: the game.
        walk: its number, which keys the permutation and the game's sample.
        active: the players to measure.
        seed: of the permutation.
        truncation: when to cut it short; None: never.
        chunk: coalitions that are evaluated at a time. They are known before their values are, so a network takes
            them together; of a chunk in which the walk is cut, the rest was in vain.
    """
    order = permutation(game.n_players, seed=seed, walk=walk)
    steps = [step for step, player in enumerate(order) if active[player]]
    values = _Values(game, walk, order, steps, chunk)
    marginals = np.full(game.n_players, np.nan)
    limit = -np.inf
    if truncation is not None:
        full, nobody = values.compute([0, game.n_players])
        limit = nobody + truncation.share * abs(full - nobody)
    idle = 0
    for place, step in enumerate(steps):
        after = values[step + 1]
        marginals[order[step]] = values[step] - after
        idle = idle + 1 if after <= limit else 0
        if truncation is not None and idle > truncation.patience:
            marginals[order[steps[place + 1 :]]] = 0
            break
    return Walk(marginals, len(values.known))


class _Values:
    """The values of the coalitions along one permutation, by how many players have left, computed when needed."""

    def __init__(
        self, game: Game, walk: int, order: Int[np.ndarray, " player"], steps: Sequence[int], chunk: int
    ) -> None:
        self._game, self._walk, self._order = game, walk, order
        self._chunks = _chunks(sorted({n_left for step in steps for n_left in (step, step + 1)}), chunk)
        self.known: dict[int, float] = {}

    def compute(self, n_left: Sequence[int]) -> list[float]:
        """Return the values of coalitions that so many players have left."""
        missing = [n for n in n_left if n not in self.known]
        if missing:
            found = self._game.values(coalitions(self._order, missing), self._walk)
            self.known.update(zip(missing, map(float, found), strict=True))
        return [self.known[n] for n in n_left]

    def __getitem__(self, n_left: int) -> float:
        while n_left not in self.known:
            self.compute(next(self._chunks))
        return self.known[n_left]


def coalitions(order: Int[np.ndarray, " player"], n_left: Sequence[int]) -> Bool[np.ndarray, "coalition player"]:
    """Return who takes part once the first players of an order have left."""
    present = np.ones((len(n_left), len(order)), dtype=bool)
    for row, n in enumerate(n_left):
        present[row, order[:n]] = False
    return present


def _chunks(listed: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(listed), size):
        yield listed[first : first + size]
