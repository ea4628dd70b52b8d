"""Does one vector in the last token's place do what the demonstrations do, for questions it never saw?

The block is chosen on the dev questions, the accuracy reported on the test questions. Tasks are resampled: those that
the model is able to do, which the dev questions decide too. Controls: no vector, a vector of another kind of task, a
random vector of equal length, the vector of demonstrations with shuffled answers, and 70 % of what the demonstrations
themselves reach.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.answers import BASELINE, OTHER_TASK, OWN, RANDOM, REGULAR, SHUFFLED, by_task
from rheostat.studies.task_vectors.measured import FEWEST, Measured
from rheostat.studies.task_vectors.prompt_form import scores

CLAIM = "taskvec-1"
STATEMENT = (
    "The middle-layer state after a few demonstrations, put into a zero-shot prompt, solves the task for any other "
    "query, nearly as well as the demonstrations, in every model tested."
)
NEARLY = 0.7
"""Of the accuracy after demonstrations: what counts as nearly as well."""
STATES = {
    BASELINE: "nothing",
    REGULAR: "demonstrations",
    OWN: "task vector",
    OTHER_TASK: "other vector",
    RANDOM: "random vector",
    SHUFFLED: "shuffled",
}
"""With short names for a figure."""
COLUMNS = {"exact": "exact answers", "first": "first tokens"}


def accuracies(one: Measured, column: str) -> dict[str, Values]:
    """Return, per state, the accuracy of each able task on its test questions."""
    return {state: by_task(one.asked_on_test(state), one.able, column) for state in STATES}


def measure_all(name: str, found: Mapping[str, Values], column: str, seed: int) -> list[Measurement]:
    """Return the accuracy with the task's vector against every control, over tasks."""
    controls = {state: found[state] for state in (BASELINE, OTHER_TASK, RANDOM, SHUFFLED)}
    controls[f"{NEARLY:.0%} of the accuracy after demonstrations"] = NEARLY * found[REGULAR]
    what = f"accuracy with the task vector ({COLUMNS[column]})"
    return against(name, what, found[OWN], controls, unit="tasks", seed=seed)


def planted(one: Measured, seed: int) -> bool:
    """Tell whether what the demonstrations themselves do is told from every control."""
    found = accuracies(one, "exact")
    return all(m.low > 0 for m in measure_all(one.model.name, found | {OWN: found[REGULAR]}, "exact", seed))


def run(context: Context, measured: Sequence[Measured]) -> Part:
    """Compare vectors with demonstrations on all models and judge the claim."""
    enough = [one for one in measured if len(one.able) >= FEWEST]
    found = {
        (one.model.name, column): measure_all(one.model.name, accuracies(one, column), column, context.seed)
        for one in enough
        for column in COLUMNS
    }
    deciding = [m for (_, column), ms in found.items() if column == "exact" for m in ms]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=bool(enough) and all(planted(one, context.seed) for one in enough)),
        reason=f"{held(deciding)} Exact answers decide, first tokens are measured beside them. Tasks are those whose "
        "exact accuracy on the dev questions rises by at least 0.5 through demonstrations: "
        + ", ".join(f"{len(one.able)} of {len(one.asked)} on {one.model.name}" for one in measured)
        + ".",
        measurements=tuple(m for ms in found.values() for m in ms),
    )
    table = pd.concat([task_table(one, context.seed) for one in measured], ignore_index=True)
    scored = {one.model.name: scores(one.forms) for one in measured if not one.forms.empty}
    forms = {"forms": joined(scored)} if scored else {}
    figures: tuple[Figure, ...] = tuple(_figure(one, context.seed) for one in measured)
    section = Section(
        heading="What the vectors do",
        text="\n\n".join(_describe(one, found) for one in measured),
        figures=tuple(figure.name for figure in figures),
        tables=("tasks", *forms),
    )
    return Part((section,), {"tasks": table, **forms}, figures, (verdict,))


def task_table(one: Measured, seed: int) -> pd.DataFrame:
    """Return one row per task, state and way of counting: accuracy on the test questions, with its interval over them.

    The own vector's rows say the block; the controls are measured for able tasks alone.
    """
    rows = []
    for state in STATES:
        chosen = one.asked_on_test(state)
        for asked in one.asked:
            own = chosen[chosen["task"] == asked.name]
            if own.empty:
                continue
            for column in COLUMNS:
                mean = bootstrap_mean(own.groupby("question")[column].mean().to_numpy(dtype=float), seed=seed)
                rows.append(
                    {
                        "model": one.model.name,
                        "task": asked.name,
                        "kind": asked.task.kind,
                        "able": asked.name in one.able,
                        "block": one.chosen[asked.name],
                        "state": state,
                        "counted": column,
                        "accuracy": mean.value,
                        "low": mean.low,
                        "high": mean.high,
                        "n": mean.n,
                    }
                )
    return pd.DataFrame(rows)


def _describe(one: Measured, found: Mapping[tuple[str, str], Sequence[Measurement]]) -> str:
    name = one.model.name
    if len(one.able) < FEWEST:
        return f"{name} is able to do {len(one.able)} of {len(one.asked)} tasks: too few for an interval over tasks."
    exact = accuracies(one, "exact")
    clear = int((exact[REGULAR] - exact[BASELINE] >= 0.5).sum())
    regular = float(exact[REGULAR].mean())
    share = f", which is {exact[OWN].mean() / regular:.0%} of the regular accuracy," if regular else ""
    at_common = one.test[(one.test["state"] == OWN) & (one.test["block"] == one.common)]
    return (
        f"{name}, asked in the form “{one.style.name}”{_why(one)}: "
        f"able to do {len(one.able)} of {len(one.asked)} tasks by the dev questions; on the test questions "
        f"demonstrations raise {clear} of these by at least 0.5. Exact accuracy over able tasks: "
        f"{number(float(exact[BASELINE].mean()))} without demonstrations, {number(float(exact[REGULAR].mean()))} after "
        f"them, {number(float(exact[OWN].mean()))} with the task vector at each task's block{share} "
        f"and {number(float(by_task(at_common, one.able).mean()))} with block {one.common} for "
        f"all. {compared_all(found[name, 'exact'])} {compared_all(found[name, 'first'])}"
    )


def _why(one: Measured) -> str:
    if one.forms.empty:
        return ""
    listed = ", ".join(f"{row['form']} {row['gain']:.2f}" for row in scores(one.forms).to_dict("records"))
    return f" (gain by one set's vector on the dev questions of {one.forms['task'].nunique()} tasks: {listed})"


def _figure(one: Measured, seed: int) -> Grid:
    table = task_table(one, seed)
    exact = table[table["counted"] == "exact"]
    order = exact[exact["state"] == REGULAR].sort_values("accuracy", ascending=False)["task"]
    rows = []
    for task in order:
        for state, label in STATES.items():
            here = exact[(exact["task"] == task) & (exact["state"] == state)]
            if not here.empty:
                value = float(here["accuracy"].iloc[0])
                rows.append({"x": label, "y": task, "value": value, "text": f"{value:.2f}"})
    return Grid(
        name=f"solving-{one.model.name}",
        title=f"Exact accuracy on test questions, {one.model.name}",
        x_label="what the model is given",
        y_label="task",
        value_label="share of exact answers",
        table=pd.DataFrame(rows),
        note="Other vector: another task's; shuffled: of demonstrations with shuffled answers. Blocks chosen on dev "
        "questions. Controls only where the model is able to do the task. n and intervals: "
        "table tasks.",
        limits=(0.0, 1.0),
    )
