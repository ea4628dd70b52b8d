"""Does the top token go from the argument to the answer, block by block?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, Tables, joined, step_params
from rheostat.studies.power import in_words, would_be_seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.phases import (
    HIGH,
    ahead_at_first,
    leads_before,
    peaks_before,
    shuffled,
    stays,
    takeover,
)
from rheostat.studies.vector_arithmetic.questions import Asked, questions, rivals
from rheostat.studies.vector_arithmetic.reading import ATTENTION, MLP, POST, by_block, lens_ranks

CLAIM = "vecarith-1"
STATEMENT = "Layer by layer the top decoded token goes from the argument to the answer, then stays."
N_PER_TASK, N_PER_TASK_QUICK = 40, 6
MOST = 0.5
"""The claim speaks of prompts in general, so at least half of them must show the order."""
PLANTED = 0.25
"""A share of prompts that must be seen."""
ORDERS = {
    "argument leads before the answer": leads_before,
    f"argument ahead where one of both is first among the best {HIGH}": ahead_at_first,
}
RANK = "log10 of the rank, mean (0 leads)"
NAMES = ("argument", "answer", "other argument", "other answer")


def read_questions(model: Model, context: Context) -> list[Asked]:
    """Return the questions whose blocks are read, of all tasks; updates are extracted from some of them."""
    limit = N_PER_TASK_QUICK if context.quick else N_PER_TASK
    return [one for each in questions(model, context.seed).values() for one in each.inside[:limit]]


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return ranks per prompt, kind of site and block; see `lens_ranks`; with the columns task and question."""
    listed = read_questions(model, context)

    def compute() -> pd.DataFrame:
        tables: list[pd.DataFrame] = []
        for task in dict.fromkeys(one.task for one in listed):
            mine = [one for one in listed if one.task == task]
            named = [
                dict(zip(NAMES, (one.argument, (one.answer,), other.argument, (other.answer,)), strict=True))
                for one, other in zip(mine, rivals(mine), strict=True)
            ]
            kinds = (POST,) if context.quick else (POST, ATTENTION, MLP)
            table = lens_ranks(model, [one.prompt for one in mine], named, kinds)
            table["question"] = table["prompt"].map(dict(enumerate(one.pair.question for one in mine)))
            tables.append(
                table.assign(task=task, prompt=table["prompt"] + sum(int(one["prompt"].nunique()) for one in tables))
            )
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, prompts=[one.prompt for one in listed], names=NAMES)
    return context.step(f"phases-{model.name}", params, compute)


def right(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the prompts that the model answers: the answer leads at the last block."""
    last = table[(table["kind"] == POST) & (table["block"] == table["block"].max()) & (table["answer"] == 1)]
    return table[table["prompt"].isin(last["prompt"])]


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the order of the argument and the answer, by the top token and by ranks, against every control."""
    ranks = {one: by_block(table, one) for one in NAMES}
    found = []
    for what, order in ORDERS.items():
        effect = order(ranks["argument"], ranks["answer"])
        controls = {
            "another prompt's argument and answer": order(ranks["other argument"], ranks["other answer"]),
            "shuffled blocks": shuffled(order, ranks["argument"], ranks["answer"], seed),
            "half of the prompts": np.full(len(effect), MOST),
        }
        found += against(name, f"{what} (share)", effect, controls, unit="prompts", seed=seed)
    return found


def at_sublayers(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return whether attention's best word for the argument comes before an MLP's best for the answer."""
    argument, answer = by_block(table, "argument", ATTENTION), by_block(table, "answer", MLP)
    others = by_block(table, "other argument", ATTENTION), by_block(table, "other answer", MLP)
    controls = {
        "another prompt's argument and answer": peaks_before(*others),
        "shuffled blocks": shuffled(peaks_before, argument, answer, seed),
    }
    what = "attention's peak for the argument before the MLPs' for the answer (share)"
    return against(name, what, peaks_before(argument, answer), controls, unit="prompts", seed=seed)


def run(context: Context) -> Part:
    """Read every model's blocks and judge the claim."""
    measured = {model.name: measure(model, context) for model in context.models}
    answered = {name: right(table) for name, table in measured.items()}
    tables = {name: table for name, table in answered.items() if table["prompt"].nunique() > 1}
    deciding = [one for name, table in tables.items() for one in measure_all(name, table, context.seed)]
    beside = [
        one
        for name, table in tables.items()
        if (table["kind"] == MLP).any()
        for one in at_sublayers(name, table, context.seed)
    ]
    stayed = [one for name, table in tables.items() for one in staying(name, table, context.seed)]
    every = [*deciding, *stayed]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(every, planted_found=would_be_seen(every, PLANTED) == len(every)),
        reason=f"{held(every)} {in_words(every, PLANTED)} Prompts that the model answers; a trend over sizes "
        "cannot be seen in two models. Whether an answer stays is asked where it first leads before the last block"
        f"{_unasked(tables, stayed)}. What the sublayers write does not decide.",
        measurements=(*every, *beside),
    )
    figures: tuple[Figure, ...] = tuple(
        figure for name, table in tables.items() for figure in _figures(name, table, context.seed)
    )
    words = [_describe(name, table, measured[name], [*deciding, *beside]) for name, table in tables.items()]
    section = Section(
        heading="From the argument to the answer",
        text="\n\n".join(words),
        figures=tuple(figure.name for figure in figures),
        tables=("phases-examples", "phases-by-task") if tables else (),
    )
    shown = {model.name: _examples(model, tables[model.name]) for model in context.models if model.name in tables}
    by_task = {name: _by_task(table) for name, table in tables.items()}
    kept = {"phases": measured, "phases-examples": shown, "phases-by-task": by_task}
    few = tuple(
        f"{name} answers too few prompts: its phases are not judged." for name in measured if name not in tables
    )
    return Part((section,), {name: joined(one) for name, one in kept.items() if one}, figures, (verdict,), few)


def staying(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return in how many prompts the answer stays, against half; nothing where fewer than two prompts can tell."""
    kept = stays(by_block(table, "answer"))
    if len(kept) < 2:
        return []
    interval = bootstrap_mean(kept - MOST, seed=seed)
    what = "answer leads at every block after its first, if that is not the last (share)"
    return [measurement(name, what, interval, control=MOST, unit="prompts", control_name="half of the prompts")]


def _unasked(tables: Tables, stayed: Sequence[Measurement]) -> str:
    left = [name for name in tables if name not in {one.model for one in stayed}]
    return f"; there are no two such prompts on {' and '.join(left)}" if left else ""


def _by_task(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for task, mine in table.groupby("task", sort=False):
        argument, answer = by_block(mine, "argument"), by_block(mine, "answer")
        first, over, kept = takeover(argument), takeover(answer), stays(answer)
        before = leads_before(argument, answer) == 1
        rows.append(
            {
                "task": task,
                "prompts": len(answer),
                "argument leads first": float(before.mean()),
                "argument ahead first": float(ahead_at_first(argument, answer).mean()),
                "first block of the argument": _median(first[before]),
                "blocks from there to the answer": _median((over - first)[before]),
                "first block of the answer": _median(over),
                "answers before the last block": len(kept),
                "answer stays": float(kept.mean()) if len(kept) else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def _median(values: NDArray[np.int64]) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _examples(model: Model, table: pd.DataFrame) -> pd.DataFrame:
    """Return the top token of every block for the first prompt of each task."""
    chosen = table[table["kind"] == POST].drop_duplicates(["task", "block"])
    wide = chosen.assign(token=[model.tokens.show(int(one)) for one in chosen["top"]])
    found = wide.pivot(index="block", columns="task", values="token").reset_index()
    return pd.DataFrame(found.to_dict("list"))


def _describe(name: str, table: pd.DataFrame, every: pd.DataFrame, found: Sequence[Measurement]) -> str:
    n = table["prompt"].nunique()
    tasks = _by_task(table)
    each = "; ".join(
        f"{row['task']}: argument first in {row['argument leads first']:.0%} of {row['prompts']}, answer from block "
        f"{number(row['first block of the answer'])} on (median)"
        for row in tasks.to_dict("records")
    )
    return (
        f"{name}: {n} of {every['prompt'].nunique()} prompts are answered. {each}. "
        f"{compared_all([one for one in found if one.model == name])}"
    )


def _figures(name: str, table: pd.DataFrame, seed: int) -> list[Profile]:
    n = table["prompt"].nunique()
    leads: list[dict[str, object]] = []
    places: list[dict[str, object]] = []
    for one in NAMES:
        ranks = by_block(table, one)
        leads += curve(one, ((block, (ranks[:, block] == 1).astype(float)) for block in range(ranks.shape[1])), seed)
        places += curve(one, ((block, np.log10(ranks[:, block])) for block in range(ranks.shape[1])), seed)
    note = f"n = {n} prompts of {table['task'].nunique()} tasks, last token, 95 % bootstrap intervals. Other: another "
    note += "prompt's argument and answer."
    what = (("phases", "What leads", "share of prompts", leads), ("phase-ranks", "Ranks", RANK, places))
    found = [
        Profile(f"{stem}-{name}", f"{title} at each block, {name}", "block", label, pd.DataFrame(rows), note)
        for stem, title, label, rows in what
    ]
    if (table["kind"] == MLP).any():
        found.append(_sublayers(name, table, seed, n))
    return found


def _sublayers(name: str, table: pd.DataFrame, seed: int, n: int) -> Profile:
    rows: list[dict[str, object]] = []
    for kind, sublayer in ((ATTENTION, "attention"), (MLP, "MLP")):
        for one in NAMES[:2]:
            ranks = np.log10(by_block(table, one, kind))
            rows += curve(f"{sublayer}: {one}", ((block, ranks[:, block]) for block in range(ranks.shape[1])), seed)
    return Profile(
        f"phase-sublayers-{name}",
        f"What the sublayers write, {name}",
        "block",
        RANK,
        pd.DataFrame(rows),
        f"n = {n} prompts; each sublayer's output at the last token decoded alone. 95 % bootstrap intervals.",
    )
