"""When a monitor raises its flag: how readings are smoothed, and the threshold for a wanted rate of false alarms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rheostat.base.errors import BadArgument
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.scores import read_concept
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike

Pool: TypeAlias = Literal["mean", "maximum"]


@dataclass(frozen=True)
class Smoothing:
    """How the readings of the newest tokens become the number that is compared with a threshold."""

    window: int = 1
    """How many of the newest readings count; at the beginning there are fewer."""
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        if self.window < 1:
            raise BadArgument(f"window={self.window}: at least 1 token.")
        if self.pool not in ("mean", "maximum"):
            raise BadArgument(f"pool={self.pool!r}: 'mean' or 'maximum'.")

    def newest(self, readings: Sequence[float]) -> float:
        """Return the smoothed value at the last of some readings."""
        last = readings[-self.window :]
        return float(np.mean(last)) if self.pool == "mean" else float(np.max(last))

    def all(self, readings: Sequence[float]) -> list[float]:
        """Return the smoothed value at each reading."""
        return [self.newest(readings[: index + 1]) for index in range(len(readings))]


def threshold_for(
    network: Network,
    directions: Directions | Direction,
    negatives: Sequence[Prompt],
    *,
    false_alarms: float = 0.05,
    window: int = 1,
    pool: Pool = "mean",
    positions: PositionsLike = slice(1, None),
    batch_size: int = 32,
) -> float:
    """Return the threshold that at most a share of texts like `negatives` is expected to cross anywhere.

    It is the smallest one that the split-conformal bound grants (Angelopoulos and Bates 2021, arXiv:2107.07511, §1):
    with n texts, the ⌈(n + 1)(1 − false_alarms)⌉-th smallest of their highest smoothed readings.

    Args:
        network: the network that the directions were fitted on.
        directions: as for `monitor`.
        negatives: texts that should raise no flag, of the kind and length that will be monitored.
        false_alarms: wanted share of flagged harmless texts, above 0 and below 1.
        window: as for `monitor`.
        pool: as for `monitor`.
        positions: the tokens that count. The first is left out by default: in many models its activation is far larger
            than any other.
        batch_size: texts per pass.

    Raises:
        BadArgument: too few texts for so small a share.
        DirectionNotUsable: a direction belongs to another network, or has no calibration.
    """
    if not 0 < false_alarms < 1:
        raise BadArgument(f"false_alarms={false_alarms}: a share above 0 and below 1.")
    smoothing = Smoothing(window, pool)
    read = read_concept(network, directions, negatives, positions=positions, batch_size=batch_size).table
    each = read.groupby(["text", "site"], sort=False)["score"].agg(lambda scores: max(smoothing.all(list(scores))))
    return conformal_threshold(each.groupby("text").max().to_list(), false_alarms)


def conformal_threshold(highest: Sequence[float], false_alarms: float) -> float:
    """Return the value that a further draw from the source of `highest` exceeds with at most this probability.

    Raises:
        BadArgument: too few values for so small a share.
    """
    n = len(highest)
    rank = int(np.ceil((n + 1) * (1 - false_alarms) - 1e-9))
    if rank > n:
        need = int(np.ceil(1 / false_alarms - 1e-9)) - 1
        raise BadArgument(f"{n} negative texts cannot promise {false_alarms:.1%} false alarms: {need} or more could.")
    return float(np.sort(np.asarray(highest, dtype=np.float64))[rank - 1])
