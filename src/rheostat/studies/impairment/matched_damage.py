"""Damage to clusters at an intensity that hurts all topics together about equally, whatever the ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.capture.activations import Activations
from rheostat.impairment.curve import impairment_curves
from rheostat.impairment.dial import Dial
from rheostat.impairment.scale import measure_scale
from rheostat.model import Model
from rheostat.neurons.cluster import Cluster
from rheostat.studies.impairment.found_clusters import RANDOM, Clusters
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.tasks.item import Task

MODES = ("gaussian", "negative", "magnitude")
TARGET = 0.5
"""Nats."""
GRIDS: Mapping[str, tuple[float, ...]] = {
    "gaussian": (0.4, 1.0, 2.5),
    "negative": (0.1, 0.3, 1.0),
    "magnitude": (0.25, 0.5, 1.0),
}
"""Intensities tried, in standard deviations of the site (of `magnitude`: shares)."""
N_CALIBRATED = 3
"""Clusters of a ranking that the intensity is chosen on."""


@dataclass(frozen=True)
class Setting:
    """How much is measured."""

    kind: str
    modes: tuple[str, ...]
    draws: int
    """Of the noise; articles take turns."""
    calibrated: int
    """Prompts of each topic that the intensity is chosen on."""
    target: float = TARGET
    """Mean rise of the loss over all topics that is aimed at, in nats."""
    times: float = 1.0
    """What the intensities of noise that are tried are multiplied by."""

    def grid(self, mode: str) -> tuple[float, ...]:
        """Return the intensities tried."""
        return GRIDS[mode] if mode == "magnitude" else tuple(self.times * one for one in GRIDS[mode])


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found on one model at one kind of site."""

    model: str
    kind: str
    clusters: Clusters
    table: pd.DataFrame
    """Of `measure_matched`."""

    @property
    def label(self) -> str:
        """How tables and figures call it."""
        return f"{self.model}, {self.kind}"

    @property
    def rankings(self) -> tuple[str, ...]:
        """All but the random one."""
        return tuple(name for name in self.clusters if name != RANDOM)


def measure_matched(
    context: Context, model: Model, setting: Setting, clusters: Clusters, find: Sequence[Task], tasks: Sequence[Task]
) -> pd.DataFrame:
    """Return a row per mode, cluster and item, and one for the intact network in every mode.

    Per ranking and mode the intensity is chosen on a few of the prompts that clusters were found on; all that
    is measured comes from the others. Columns mode, ranking, dial, intensity, task, item, group, loss.

    Args:
        context: of the study.
        model: a language model.
        setting: site, modes and noise.
        clusters: by ranking and topic.
        find: one task per topic, of the prompts that clusters were found on.
        tasks: of the prompts to measure.
    """
    scale = measure_scale(model, [item.prompt for task in find for item in task.items], f"blocks.*.{setting.kind}")
    few = [Task(task.name, task.items[: setting.calibrated]) for task in find]
    tables = []
    for mode in setting.modes:
        for ranking, own in clusters.items():
            params = step_params(
                model,
                context,
                mode=mode,
                target=setting.target,
                grid=setting.grid(mode),
                setting=[setting.kind, setting.draws, setting.calibrated],
                clusters=[(name, sorted(cluster.units.items())) for name, cluster in own.items()],
                items=[(item.prompt, item.answer, item.group) for task in (*few, *tasks) for item in task.items],
            )

            def compute(mode: str = mode, ranking: str = ranking, own: Mapping[str, Cluster] = own) -> pd.DataFrame:
                dials = {f"{ranking}: {name}": _dial(mode, cluster, scale) for name, cluster in own.items()}
                tried = dict(list(dials.items())[:N_CALIBRATED])
                intensity = matched_intensity(context, model, few, tried, setting.grid(mode), setting.target)
                return _curves(context, model, tasks, dials, [intensity], setting.draws)

            name = f"damage-{setting.kind}-{mode}-{ranking}-{model.name}".replace("/", "-").replace("_", "-")
            tables.append(context.step(name, params, compute).assign(mode=mode, ranking=ranking))
    return pd.concat(tables, ignore_index=True)


def matched_intensity(
    context: Context,
    model: Model,
    tasks: Sequence[Task],
    dials: Mapping[str, Dial],
    grid: Sequence[float],
    target: float,
) -> float:
    """Return the intensity, between those tried, at which the loss rises by `target` on average; else the strongest."""
    table = _curves(context, model, tasks, dials, grid, len(grid))
    means = table.groupby("intensity")["loss"].mean()
    roots = np.sqrt(np.maximum.accumulate([0.0, *(means[level] - means[0.0] for level in grid)]))
    if roots[-1] <= target**0.5:
        return float(grid[-1])
    place = int(np.searchsorted(roots, target**0.5))  # the rise grows about as the square of the intensity
    levels = [0.0, *grid]
    part = (target**0.5 - roots[place - 1]) / (roots[place] - roots[place - 1])
    return float(f"{levels[place - 1] + part * (levels[place] - levels[place - 1]):.3g}")


def _curves(
    context: Context,
    model: Model,
    tasks: Sequence[Task],
    dials: Mapping[str, Dial],
    levels: Sequence[float],
    draws: int,
) -> pd.DataFrame:
    progress = None if context.show_progress else False
    return impairment_curves(
        model, tasks, dials, levels, draws=draws, crossed=False, seed=context.seed, progress=progress
    )


def _dial(mode: str, cluster: Cluster, scale: Activations) -> Dial:
    return Dial(mode, cluster.kind, cluster, scale=None if mode == "magnitude" else scale)
