"""Which task wins: the one that the prompt demonstrates, or the one whose vector stands in the last token's place?

Questions belong to both tasks and have another answer in each; neither the demonstrations nor the vector saw them.
Controls: the vector of the demonstrated task, the other task's vector at the last block, and attention from the
question to the demonstrations cut after the block. Planted: the state that the other task's demonstrations leave before
this very question, at the last block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from rheostat.base.shapes import Figure, Grid
from rheostat.directions.task_vector import draw_demonstrations
from rheostat.edit.knockout import CutAttention
from rheostat.edit.patching import Replace
from rheostat.edit.plan import PlanLike
from rheostat.edit.source import FromPrompt
from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.answers import put
from rheostat.studies.task_vectors.measured import FEWEST, Measured
from rheostat.studies.task_vectors.setup import read_sets
from rheostat.tasks.answers import ask_items
from rheostat.tasks.format import draw
from rheostat.tasks.pairs import Pair, PairTask

CLAIM = "taskvec-6"
STATEMENT = "Computation splits in two: demonstrations are compressed to a function, then the function is applied."
PAIRS = (
    ("country-capital", "country-language"), ("country-language", "country-capital"),
    ("country-nationality", "country-capital"), ("country-continent", "country-capital"),
    ("past-tense", "gerund"), ("gerund", "past-tense"), ("third-person", "past-tense"),
    ("english-french", "english-spanish"), ("english-spanish", "english-german"),
    ("capitalise", "first-letter"), ("first-of-list", "last-of-list"), ("upper-case", "next-letter"),
    ("comparative", "superlative"), ("superlative", "comparative"), ("antonyms", "capitalise"),
)  # fmt: skip
"""Demonstrated task, task of the vector."""
K = 4
"""Demonstrations, as in the source's runs with conflicts."""
N_QUESTIONS, N_QUESTIONS_QUICK = 10, 4
N_SETS = 3
"""Sets whose mean is the vector."""
SHOWN, OTHER = "demonstrated task", "vector's task"
NOTHING, PUT, SAME, LATE, CUT, PLANTED = (
    "nothing put in", "other task's vector", "demonstrated task's vector", "other task's vector, last block",
    "other task's vector, demonstrations cut off", "planted",
)  # fmt: skip
SHORT = {NOTHING: "nothing", PUT: "vector", SAME: "shown's", LATE: "last block", CUT: "cut off", PLANTED: "planted"}
"""State → its name in a figure."""


@dataclass(frozen=True)
class Question:
    """One question with its answer in both tasks."""

    question: str
    shown: str
    other: str


def questions_of(first: PairTask, second: PairTask, limit: int, seed: int) -> list[Question]:
    """Return questions that two tasks share and answer differently."""
    other = {pair.question: pair.answer for pair in second.pairs}
    both = [
        Question(pair.question, pair.answer, other[pair.question])
        for pair in first.pairs
        if other.get(pair.question, pair.answer) != pair.answer
    ]
    return [both[place] for place in np.random.default_rng(seed).permutation(len(both))[:limit]]


def without(task: PairTask, questions: Sequence[Question]) -> list[Pair]:
    """Return a task's pairs but for some questions."""
    left_out = {one.question for one in questions}
    return [pair for pair in task.pairs if pair.question not in left_out]


def conflicts(one: Measured) -> list[tuple[str, str]]:
    """Return the pairs of tasks of which the model is able to do both."""
    return [pair for pair in PAIRS if set(pair) <= set(one.able)]


def measure(one: Measured, context: Context) -> pd.DataFrame:
    """Return one row per pair of tasks, question, state and whose answer is counted: `exact`, `first`, `loss`."""
    limit = N_QUESTIONS_QUICK if context.quick else N_QUESTIONS
    pairs = conflicts(one)

    def compute() -> pd.DataFrame:
        tables = [pd.DataFrame({"pair": [], "question": [], "state": [], "answer": [], "exact": [], "first": []})]
        for shown, other in context.progress(pairs, f"conflicting demonstrations, {one.model.name}"):
            tables += _of_pair(one, shown, other, limit, context.seed)
        return pd.concat(tables, ignore_index=True)

    asked = {
        f"{a} {b}": [vars(q) for q in questions_of(one.task(a).task, one.task(b).task, limit, context.seed)]
        for a, b in pairs
    }
    params = step_params(one.model, context, asked=asked, chosen=one.chosen, k=K, sets=N_SETS, style=one.style.name)
    return context.step(f"conflicts-{one.model.name}", params, compute)


def _of_pair(one: Measured, shown: str, other: str, limit: int, seed: int) -> list[pd.DataFrame]:
    first, second = one.task(shown).task, one.task(other).task
    questions = questions_of(first, second, limit, seed)
    pools = without(first, questions), without(second, questions)
    vectors = [
        read_sets(one.model, draw_demonstrations(pool, N_SETS, k=K, seed=seed), one.style).mean(0) for pool in pools
    ]
    rng = np.random.default_rng(seed)
    tables = []
    for question in questions:
        demonstrations, others = (draw(pool, K, rng) for pool in pools)
        planted = one.style.prompt(others, question.question)
        found = _of_question(one, question, demonstrations, planted, vectors, one.chosen[other])
        tables.append(found.assign(pair=f"{shown} / {other}"))
    return tables


def _of_question(
    one: Measured, question: Question, shown: Sequence[Pair], planted: str, vectors: Sequence[Tensor], block: int
) -> pd.DataFrame:
    """Return how one question is answered in all states, counting the answers of both tasks."""
    last = one.model.n_blocks - 1
    before = len(one.style.prompt(shown, question.question)) - len(one.style.ask(question.question))
    start = len(one.model.row(one.style.prompt(shown, question.question)[:before]).ids)

    def cells(end: int) -> list[Cell]:
        plans: dict[str, PlanLike] = {
            NOTHING: (),
            PUT: put(block, vectors[1][block], end),
            SAME: put(block, vectors[0][block], end),
            LATE: put(last, vectors[1][last], end),
            PLANTED: Replace(f"blocks.{last}.resid_post", FromPrompt(planted), positions=end),
        }
        edits = [Cell(plan, {"state": state}) for state, plan in plans.items()]
        if block < last:
            cut = CutAttention(f"blocks.{block + 1}-{last}.pattern", positions=slice(end, None), keys=slice(1, start))
            edits.append(Cell((put(block, vectors[1][block], end), cut), {"state": CUT}))
        return edits

    items = [one.style.item(Pair(question.question, answer), shown) for answer in (question.shown, question.other)]
    found = ask_items(one.model, items, cells, progress=False)
    found["answer"] = found["item"].map({0: SHOWN, 1: OTHER})
    return found[["state", "answer", "exact", "first"]].assign(question=question.question)


def shares(table: pd.DataFrame, state: str, answer: str) -> Values:
    """Return the share of exact answers of one task per pair of tasks."""
    chosen = table[(table["state"] == state) & (table["answer"] == answer)]
    return chosen.groupby("pair", sort=True)["exact"].mean().to_numpy(dtype=np.float64)


def wins(table: pd.DataFrame, state: str) -> Values:
    """Return, per pair of tasks, the share of the vector's task's answers minus that of the demonstrated one's."""
    return shares(table, state, OTHER) - shares(table, state, SHOWN)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return how far the vector's task wins against the demonstrated one, and against the controls, over pairs."""
    own = wins(table, PUT)
    controls = {
        "neither wins": 0 * own,
        "nothing put in": wins(table, NOTHING),
        "the demonstrated task's vector": wins(table, SAME),
        "the last block": wins(table, LATE),
    }
    what = "answers of the vector's task minus of the demonstrated one"
    return against(name, what, own, controls, unit="pairs of tasks", seed=seed)


def run(context: Context, measured: Sequence[Measured]) -> Part:
    """Set vectors against demonstrations on all models and judge the claim."""
    enough = [one for one in measured if len(conflicts(one)) >= FEWEST]
    tables = {one.model.name: measure(one, context) for one in enough}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [m for ms in found.values() for m in ms]
    power = {name: bootstrap_mean(wins(table, PLANTED), seed=context.seed) for name, table in tables.items()}
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=bool(power) and all(one.above_zero for one in power.values())),
        reason=f"{held(deciding)} The state that the other task's demonstrations leave before the same question, put "
        "in at the last block, gives "
        + ("; ".join(f"{one} ({name})" for name, one in power.items()) or "no number")
        + ".",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table) for name, table in tables.items())
    section = Section(
        heading="Vector against demonstrations",
        text="\n\n".join(_describe(name, tables[name], found[name]) for name in tables)
        or "No model is able to do both tasks of two pairs.",
        figures=tuple(figure.name for figure in figures),
        tables=("conflicts",) if tables else (),
    )
    return Part((section,), {"conflicts": joined(tables)} if tables else {}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, found: Sequence[Measurement]) -> str:
    own = wins(table, PUT)
    both = {
        state: [number(float(shares(table, state, answer).mean())) for answer in (OTHER, SHOWN)] for state in (PUT, CUT)
    }
    return (
        f"{name}: {compared_all(found)} The vector's task wins in {int((own > 0).sum())} of {len(own)} pairs. Exact "
        f"answers of the vector's task and of the demonstrated one: {' and '.join(both[PUT])}; with the question cut "
        f"off from the demonstrations above the block: {' and '.join(both[CUT])}."
    )


def _figure(name: str, table: pd.DataFrame) -> Grid:
    rows = []
    means = table.groupby(["pair", "state", "answer"])["exact"].mean().to_dict()
    for pair in sorted(table["pair"].unique()):
        for state, label in SHORT.items():
            if (pair, state, OTHER) in means:
                other, shown = means[pair, state, OTHER], means[pair, state, SHOWN]
                y = pair.replace("country-", "").replace("english-", "")
                rows.append({"x": label, "y": y, "value": other - shown, "text": f"{other:.2f} − {shown:.2f}"})
    return Grid(
        name=f"conflicts-{name}",
        title=f"Demonstrations of one task, the vector of another, {name}",
        x_label="what is put in",
        y_label="shown / vector's",
        value_label="vector's − shown",
        table=pd.DataFrame(rows),
        note="In each cell the share of exact answers of the vector's task minus that of the demonstrated one. "
        f"{table.groupby('pair')['question'].nunique().max()} questions at most per pair; blocks chosen on dev "
        "questions without demonstrations. Shown's: the demonstrated task's own vector; cut off: attention to the "
        "demonstrations cut above the block.",
        centre=0.0,
        limits=(-1.0, 1.0),
    )
