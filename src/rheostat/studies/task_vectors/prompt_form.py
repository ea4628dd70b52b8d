"""Which form the prompts have: chosen for each model by what task vectors do on dev questions, never on test ones."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
from torch import Tensor

from rheostat.engine.cells import Cell
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.answers import BASELINE, OWN, put
from rheostat.studies.task_vectors.setup import STYLE, Asked, dev_tasks, read_sets, task_params
from rheostat.tasks.answers import ask_items
from rheostat.tasks.format import EXAMPLE, INPUT, QUESTION, PromptFormat

FORMS = (STYLE, EXAMPLE, QUESTION, INPUT)
"""Among equals the first one is taken."""
BLOCK_STEP = 3


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return how dev questions are answered in each form; a quick run tries none.

    Columns: form, task, state (without demonstrations, with one set's vector), block, exact. A few tasks, one set of
    demonstrations, every third block.
    """
    if context.quick:
        return pd.DataFrame(columns=["form", "task", "state", "block", "exact"])
    found = []
    for style in FORMS:
        asked = dev_tasks(context, style)
        params = step_params(model, context, **task_params(asked), blocks=BLOCK_STEP)
        name = f"form-{style.name}-{model.name}"
        found.append(context.step(name, params, partial(_tried, model, context, asked)))
    return pd.concat(found, ignore_index=True)


def _tried(model: Model, context: Context, asked: Sequence[Asked]) -> pd.DataFrame:
    tables = []
    for one in context.progress(asked, f"trying the form “{asked[0].style.name}”, {model.name}"):
        states = read_sets(model, one.sets[:1], one.style)[0]

        def cells(end: int, states: Tensor = states) -> list[Cell]:
            vectors = [
                Cell(put(block, states[block], end), {"state": OWN, "block": block})
                for block in range(0, model.n_blocks, BLOCK_STEP)
            ]
            return [Cell((), {"state": BASELINE, "block": -1}), *vectors]

        found = ask_items(model, [one.style.item(pair) for pair in one.dev], cells, progress=False)
        tables.append(found[["state", "block", "exact"]].assign(form=one.style.name, task=one.name))
    return pd.concat(tables, ignore_index=True)


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return per form, over tasks: accuracy without demonstrations, with the vector at each task's best block, gain."""
    means = table.groupby(["form", "task", "state", "block"], sort=False)["exact"].mean()
    best = means.groupby(["form", "task", "state"], sort=False).max().unstack("state")
    shown = best.groupby("form", sort=False)[[BASELINE, OWN]].mean()
    return shown.assign(gain=shown[OWN] - shown[BASELINE]).reset_index()


def chosen(table: pd.DataFrame) -> PromptFormat:
    """Return the form with the largest gain."""
    if table.empty:
        return STYLE
    gains = scores(table).set_index("form")["gain"]
    return max((form for form in FORMS if form.name in gains), key=lambda form: float(gains[form.name]))
