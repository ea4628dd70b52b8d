"""Loss and accuracy of topic prompts under every kind of damage at every intensity, and the pilot that finds ranges."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import pandas as pd

from rheostat.capture.activations import Activations
from rheostat.engine.cells import Cell
from rheostat.impairment.scale import measure_scale
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.impairment.kinds_of_damage import (
    BESIDE,
    DISTRIBUTIONS,
    MAIN,
    SITES,
    SIZES,
    Damage,
    labels,
    levels_of,
)
from rheostat.studies.impairment.topics import topic_tasks
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.item import Item, Task, ask

N_MAIN, N_BESIDE, N_PILOT = 16, 8, 1
"""Prompts of each topic."""
N_QUICK, QUICK_TOPICS = 1, 3
N_DRAWS, N_DRAWS_QUICK = 16, 3
"""Of the noise; every article is measured under one of them."""
PILOT, PILOT_QUICK = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), (0.25, 1.0, 4.0, 16.0)
"""Intensities that the pilot tries."""
INTACT = ""
MAIN_SUITE = "main"
SUITES = ((MAIN_SUITE, MAIN), ("distributions", DISTRIBUTIONS), ("beside", BESIDE), ("sizes", SIZES))
"""What is measured together; a quick run measures the first alone."""


@dataclass(frozen=True)
class Graded:
    """What was measured on one model."""

    table: pd.DataFrame
    """Rows {suite, damage, level, intensity, draw, topic, article, loss, right}; the intact network is level 0 and
    damage ''."""
    pilot: pd.DataFrame
    """Rows {mode, kind, intensity, loss, end}: means, and the intensity at which the range ends."""
    doses: pd.DataFrame
    """Rows {damage, dose}: length of the change over that of the activation, per unit of intensity."""


def measure_graded(model: Model, context: Context) -> Graded:
    """Find the range of intensities on other articles, then measure every kind of damage over it."""
    tasks = topic_tasks(context, model, N_QUICK if context.quick else N_MAIN, part="measure")
    tasks = tasks[:QUICK_TOPICS] if context.quick else tasks
    scale = measure_scale(model, [item.prompt for task in tasks for item in task.items], sites_of(SITES))
    pilot = _pilot(model, context, scale)
    ends = pilot.drop_duplicates(["mode", "kind"])
    last = dict(zip(zip(ends["mode"], ends["kind"], strict=True), map(float, ends["end"]), strict=True))
    tables = []
    for suite, damages in SUITES[:1] if context.quick else SUITES:
        chosen = tasks if suite == MAIN_SUITE else [Task(task.name, task.items[:N_BESIDE]) for task in tasks]
        levels = {damage: levels_of(damage, last, scale) for damage in damages}
        table = _curves(model, context, suite, chosen, levels, scale)
        tables.append(table.assign(suite=suite))
    doses = pd.DataFrame(
        {"damage": damage.label, "dose": dose_of(model, damage, tasks, scale, context.seed)}
        for damage in MAIN
        if damage.mode != "magnitude"
    )
    return Graded(pd.concat(tables, ignore_index=True), pilot, doses)


def sites_of(kinds: Iterable[str]) -> list[str]:
    """Return patterns that name the sites of these kinds in every block."""
    return [f"blocks.*.{kind}" for kind in kinds]


def _pilot(model: Model, context: Context, scale: Activations) -> pd.DataFrame:
    """Return where the range of each mode and site ends: where the loss is that of guessing among all tokens."""
    tasks = topic_tasks(context, model, N_PILOT, part="find")
    tasks = tasks[:QUICK_TOPICS] if context.quick else tasks
    tried = PILOT_QUICK if context.quick else PILOT
    damages = {damage: list(tried) for damage in MAIN if damage.mode != "magnitude"}
    table = _curves(model, context, "pilot", tasks, damages, scale)
    intact = float(table.loc[table["damage"] == INTACT, "loss"].mean())
    rows = []
    for damage in damages:
        means = table[table["damage"] == damage.label].groupby("intensity")["loss"].mean()
        end = float(reached(np.array([0.0, *means.index]), np.array([intact, *means]), log(model.d_vocab)))
        rows += [
            {"mode": damage.mode, "kind": damage.kind, "intensity": x, "loss": loss, "end": end}
            for x, loss in means.items()
        ]
    return pd.DataFrame(rows)


def reached(intensities: Values, losses: Values, target: float) -> Values:
    """Return where each curve (…, level) first reaches a loss, with straight lines between; the last where none does.

    Args:
        intensities: (level,), ascending.
        losses: (…, level).
        target: in nats.
    """
    above = losses >= target
    place = np.where(above.any(axis=-1), above.argmax(axis=-1), losses.shape[-1] - 1)
    before = np.maximum(place - 1, 0)
    low, high = (np.take_along_axis(losses, one[..., None], -1)[..., 0] for one in (before, place))
    part = np.divide(target - low, high - low, out=np.ones_like(low), where=high > low).clip(0, 1)
    return np.asarray(intensities[before] + part * (intensities[place] - intensities[before]))


def dose_of(model: Model, damage: Damage, tasks: Sequence[Task], scale: Activations, seed: int) -> float:
    """Return ‖change‖ / ‖activation‖ per unit of intensity, averaged over blocks, of damage too small to add up."""
    little = 0.001
    prompts = [task.items[0].prompt for task in tasks]
    plan = damage.plan(model, scale, little, seed=seed, draw=0)
    entries = model.run(prompts, plan).receipt.entries
    return float(np.mean([entry.relative_change for entry in entries])) / little


def _curves(
    model: Model,
    context: Context,
    suite: str,
    tasks: Sequence[Task],
    levels: Mapping[Damage, Sequence[float]],
    scale: Activations,
) -> pd.DataFrame:
    described = [(damage.label, list(own)) for damage, own in levels.items()]
    items = [(item.prompt, item.answer) for task in tasks for item in task.items]
    draws = N_DRAWS_QUICK if context.quick else N_DRAWS
    params = step_params(model, context, levels=described, items=items, draws=draws)
    return context.step(
        f"graded-{suite}-{model.name}",
        params,
        lambda: measure(model, tasks, levels, scale, draws=draws, seed=context.seed, show=context.show_progress),
    )


def measure(
    model: Model,
    tasks: Sequence[Task],
    levels: Mapping[Damage, Sequence[float]],
    scale: Activations,
    *,
    draws: int,
    seed: int,
    show: bool = False,
) -> pd.DataFrame:
    """Return the rows of `Graded.table`, without `suite`. Each article is measured under one draw, in turns."""
    items = [(task.name, item) for task in tasks for item in task.items]
    draw_of = {group: place % draws for place, group in enumerate(dict.fromkeys(item.group for _, item in items))}
    tables = []
    for draw in range(draws):
        chosen = [(topic, item) for topic, item in items if draw_of[item.group] == draw]
        if chosen:
            cells = _cells(model, levels, scale, seed=seed, draw=draw)
            tables.append(_asked(model, chosen, cells, None if show else False).assign(draw=draw))
    return pd.concat(tables, ignore_index=True)


def _cells(
    model: Model, levels: Mapping[Damage, Sequence[float]], scale: Activations, *, seed: int, draw: int
) -> list[Cell]:
    cells = [Cell((), {"damage": INTACT, "level": 0, "intensity": 0.0})]
    for label, damage in labels(list(levels)).items():
        for level, intensity in enumerate(levels[damage], 1):
            plan = damage.plan(model, scale, intensity, seed=seed, draw=draw)
            cells.append(Cell(plan, {"damage": label, "level": level, "intensity": intensity}))
    return cells


def _asked(
    model: Model, items: Sequence[tuple[str, Item]], cells: Sequence[Cell], progress: bool | None
) -> pd.DataFrame:
    asked = ask(model, [item for _, item in items])
    found = sweep(model, asked.rows, cells, [asked.loss, asked.right], name="graded damage", progress=progress)
    about = pd.DataFrame([{"topic": topic, "article": item.group} for topic, item in items])
    table = found.rename(columns={"greedy_match": "right"}).join(about, on="prompt")
    return table[["damage", "level", "intensity", "topic", "article", "loss", "right"]]
