"""Where in the network a vector works: too early, too late, and whether two models agree on the depth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part
from rheostat.studies.power import seen_through
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.answers import BASELINE, ELSEWHERE, OWN, RANDOM, REGULAR, by_task
from rheostat.studies.task_vectors.measured import FEWEST, Measured

LAYER, SIZE = "taskvec-2", "taskvec-3"
STATEMENTS = {
    LAYER: "The effect depends on the layer: too early the task is not formed, too late it is already spent.",
    SIZE: "The best layer is nearly the same whatever the model size.",
}
PLANTED = 0.2
"""Rise in accuracy at the chosen block, and distance of the depths from the middle, that must be seen."""
PAPER = "In the paper the best blocks lie at about 20 to 50 % of the depth."


def profile_of(one: Measured, state: str) -> Values:
    """Return the exact accuracy of each able task on its test questions, (task, block tried); NaN where not tried."""
    rows = one.test[one.test["state"] == state]
    wide = rows.groupby(["task", "block"])["exact"].mean().unstack()
    return wide.reindex(index=one.able, columns=one.blocks).to_numpy(dtype=np.float64)


def at_peak(one: Measured, profile: Values) -> Values:
    """Return each able task's value at its chosen block."""
    places = [one.blocks.index(one.chosen[task]) for task in one.able]
    return np.asarray(profile[range(len(places)), places])


def ends(one: Measured, profile: Values) -> tuple[Values, Values]:
    """Return each task's mean over the first and over the last quarter of the blocks; NaN where none was tried.

    Where no block of the last quarter was tried, it is the last that was.
    """
    n, last = one.vectors.n_blocks, one.blocks[-1]
    early = [place for place, block in enumerate(one.blocks) if block < n / 4]
    late = [place for place, block in enumerate(one.blocks) if block >= min(n - n / 4, last)]
    return _mean(profile[:, early]), _mean(profile[:, late])


def _mean(values: Values) -> Values:
    """Return the mean of each row without its NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean: Values = np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))
    return mean


def of_layers(one: Measured, seed: int) -> list[Measurement]:
    """Return how far the accuracy at the chosen block lies above both ends, against random vectors' profile."""
    own, random = profile_of(one, OWN), profile_of(one, RANDOM)
    elsewhere = profile_of(one, ELSEWHERE)
    found = []
    for which, name in enumerate(("first", "last")):
        rise = at_peak(one, own) - ends(one, own)[which]
        flat = at_peak(one, random) - ends(one, random)[which]
        what = f"accuracy at the chosen block minus the {name} quarter's"
        found += against(one.model.name, what, rise, {"random vectors": flat}, unit="tasks", seed=seed)
    for which, name in enumerate(("first", "last")):
        what = f"accuracy at the chosen block, read there, minus read in the {name} quarter"
        rise = at_peak(one, own) - ends(one, elsewhere)[which]
        rise = rise[np.isfinite(rise)]
        if len(rise) < FEWEST:
            continue
        found += against(one.model.name, what, rise, {"no difference": 0 * rise}, unit="tasks", seed=seed)
    return found


def planted(found: Sequence[Measurement]) -> bool:
    """Tell whether the least rise would be seen through the tasks' own scatter, above both ends of the network."""
    return all(seen_through(m, PLANTED) for m in found[:2])


def depth_of(one: Measured) -> dict[str, float]:
    """Return the chosen block of each able task as a share of the depth: 0 the first block, 1 the last."""
    return {task: one.chosen[task] / (one.vectors.n_blocks - 1) for task in one.able}


def by_chance(one: Measured, other: Measured) -> float:
    """Return the mean distance of depths if peaks lay anywhere, as those of permuted accuracies do."""
    first = np.array(one.blocks) / (one.vectors.n_blocks - 1)
    second = np.array(other.blocks) / (other.vectors.n_blocks - 1)
    return float(np.abs(first[:, None] - second[None]).mean())


def planted_depths(measured: Sequence[Measured], seed: int) -> bool:
    """Tell whether equal mean depths before the middle would be seen through the scatter of the tasks."""
    depths = [depth_of(one) for one in measured]
    means = [float(np.mean(list(each.values()))) for each in depths]
    moved = [
        {task: depth - mean + 0.5 - PLANTED for task, depth in each.items()}
        for each, mean in zip(depths, means, strict=True)
    ]
    before = [bootstrap_mean([0.5 - depth for depth in each.values()], seed=seed) for each in moved]
    shared = [task for task in moved[0] if task in moved[-1]]
    if len(shared) < FEWEST:
        return False
    chance = by_chance(measured[0], measured[-1])
    near = bootstrap_mean([chance - abs(moved[0][task] - moved[-1][task]) for task in shared], seed=seed)
    return near.low > 0 and all(one.low > 0 for one in before)


def of_sizes(measured: Sequence[Measured], seed: int) -> list[Measurement]:
    """Return how near the depths of two models' chosen blocks lie, and how far into the first half."""
    found = []
    if len(measured) > 1:
        one, other = measured[:2]
        first, second = depth_of(one), depth_of(other)
        shared = [task for task in first if task in second]
        if len(shared) >= FEWEST:
            apart = -np.array([abs(first[task] - second[task]) for task in shared])
            chance = np.full(len(shared), -by_chance(one, other))
            name = f"{one.model.name} and {other.model.name}"
            what = "minus the distance of the best depths (share of the depth)"
            found += against(name, what, apart, {"permuted accuracies": chance}, unit="tasks", seed=seed)
    for one in measured:
        depths = np.array(list(depth_of(one).values()))
        what = "how far the best depth lies before the middle (share of the depth)"
        found += against(one.model.name, what, 0.5 - depths, {"the middle": 0 * depths}, unit="tasks", seed=seed)
    return found


def run(context: Context, measured: Sequence[Measured]) -> Part:
    """Draw the profiles of all models and judge both claims."""
    enough = [one for one in measured if len(one.able) >= FEWEST]
    layers = {one.model.name: of_layers(one, context.seed) for one in enough}
    deciding = [m for ms in layers.values() for m in ms[:2]]
    layer = Verdict(
        claim=LAYER,
        statement=STATEMENTS[LAYER],
        verdict=judge(deciding, planted_found=all(planted(ms) for ms in layers.values())),
        reason=f"{held(deciding)} Blocks are chosen on dev questions, accuracies are those of test questions.",
        measurements=tuple(m for ms in layers.values() for m in ms),
    )
    sizes = of_sizes(enough, context.seed) if len(enough) > 1 else []
    size = Verdict(
        claim=SIZE,
        statement=STATEMENTS[SIZE],
        verdict=judge(sizes, planted_found=bool(sizes) and planted_depths(enough, context.seed)),
        reason=f"{held(sizes)} Only two models of different families were compared, and no series of sizes. {PAPER}",
        measurements=tuple(sizes),
    )
    figures: tuple[Figure, ...] = tuple(_figure(one, context.seed) for one in enough)
    section = Section(
        heading="At which depth",
        text="\n\n".join(_describe(one, layers[one.model.name]) for one in enough)
        + (f"\n\n{compared_all(sizes)} {PAPER}" if sizes else ""),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), figures=figures, verdicts=(layer, size))


def _describe(one: Measured, found: Sequence[Measurement]) -> str:
    blocks = sorted(one.chosen[task] for task in one.able)
    depths = np.array(list(depth_of(one).values()))
    return (
        f"{one.model.name}, {len(blocks)} tasks: best blocks by the dev questions from {blocks[0]} to {blocks[-1]} of "
        f"{one.vectors.n_blocks}, median {np.median(blocks):g}, mean depth {number(float(depths.mean()))}. "
        f"{compared_all(found)}"
    )


def _figure(one: Measured, seed: int) -> Profile:
    rows = []
    for state in (OWN, RANDOM, ELSEWHERE):
        profile = profile_of(one, state)
        for place, block in enumerate(one.blocks):
            values = profile[:, place][np.isfinite(profile[:, place])]
            if len(values) >= max(FEWEST, len(one.able) / 2):
                mean = bootstrap_mean(values, seed=seed)
                label = (
                    "read here, put in at the chosen block" if state == ELSEWHERE else f"{state}, read and put in here"
                )
                rows.append({"x": block, "value": mean.value, "low": mean.low, "high": mean.high, "series": label})
    reference = {state: float(by_task(one.asked_on_test(state), one.able).mean()) for state in (BASELINE, REGULAR)}
    return Profile(
        name=f"depth-{one.model.name}",
        title=f"Accuracy with a task vector by block, {one.model.name}",
        x_label="block",
        y_label="share of exact answers",
        table=pd.DataFrame(rows),
        note=f"n = {len(one.able)} tasks, test questions; bands: 95 % bootstrap intervals over tasks.",
        reference=reference,
    )
