"""How well each model does the tasks: without demonstrations, after them, and with a vector in the last token's place.

All of it is measured once, in three steps; the parts of the study read the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from rheostat.edit.patching import Replace
from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.setup import Asked, Vectors, n_sets, read_sets, task_params
from rheostat.sweeps.grids import random_direction
from rheostat.tasks.answers import ask_items
from rheostat.tasks.pairs import Pair

DEV, TEST = "dev", "test"
BASELINE, REGULAR = "no demonstrations", "demonstrations"
OWN, RANDOM, OTHER_TASK, SHUFFLED, ELSEWHERE = (
    "task vector", "random vector", "another task's vector", "vector of shuffled answers", "read at another block",
)  # fmt: skip
N_OTHER_TASKS = 2
ABLE = 0.5
"""A model is able to do a task if demonstrations raise its exact accuracy on the dev questions by so much."""
QUICK_STEP = 3
"""A quick run tries every third block."""
CONTROL_STEP = 2
"""A full run tries the controls' profiles at every second block."""


def blocks_tried(model: Model, context: Context) -> list[int]:
    """Return the blocks at which vectors are put in."""
    return list(range(0, model.n_blocks, QUICK_STEP if context.quick else 1))


# --- what the model does by itself ------------------------------------------------------------------------------------


def unpatched(model: Model, context: Context, asked: Sequence[Asked]) -> pd.DataFrame:
    """Return one row per task, part (dev, test), state, question and set: columns `loss`, `exact`, `first`."""

    def compute() -> pd.DataFrame:
        tables = []
        for one in context.progress(asked, f"answering with and without demonstrations, {model.name}"):
            for part, pairs in ((DEV, one.dev), (TEST, one.test)):
                tables.append(_answers(model, one, part, pairs, context))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, **task_params(asked), sets=n_sets(context))
    return context.step(f"answers-{model.name}", params, compute)


def _answers(model: Model, one: Asked, part: str, pairs: Sequence[Pair], context: Context) -> pd.DataFrame:
    items = [one.style.item(pair) for pair in pairs]
    states = [(BASELINE, 0)] * len(pairs)
    for number, demonstrations in enumerate(one.sets[: n_sets(context)]):
        items += [one.style.item(pair, demonstrations.shown) for pair in pairs]
        states += [(REGULAR, number)] * len(pairs)
    found = ask_items(model, items, progress=False)
    found["question"] = found["item"] % len(pairs)
    found["state"], found["set"] = zip(*(states[item] for item in found["item"]), strict=True)
    return found.assign(task=one.name, part=part).drop(columns=["item", "group"])


def able(table: pd.DataFrame) -> list[str]:
    """Return the tasks that a model is able to do, by the dev questions."""
    dev = table[table["part"] == DEV].groupby(["task", "state"], sort=False)["exact"].mean().unstack()
    return [str(task) for task in dev.index[dev[REGULAR] - dev[BASELINE] >= ABLE]]


# --- with a vector in the last token's place --------------------------------------------------------------------------


def put(block: int, vector: Tensor, end: int) -> Replace:
    """Return the edit that puts a vector in the place of the last prompt token's residual after a block."""
    return Replace(f"blocks.{block}.resid_post", vector, positions=end)


def patched_dev(model: Model, context: Context, asked: Sequence[Asked], vectors: Vectors) -> pd.DataFrame:
    """Return how the dev questions are answered with each set's vector at each block."""
    blocks = blocks_tried(model, context)

    def compute() -> pd.DataFrame:
        tables = []
        for one in context.progress(asked, f"trying blocks, {model.name}"):
            trials = [
                Trial(OWN, number, block, block, vectors.of(one.name, number, block))
                for block in blocks
                for number in range(n_sets(context))
            ]
            tables.append(_patched(model, one, one.dev, trials).assign(part=DEV))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, **task_params(asked), sets=n_sets(context), blocks=blocks)
    return context.step(f"patched-dev-{model.name}", params, compute)


def chosen_blocks(dev: pd.DataFrame) -> dict[str, int]:
    """Return each task's best block on the dev questions: by exact accuracy, among equals by loss."""
    means = dev.groupby(["task", "block"], sort=False)[["exact", "loss"]].mean().reset_index()
    best = means.sort_values(["exact", "loss"], ascending=[False, True], kind="stable").drop_duplicates("task")
    return {str(row["task"]): int(row["block"]) for row in best.to_dict("records")}


def common_block(dev: pd.DataFrame, tasks: Sequence[str]) -> int:
    """Return the one block that is best for several tasks together on their dev questions."""
    means = dev[dev["task"].isin(tasks)].groupby(["task", "block"])[["exact", "loss"]].mean().groupby("block").mean()
    return int(means.sort_values(["exact", "loss"], ascending=[False, True]).index[0])


def patched_test(
    model: Model, context: Context, asked: Sequence[Asked], vectors: Vectors, dev: pd.DataFrame, tasks: Sequence[str]
) -> pd.DataFrame:
    """Return how the test questions are answered: with each task's vector, and for able tasks with every control.

    Columns task, state, block, set (or draw), question, loss, exact, first.
    """
    chosen = chosen_blocks(dev)

    def compute() -> pd.DataFrame:
        tables = []
        for one in context.progress(asked, f"putting vectors in, {model.name}"):
            block = chosen[one.name]
            if one.name in tasks:
                trials = _trials(model, context, one, vectors, block)
                others = _others(one, asked, tasks, context.seed)
                trials += [
                    Trial(OTHER_TASK, number, block, block, vectors.of(other, 0, block))
                    for number, other in enumerate(others)
                ]
            else:
                sets = range(n_sets(context))
                trials = [Trial(OWN, number, block, block, vectors.of(one.name, number, block)) for number in sets]
            tables.append(_patched(model, one, one.test, trials).assign(part=TEST))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, **task_params(asked), sets=n_sets(context), chosen=chosen, able=list(tasks))
    return context.step(f"patched-test-{model.name}", params, compute)


@dataclass(frozen=True)
class Trial:
    """A vector and where it is put."""

    state: str
    number: int
    """Of the set or the draw."""
    block: int
    """Where the vector was read."""
    at: int
    """Where it is put."""
    vector: Tensor


def _trials(model: Model, context: Context, one: Asked, vectors: Vectors, chosen: int) -> list[Trial]:
    """Return what an able task is tested with, but for other tasks' vectors."""
    sets, name, seed = range(n_sets(context)), one.name, context.seed
    found, tried = [], blocks_tried(model, context)
    controlled = tried if context.quick else tried[::CONTROL_STEP]
    for block in tried:
        site, first = f"blocks.{block}.resid_post", vectors.of(name, 0, block)
        numbers = sets if block == chosen else range(1)
        found += [Trial(OWN, number, block, block, vectors.of(name, number, block)) for number in numbers]
        for draw in numbers if block == chosen or block in controlled else ():
            vector = random_direction(first, site=site, name=name, seed=seed, draw=draw)
            found.append(Trial(RANDOM, draw, block, block, vector))
        if block in controlled and block != chosen:
            found.append(Trial(ELSEWHERE, 0, block, chosen, first))
    rng = np.random.default_rng(seed)
    broken = read_sets(model, [one.sets[number].shuffled(rng) for number in sets], one.style)
    return found + [Trial(SHUFFLED, number, chosen, chosen, broken[number, chosen]) for number in sets]


def _others(one: Asked, asked: Sequence[Asked], tasks: Sequence[str], seed: int) -> list[str]:
    """Return able tasks of another kind, whose answers are no answers here."""
    own = {pair.answer for pair in one.task.pairs}
    fit = [
        other.name
        for other in asked
        if other.name in tasks and other.task.kind != one.task.kind and not own & {p.answer for p in other.task.pairs}
    ]
    fit = fit or [other.name for other in asked if other.name != one.name]
    order = np.random.default_rng((seed, len(one.name))).permutation(len(fit))
    return [fit[place] for place in order[:N_OTHER_TASKS]]


def _patched(model: Model, one: Asked, pairs: Sequence[Pair], trials: Sequence[Trial]) -> pd.DataFrame:
    def cells(end: int) -> list[Cell]:
        return [
            Cell(put(each.at, each.vector, end), {"state": each.state, "set": each.number, "block": each.block})
            for each in trials
        ]

    found = ask_items(model, [one.style.item(pair) for pair in pairs], cells, progress=False)
    return found.rename(columns={"item": "question"}).drop(columns="group").assign(task=one.name)


# --- reading the tables -----------------------------------------------------------------------------------------------


def by_task(table: pd.DataFrame, tasks: Sequence[str], column: str = "exact") -> Values:
    """Return the mean of each task's questions, in the order of the tasks."""
    return table.groupby("task")[column].mean().reindex(list(tasks)).to_numpy(dtype=np.float64)


def at_chosen(test: pd.DataFrame, chosen: dict[str, int], state: str) -> pd.DataFrame:
    """Return the rows of one state at each task's chosen block."""
    rows = test[test["state"] == state]
    return rows[rows["block"] == rows["task"].map(chosen)]
