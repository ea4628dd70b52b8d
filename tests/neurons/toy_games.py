"""Games whose Shapley values are known, or can be enumerated."""

from dataclasses import dataclass

import numpy as np

from rheostat.neurons.shapley.game import FunctionGame


def additive(worths: list[float]) -> FunctionGame:
    """Everybody adds their own worth."""
    return FunctionGame(len(worths), lambda present: present @ np.array(worths), f"additive {worths}")


def majority(weights: list[float], quota: float) -> FunctionGame:
    """1 where the weights reach the quota, else 0."""
    return FunctionGame(
        len(weights), lambda present: (present @ np.array(weights) >= quota).astype(float), f"{weights} {quota}"
    )


def synergies(n: int, seed: int) -> FunctionGame:
    """Own worths, worths of pairs that may be negative, and a saturating sum of some."""
    rng = np.random.default_rng(seed)
    worths = rng.exponential(1, n) * (rng.random(n) < 0.7)
    pairs = np.triu(rng.normal(0, 0.3, (n, n)), 1)

    def value(present: np.ndarray) -> np.ndarray:
        there = present.astype(float)
        together = ((there @ pairs) * there).sum(axis=1)
        return there @ worths + together + np.minimum(there[:, : n // 2].sum(axis=1), 2)

    return FunctionGame(n, value, f"synergies {n} {seed}")


@dataclass(frozen=True)
class WorthsOfTheDay:
    """Additive, but everybody's worth is drawn anew for every walk, around their own mean: as it is with prompts."""

    means: tuple[float, ...]
    """What everybody is worth on average: the game's Shapley values."""
    spread: float
    seed: int

    @property
    def n_players(self) -> int:
        """How many there are."""
        return len(self.means)

    def best(self, k: int) -> set[int]:
        """The top k."""
        return set(np.argsort(-np.array(self.means))[:k].tolist())

    @property
    def fingerprint(self) -> str:
        """Its settings."""
        return repr(self)

    def values(self, present: np.ndarray, walk: int) -> np.ndarray:
        """Add up what those present are worth on a walk."""
        drawn = np.random.default_rng([self.seed, walk, 1]).normal(0, self.spread, self.n_players)
        return present @ (np.array(self.means) + drawn)


def ladder(n: int, gap: float, spread: float, seed: int) -> WorthsOfTheDay:
    """Means a gap apart, in a random order."""
    return WorthsOfTheDay(tuple((gap * np.random.default_rng(seed).permutation(n)).tolist()), spread, seed)
