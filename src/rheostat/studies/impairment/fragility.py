"""Do abilities of one network break at different intensities of the same damage?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.capture.activations import Activations
from rheostat.impairment.comparison import halves
from rheostat.impairment.curve import impairment_curves
from rheostat.impairment.dial import Dial
from rheostat.impairment.measured import MeasuredCurve, Weights, measured_curves, resampled_interval
from rheostat.impairment.scale import measure_scale
from rheostat.impairment.summary import Statistic, half_damage, half_loss, interval_of, summarise_curves, within_range
from rheostat.metrics.statistics import Values, spearman
from rheostat.model import Model
from rheostat.studies.impairment.choosing import Drawn, against, extremes, itself, more_fragile
from rheostat.studies.impairment.topics import topic_tasks
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.tasks.item import Task, ask
from rheostat.tasks.named import named_task

CLAIM = "impair-5"
STATEMENT = (
    "Under a common impairment abilities differ in how fragile they are (use 1 of the post, without data there)."
)
TASKS = ("capitals", "antonyms", "copying", "labels")
TOPICS = "topics"
N_ITEMS, N_QUICK = 48, 8
SCALED = 8
"""Items of each task on which the spread of the sites is measured."""
LEVELS = (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
QUICK_LEVELS = (0.0, 0.05, 0.2, 0.8)
NOISE, SHRINK = "gaussian noise", "shrinking"
LEAST_RIGHT = 4
"""Items that the intact network must answer rightly, of a task that is to have a half."""
CALIPER = 0.5
"""How far the intact losses of two matched items may lie apart, in nats."""
LEAST_MATCHED = 8


def tasks_of(model: Model, context: Context) -> list[Task]:
    """Return the abilities, as many items of each."""
    n = N_QUICK if context.quick else N_ITEMS
    found = [named_task(name, seed=context.seed) for name in TASKS]
    rng = np.random.default_rng(context.seed)
    drawn = [Task(one.name, tuple(one.items[place] for place in rng.permutation(len(one))[:n])) for one in found]
    by_topic = topic_tasks(context, model, -(-n // 5), part="measure")
    topics = [item for turn in range(-(-n // 5)) for one in by_topic for item in one.items[turn : turn + 1]]
    return [Task(TOPICS, tuple(topics[:n])), *drawn]


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return the table of `impairment_curves`, task by task; each group of items under a draw of its own."""
    tasks = tasks_of(model, context)
    levels = QUICK_LEVELS if context.quick else LEVELS
    scale = cache(partial(_scale, model, tuple(tasks)))
    tables = []
    for task in context.progress(tasks, f"damage by task, {model.name}"):
        asked = [[item.prompt, item.answer, item.group] for item in task.items]
        params = step_params(model, context, items=asked, levels=levels)
        compute = partial(_measured, model, task, scale, levels, context.seed)
        tables.append(context.step(f"fragility-{task.name}-{model.name}", params, compute))
    return pd.concat(tables, ignore_index=True)


def _scale(model: Model, tasks: tuple[Task, ...]) -> Activations:
    rows = ask(model, [item for one in tasks for item in one.items[:SCALED]]).rows
    return measure_scale(model, rows, "blocks.*.mlp_out")


def _measured(
    model: Model, task: Task, scale: Callable[[], Activations], levels: Sequence[float], seed: int
) -> pd.DataFrame:
    dials = {NOISE: Dial("gaussian", scale=scale()), SHRINK: Dial("magnitude")}
    return impairment_curves(model, [task], dials, levels, draws=len(task), crossed=False, seed=seed, progress=False)


# --- statistics -------------------------------------------------------------------------------------------------------


def log_half(curve: MeasuredCurve, weights: Weights | None) -> Values:
    """Return the base-2 logarithm of the intensity at which the accuracy is half gone, at most the largest measured."""
    found: Values = np.log2(within_range(half_damage())(curve, weights))
    return found


def measurable(curves: Sequence[MeasuredCurve]) -> dict[str, MeasuredCurve]:
    """Return the curves by task that have a half: enough items that the intact network answers rightly."""
    return {one.task: one for one in curves if one.sums["accuracy"][:, :, 0].sum() >= LEAST_RIGHT}


def matched(table: pd.DataFrame, first: str, second: str, seed: int) -> pd.DataFrame:
    """Return the rows of items of two tasks in pairs of nearly equal intact loss, each item in at most one pair."""
    intact = table[table["dial"] == ""]
    one, other = (intact[intact["task"] == name].sort_values("loss") for name in (first, second))
    free = list(zip(other["item"], other["loss"], strict=True))
    pairs = []
    for place in np.random.default_rng(seed).permutation(len(one)):
        row = one.iloc[place]
        near = min(free, key=lambda candidate: abs(candidate[1] - row["loss"]), default=None)
        if near is not None and abs(near[1] - row["loss"]) <= CALIPER:
            free.remove(near)
            pairs.append((row["item"], near[0]))
    kept = {(first, item) for item, _ in pairs} | {(second, item) for _, item in pairs}
    chosen = [key in kept for key in zip(table["task"], table["item"], strict=True)]
    return table[chosen]


def matched_spread(table: pd.DataFrame, statistic: Statistic, seed: int) -> tuple[Drawn, list[str], int] | None:
    """Return the difference between the two tasks that differ most, on items matched for intact loss; None: too few.

    The two are those of largest and smallest value on all items. Which of them is the sturdier is then chosen on one
    half of the matched items and reported on the other.
    """
    curves = measurable(measured_curves(table))
    value = {name: float(statistic(curve, None)[0]) for name, curve in curves.items()}
    order = sorted(
        ((value[one] - value[other], one, other) for one in value for other in value if one != other), reverse=True
    )
    for _, high, low in order[: len(order) // 2]:
        pairs = matched(table, high, low, seed)
        n = int(pairs[pairs["dial"] == ""]["item"].groupby(pairs["task"]).size().min()) if len(pairs) else 0
        both = measurable(measured_curves(pairs)) if n >= LEAST_MATCHED else {}
        if len(both) == 2:
            drawn, names = extremes(both, statistic, seed)
            return drawn, names, n
    return None


def ranking(curves: Mapping[str, MeasuredCurve], statistic: Statistic, seed: int) -> Drawn:
    """Return the rank correlation of tasks, ordered by a statistic, between the halves of their items."""
    split = [halves(curve) for curve in curves.values()]
    values = [np.array([statistic(parts[side], None)[0] for parts in split]) for side in (0, 1)]
    resampled = [
        np.stack(
            [
                statistic(parts[side], parts[side].weights(seed=seed + 2 * place + side))
                for place, parts in enumerate(split)
            ],
            axis=-1,
        )
        for side in (0, 1)
    ]
    return float(spearman(values[0], values[1])), np.asarray(spearman(resampled[0], resampled[1]))


def planted(curves: Mapping[str, MeasuredCurve], statistic: Statistic, seed: int) -> bool:
    """Tell whether most tasks, dealt in two of which one is as fragile as at the next intensity, are told apart."""
    seen = []
    for curve in curves.values():
        one, other = halves(curve)
        (value, drawn), _ = extremes({"as it is": one, "planted": more_fragile(other)}, statistic, seed)
        seen.append(resampled_interval(value, drawn, n=len(curve.groups)).low > 0)
    return sum(seen) > len(seen) / 2


def measure_all(name: str, dial: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the spread between tasks, raw and matched, and the stability of their order, under one dial."""
    here = table[table["dial"].isin(["", dial])]
    curves = measurable(measured_curves(here))
    control = itself(list(curves.values()), log_half, seed)
    n = sum(len(curve.groups) for curve in curves.values())
    what = "doublings of the intensity at half damage between the sturdiest and the most fragile task"
    drawn, names = extremes(curves, log_half, seed)
    same = "a task's own items dealt in two"
    found = [
        against(name, f"{what}, {dial} ({', '.join(names)})", drawn, control, n=n, unit="items", control_name=same)
    ]
    if (close := matched_spread(here, log_half, seed)) is not None:
        drawn, names, pairs = close
        quantity = f"{what}, matched for intact loss, {dial} ({', '.join(names)})"
        found.append(against(name, quantity, drawn, control, n=2 * pairs, unit="items", control_name=same))
    value, resampled = ranking(curves, log_half, seed)
    interval = resampled_interval(value, resampled, n=n)
    quantity = f"rank correlation of {len(curves)} tasks between halves of their items, {dial} (does not decide)"
    return [
        *found,
        measurement(name, quantity, interval, control=0.0, unit="items", control_name="tasks in random order"),
    ]


# --- the part ---------------------------------------------------------------------------------------------------------


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    return judged({model.name: measure(model, context) for model in context.models}, context.seed)


def judged(tables: Mapping[str, pd.DataFrame], seed: int) -> Part:
    """Judge the claim."""
    every = {
        name: [one for dial in (NOISE, SHRINK) for one in measure_all(name, dial, table, seed)]
        for name, table in tables.items()
    }
    measured = [one for found in every.values() for one in found]
    deciding = [one for one in measured if "does not decide" not in one.quantity]
    seen = all(
        planted(measurable(measured_curves(table[table["dial"].isin(["", dial])])), log_half, seed)
        for table in tables.values()
        for dial in (NOISE, SHRINK)
    )
    n_matched = sum("matched" in one.quantity for one in deciding)
    verdict = Verdict(
        CLAIM,
        STATEMENT,
        judge(deciding, planted_found=seen),
        f"{held(deciding)} The two tasks are chosen on one half of the items and reported on the other. Matching for "
        f"intact loss left at least {LEAST_MATCHED} pairs in {n_matched} of {2 * len(tables)} cases. A planted twofold "
        f"difference within a task is {'found in most tasks' if seen else 'not found in most tasks'}.",
        tuple(measured),
    )
    figures = tuple(_figure(name, dial, table, seed) for name, table in tables.items() for dial in (NOISE, SHRINK))
    section = Section(
        "Which abilities break first",
        "Accuracy counts an answer as right where greedy decoding would have written all of it; half damage is where "
        "it has fallen half way from the intact network's to 0, interpolated. Noise is relative to each site's own "
        "standard deviation; every item has a draw of its own.\n\n"
        + "\n\n".join(f"{name}. {_baselines(tables[name])} {compared_all(found)}" for name, found in every.items()),
        tuple(figure.name for figure in figures),
        ("half-damage",),
    )
    return Part((section,), {"half-damage": _halves_table(tables, seed)}, figures, (verdict,))


def _baselines(table: pd.DataFrame) -> str:
    intact = table[table["dial"] == ""].groupby("task", sort=False)
    said = [
        f"{task} {number(rows['right'].mean())} (loss {number(rows['loss'].mean())}, n = {len(rows)})"
        for task, rows in intact
    ]
    return f"Intact accuracy: {'; '.join(said)}."


def _halves_table(tables: Mapping[str, pd.DataFrame], seed: int) -> pd.DataFrame:
    """Return where each task is half gone: rows {model, dial, task, quantity, value, low, high, n}."""
    statistics: dict[str, Statistic] = {"half damage": half_damage(), "half loss": half_loss}
    found = {}
    for name, table in tables.items():
        rows = []
        for curve in measured_curves(table):
            for quantity, statistic in statistics.items():
                one = interval_of(curve, statistic, seed=seed)
                ends = {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
                rows.append({"dial": curve.dial, "task": curve.task, "quantity": quantity, **ends})
        found[name] = pd.DataFrame(rows)
    return joined(found)


def _figure(name: str, dial: str, table: pd.DataFrame, seed: int) -> Profile:
    found = summarise_curves(table[table["dial"].isin(["", dial])], seed=seed).figure()
    stem = f"fragility-{'noise' if dial == NOISE else 'shrinking'}-{name}"
    return replace(found, name=stem, title=f"Accuracy by task under {dial} at mlp_out, {name}")
