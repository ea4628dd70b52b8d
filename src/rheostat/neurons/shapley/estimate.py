"""`ShapleyEstimate`: what sampling found of every player."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from rheostat.base.errors import BadArgument


@dataclass(frozen=True, eq=False)
class ShapleyEstimate:
    """Estimated Shapley values, with what they cost."""

    values: Float[np.ndarray, " player"]
    """Means of the marginals; NaN: never measured. Truncated walks pull those of players that matter little to 0."""
    low: Float[np.ndarray, " player"]
    high: Float[np.ndarray, " player"]
    """The interval that the run used."""
    counts: Int[np.ndarray, " player"]
    """How often each was measured."""
    active: Bool[np.ndarray, " player"]
    """Whose membership among the top is still open; of plain sampling, everybody."""
    walks: int
    evaluations: int
    """Coalitions whose value was computed."""
    settled: bool
    """Whether a bandit stopped because nobody's membership was open, not because its budget was spent."""

    def top(self, k: int) -> tuple[int, ...]:
        """Return the k players of highest value, highest first, ties to the lower number.

        Raises:
            BadArgument: k is not from 1 to the number of players.
        """
        if not 1 <= k <= len(self.values):
            raise BadArgument(f"k={k}: from 1 to {len(self.values)}, the number of players.")
        order = np.argsort(-np.nan_to_num(self.values, nan=-np.inf), kind="stable")
        return tuple(int(player) for player in order[:k])
