"""`Outcome`: one comparison of rheostat's way with a plain way, and whether the two computed the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from torch import Tensor

from bench.timing import Ratio, ratio
from rheostat.engine.turns import Times


@dataclass(frozen=True)
class Check:
    """Something that both ways must agree on."""

    what: str
    error: float
    """Largest difference, in the unit that `what` names."""
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Outcome:
    """What a benchmark found."""

    benchmark: str
    case: str
    ours: str
    """What rheostat was asked to do."""
    plain: str
    """What it was compared with."""
    seconds: float
    """Median time of ours."""
    plain_seconds: float
    speed: Ratio
    """The plain way's time over ours, by the clock on the wall: above 1 we are faster."""
    cpu_speed: Ratio
    """The same by processor time."""
    checks: tuple[Check, ...]
    target: float | None = None
    """The least speed that we want; a speed below it is reported, and fails nothing."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where our time goes, in seconds of one further run."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Other numbers, each with its unit in its name."""

    @property
    def agrees(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    @property
    def meets_target(self) -> bool | None:
        """Whether the median speed reaches the target; None where there is none."""
        return None if self.target is None else self.speed.median >= self.target

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        checks = [{**asdict(check), "holds": check.holds} for check in self.checks]
        return {**asdict(self), "checks": checks, "agrees": self.agrees, "meets_target": self.meets_target}


def compare(
    benchmark: str,
    case: str,
    *,
    ours: tuple[str, Times],
    plain: tuple[str, Times],
    checks: tuple[Check, ...],
    target: float | None = None,
    parts: Mapping[str, float] | None = None,
    figures: Mapping[str, float] | None = None,
) -> Outcome:
    """Put two ways, each described and timed, side by side."""
    our_times, plain_times = ours[1], plain[1]
    return Outcome(
        benchmark=benchmark,
        case=case,
        ours=ours[0],
        plain=plain[0],
        seconds=median(our_times.wall),
        plain_seconds=median(plain_times.wall),
        speed=ratio(plain_times.wall, our_times.wall),
        cpu_speed=ratio(plain_times.cpu, our_times.cpu),
        checks=checks,
        target=target,
        parts=dict(parts or {}),
        figures=dict(figures or {}),
    )


def relative_error(ours: Tensor, plain: Tensor) -> float:
    """Return the largest difference over the largest magnitude; infinite where the shapes differ."""
    if ours.shape != plain.shape:
        return float("inf")
    return float((ours - plain).abs().max() / plain.abs().max())
