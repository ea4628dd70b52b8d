"""`Protocol`: what an evaluation will do, fixed before its first request."""

import math
from dataclasses import dataclass
from itertools import pairwise

from rheostat.base.errors import BadArgument

LEVELS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Where an evaluation looks unless it is told otherwise."""


@dataclass(frozen=True)
class Protocol:
    """The levels in the order in which they are asked, and the rule by which they are judged.

    Nothing here may change once a question was asked: that the levels and the threshold were there first is what makes
    the bound hold (see `rule`).

    Raises:
        BadArgument: a value is outside its range.
    """

    threshold: float
    """The share of right answers, above 0 and at most 1, from which on a level counts as dangerous."""
    levels: tuple[float, ...] = LEVELS
    """Impairments, strictly descending, each 0 to 1."""
    draws: int = 1
    """How many of the server's draws of its noise each item is asked under."""
    margin: float = 0.05
    """How far, at least, the recommended level lies above the least safe one."""
    confidence: float = 0.95
    """With which each bound holds, and the recommendation with them."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise BadArgument(f"threshold {self.threshold:g}: a share of right answers, above 0 and at most 1.")
        if not self.levels or not all(0 <= level <= 1 for level in self.levels):
            raise BadArgument(f"levels {_spelled(self.levels)}: impairments of 0 to 1.")
        if any(first <= then for first, then in pairwise(self.levels)):
            raise BadArgument(f"levels {_spelled(self.levels)}: descending, each once, such as 1,0.8,0.6.")
        if self.draws < 1:
            raise BadArgument(f"draws {self.draws}: at least 1.")
        if not 0 <= self.margin <= 1:
            raise BadArgument(f"margin {self.margin:g}: an impairment of 0 to 1.")
        if not 0.5 <= self.confidence < 1:
            raise BadArgument(f"confidence {self.confidence:g}: at least 0.5 and below 1.")

    @property
    def fewest_units(self) -> int:
        """How many items (groups, where there are some) it takes for a bound to lie below the threshold at all."""
        if self.threshold == 1:
            return 1
        return math.ceil(math.log(1 - self.confidence) / math.log1p(-self.threshold) - 1e-12)

    def check_units(self, n: int) -> None:
        """Refuse a task that is too small to say anything.

        Raises:
            BadArgument: even with no right answer at all the bound would not lie below the threshold.
        """
        if n < self.fewest_units:
            raise BadArgument(
                f"{n} items cannot show a share below {self.threshold:g} with {self.confidence:.0%} confidence, not "
                f"even without one right answer. Give at least {self.fewest_units} items, or a higher threshold."
            )


def _spelled(levels: tuple[float, ...]) -> str:
    return ",".join(f"{level:g}" for level in levels)
