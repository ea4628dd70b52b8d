"""Can two models that both do a task perfectly be told apart by how much damage each stands?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rheostat.base.errors import TaskNotUsable
from rheostat.impairment.comparison import Comparison, compare_models
from rheostat.impairment.measured import MeasuredCurve, Weights, resampled_interval
from rheostat.impairment.summary import Statistic, area, threshold, within_range
from rheostat.metrics.statistics import Values
from rheostat.studies.impairment.choosing import against, itself, more_fragile, sturdier
from rheostat.studies.impairment.fragility import LEVELS, N_ITEMS, N_QUICK, QUICK_LEVELS
from rheostat.studies.judging import compared_all, held, judge, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.tasks.item import Task
from rheostat.tasks.named import named_task

CLAIM = "impair-6"
STATEMENT = (
    "Two models at ceiling on a task can be told apart by how much impairment each stands before it falls below "
    "perfect (use 2 of the post, without data there)."
)
TASKS = ("capitals", "copying")
PERFECT = 0.9
"""An accuracy below which a model has fallen from perfect."""


def compare(context: Context, name: str) -> Comparison | None:
    """Return the first two models on a task; None where they share too few right answers to compare them."""
    task = named_task(name, seed=context.seed)
    n = N_QUICK if context.quick else N_ITEMS
    order = np.random.default_rng(context.seed).permutation(len(task))
    asked = Task(name, tuple(task.items[place] for place in order[: 2 * n]))
    folder = context.folder / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return compare_models(
            context.models[0],
            context.models[1],
            asked,
            QUICK_LEVELS if context.quick else LEVELS,
            most_items=n,
            seed=context.seed,
            store=folder / "two-models.db",
            progress=None if context.show_progress else False,
        )
    except TaskNotUsable:
        return None


def statistics_of(curve: MeasuredCurve) -> dict[str, Statistic]:
    """Return what two curves are compared by: doublings of the threshold intensity, and the area."""
    fallen = within_range(threshold(PERFECT))

    def log_threshold(one: MeasuredCurve, weights: Weights | None) -> Values:
        found: Values = np.log2(np.maximum(fallen(one, weights), one.levels[1] / 8))
        return found

    return {
        f"doublings of the intensity at which the accuracy falls below {PERFECT:g}": log_threshold,
        "area under the curve": area((0.0, curve.levels[-1])),
    }


def measure_all(found: Comparison, seed: int) -> list[Measurement]:
    """Return the differences between two models in every unit of the dose, in the direction that other items chose."""
    measured = []
    for dose, (first, second) in found.curves.items():
        for quantity, statistic in statistics_of(first).items():
            measured.append(
                against(
                    " / ".join(found.models),
                    f"{quantity}, sturdier less weaker, {found.task}, {dose} dose",
                    sturdier(first, second, statistic, seed),
                    itself([first, second], statistic, seed),
                    n=len(first.groups),
                    unit="items",
                    control_name="each model against itself, items dealt in two",
                )
            )
    return measured


def planted(found: Comparison, seed: int) -> bool:
    """Tell whether a model is told from one that stands half as much, in most doses and statistics."""
    seen = []
    for first, _ in found.curves.values():
        for statistic in statistics_of(first).values():
            value, drawn = sturdier(first, more_fragile(first), statistic, seed)
            seen.append(resampled_interval(value, drawn, n=len(first.groups)).low > 0)
    return sum(seen) > len(seen) / 2


def run(context: Context) -> Part:
    """Compare the first two models; with one model there is nothing to compare."""
    if len(context.models) < 2:
        verdict = Verdict(CLAIM, STATEMENT, "not run", "It compares two models, and one was given.")
        return Part(
            (Section("Two models under the same damage", "Not run: one model was given."),), verdicts=(verdict,)
        )
    found = {name: compare(context, name) for name in context.progress(TASKS, "two models")}
    return judged({name: one for name, one in found.items() if one is not None}, context.seed)


def judged(found: Mapping[str, Comparison], seed: int) -> Part:
    """Judge the claim."""
    measured = {name: measure_all(one, seed) for name, one in found.items()}
    deciding = [one for each in measured.values() for one in each]
    seen = bool(found) and all(planted(one, seed) for one in found.values())
    unused = [name for name in TASKS if name not in found]
    verdict = Verdict(
        CLAIM,
        STATEMENT,
        judge(deciding, planted_found=seen),
        f"{held(deciding)} {_sturdier_by_dose(found)} The direction is chosen on one half of the items and reported on "
        f"the other. A planted model that stands half as much is {'found' if seen else 'not found'}."
        + (f" Not compared, because too few items are right on both: {', '.join(unused)}." if unused else ""),
        tuple(deciding),
    )
    figures = tuple(
        replace(one.figure(dose), name=f"two-models-{name}-{dose.replace(' ', '-')}")
        for name, one in found.items()
        for dose in one.curves
    )
    section = Section(
        "Two models under the same damage",
        "Only items that both intact models answer rightly are asked, so both start at 1 by this choice. Noise at "
        "mlp_out, a draw of its own for each item, the same for both models as far as their widths agree.\n\n"
        + "\n\n".join(f"{_counts(found[name])} {compared_all(each)}" for name, each in measured.items()),
        tuple(figure.name for figure in figures),
        ("two-models", "two-models-control") if found else (),
    )
    tables = (
        {
            "two-models": joined({name: one.table for name, one in found.items()}).rename(columns={"model": "task"}),
            "two-models-control": joined(
                {name: one.control.rename(columns={"model": "network"}) for name, one in found.items()}
            ).rename(columns={"model": "task"}),
        }
        if found
        else {}
    )
    return Part((section,), tables, figures, (verdict,))


def _counts(found: Comparison) -> str:
    (first, second), (one, other) = found.models, found.n_right
    return (
        f"{found.task}: {found.n_asked} items asked; right when intact: {first} {one}, {second} {other}; asked of both "
        f"under damage: {found.n_kept}."
    )


def _sturdier_by_dose(found: Mapping[str, Comparison]) -> str:
    said = []
    for name, one in found.items():
        for dose in one.curves:
            first, second = (number(one.value(dose, f"below {PERFECT:g}", place)) for place in ("first", "second"))
            said.append(f"{name}, {dose}: {one.models[0]} {first}, {one.models[1]} {second}")
    agree: Sequence[bool] = [one.doses_agree for one in found.values()]
    told = "All units of the dose say the same." if all(agree) else "The units of the dose do not say the same."
    return f"Intensity at which the accuracy first falls below {PERFECT:g}: {'; '.join(said)}. {told}" if said else ""
