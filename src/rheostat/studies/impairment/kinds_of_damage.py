"""The kinds of damage whose curves the study draws: mode, distribution, kind of site and share of its units."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import torch

from rheostat.capture.activations import Activations
from rheostat.edit.arithmetic import Add
from rheostat.edit.plan import Plan
from rheostat.impairment.dial import Dial
from rheostat.model import Model
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.ranking import random_ranking

SITES = ("mlp_in", "neurons", "mlp_out")
SHARE = 0.02
"""Of each block's units that a small cluster holds."""
LARGER = (0.1, 1.0)
SHIFT = "shift"
"""The control of negative noise: its mean, without the noise."""
SPREAD = {"normal": 1.0, "truncated": 0.5396, "uniform": 1 / sqrt(3)}
"""Standard deviation of each distribution of noise."""
N_LEVELS = 8
BEND = 1.5
"""Levels lie at (k/8)^1.5 of the last: closer where accuracy falls, which is early."""


@dataclass(frozen=True)
class Damage:
    """One line of a figure: what is damaged and how."""

    mode: str
    """A mode of `Impair`, or `shift`."""
    kind: str
    share: float = SHARE
    distribution: str = "normal"
    relative: bool = True
    """Whether intensity counts in standard deviations of the site."""

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        noise = self.mode if self.distribution == "normal" else f"{self.mode} {self.distribution}"
        part = "everything" if self.share == 1 else f"{100 * self.share:g} % of units"
        return f"{noise} at {self.kind}, {part}" + ("" if self.relative else ", absolute")

    def plan(self, model: Model, scale: Activations | None, intensity: float, *, seed: int, draw: int) -> Plan:
        """Return the edits of an intensity."""
        cluster = cluster_of(model, self.kind, self.share, seed)
        if self.mode == SHIFT:
            assert scale is not None
            return _shift(cluster, scale, intensity)
        noisy = self.mode != "magnitude" and self.relative
        dial = Dial(self.mode, self.kind, cluster, distribution=self.distribution, scale=scale if noisy else None)
        return dial.plan(intensity, seed=seed, draw=draw)


MAIN = tuple(Damage(mode, kind) for mode in ("gaussian", "negative", "magnitude") for kind in SITES)
DISTRIBUTIONS = tuple(
    Damage("gaussian", kind, distribution=name) for name in ("truncated", "uniform") for kind in SITES
)
BESIDE = (*(Damage(SHIFT, kind) for kind in SITES), Damage("gaussian", "mlp_out", relative=False))
SIZES = tuple(Damage("magnitude", kind, share) for share in LARGER for kind in SITES)


def cluster_of(model: Model, kind: str, share: float, seed: int) -> Cluster:
    """Return a random cluster of a share of every block's units; of a larger share it holds the smaller ones too."""
    return random_ranking(model, kind, seed=seed).top(share)


def levels_of(damage: Damage, last: dict[tuple[str, str], float], scale: Activations) -> list[float]:
    """Return the intensities above 0.

    Args:
        damage: what is turned up.
        last: per mode and kind of site, the intensity at which the pilot of normal noise came to its end.
        scale: standard deviation of every site.
    """
    if damage.mode == "magnitude":
        return [level / N_LEVELS for level in range(1, N_LEVELS + 1)]
    mode = "negative" if damage.mode == SHIFT else damage.mode
    end = last[mode, damage.kind] / SPREAD[damage.distribution]
    if not damage.relative:
        end *= float(np.median([float(scale[site].flatten()[0]) for site in scale if site.endswith(damage.kind)]))
    return [end * (level / N_LEVELS) ** BEND for level in range(1, N_LEVELS + 1)]


def labels(damages: Sequence[Damage]) -> dict[str, Damage]:
    """Return damages by label."""
    return {damage.label: damage for damage in damages}


def _shift(cluster: Cluster, scale: Activations, intensity: float) -> Plan:
    """Return what negative noise of an intensity adds on average, as a constant."""
    edits = []
    for block, units in cluster.units.items():
        site = cluster.site(block)
        amount = scale[site].flatten()[list(units)] * -intensity * expected_largest(len(units))
        edits.append(Add(site, amount, units=units))
    return Plan(tuple(edits))


@lru_cache(maxsize=64)
def expected_largest(n: int) -> float:
    """Return the mean of the largest of n standard normal numbers, by integrating over its distribution."""
    grid = torch.linspace(-9.0, 9.0, 20_001, dtype=torch.float64)
    below = torch.special.ndtr(grid) ** n
    return float(9.0 - torch.trapezoid(below, grid))
