"""What times say: ratios of neighbouring turns, and the time of all cells where only some were run."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from rheostat.engine.turns import Times


@dataclass(frozen=True)
class Ratio:
    """The median of the ratios of neighbouring turns, with the quartiles between which half of them lie."""

    median: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def scaled(times: Times, n_run: int, n_cells: int) -> Times:
    """Return the times of all cells, where only some were run."""
    factor = n_cells / n_run
    return Times(tuple(one * factor for one in times.wall), tuple(one * factor for one in times.cpu))


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Divide turn by turn."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Ratio(median(ratios), low, high, len(ratios))
