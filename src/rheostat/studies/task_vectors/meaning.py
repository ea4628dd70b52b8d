"""Does a task's vector, decoded by the final norm and the unembedding, name the task or its answers?

Words that name the task are none of its answers; answers are those that stand nowhere in the prompts of the
vector and answer none of its dummies. Controls: the same words in the vectors of other tasks, and the words of other
tasks in the same vector.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.recall.planted import saying
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.measured import FEWEST, Measured
from rheostat.studies.task_vectors.setup import Asked, task_params

CLAIM = "taskvec-5"
STATEMENT = "The vector decodes to tokens about the task."
ABOUT, ANSWERS = "words that name the task", "answers that were not shown"
N_TOP = 10
PLANTED = "planted"


def spellings(model: Model, word: str) -> list[int]:
    """Return the single tokens that spell a word, with or without a space before it and a capital."""
    forms = {lead + one for lead in ("", " ") for one in (word, word.lower(), word.capitalize())}
    tokens = {spelled[0] for form in forms if len(spelled := model.tokens.spell(form)) == 1}
    return sorted(token for token in tokens if model.decode([token]).strip().lower() == word.lower())


def words_of(one: Measured, kind: str) -> dict[str, list[list[int]]]:
    """Return, per able task, its words as tokens; a word of several tokens is left out, a task without any too."""
    found = {}
    for task in one.able:
        asked = one.task(task)
        answers = dict.fromkeys(pair.answer for pair in (*asked.dev, *asked.test))
        seen = words_seen(asked)
        words = asked.task.about if kind == ABOUT else [answer for answer in answers if answer.lower() not in seen]
        spelled = [tokens for word in words if (tokens := spellings(one.model, word))]
        if spelled:
            found[task] = spelled
    return found


def words_seen(asked: Asked) -> set[str]:
    """Return all words of the prompts that a task's vectors were read from, and the answers of their dummies.

    An answer may stand in a prompt as a question, or in a list that is asked about; and what the network is about to
    say at the last token is the dummy's own answer.
    """
    prompts = (prompt for demonstrations in asked.sets for prompt in demonstrations.prompts(asked.style))
    dummies = {dummy for demonstrations in asked.sets for dummy in demonstrations.dummies}
    answers = {pair.answer.lower() for pair in asked.task.pairs if pair.question in dummies}
    return {word.lower() for prompt in prompts for word in re.findall(r"\w+", prompt)} | answers


def ranks_of(model: Model, vectors: Tensor, words: Mapping[str, list[list[int]]]) -> Values:
    """Return (vector, task): log10 of the best rank of a word's spellings, mean over a task's words; 0 is the top."""
    rows = []
    for vector in vectors:
        with torch.no_grad():
            logits = model.unembed(vector[None].to(model.dtype))[0]
        order = logits.argsort(descending=True)
        ranks = torch.empty_like(order)
        ranks[order] = torch.arange(1, len(order) + 1)
        rows.append([np.mean([np.log10(int(ranks[word].min())) for word in spelled]) for spelled in words.values()])
    return np.array(rows, dtype=np.float64)


def measure(one: Measured, context: Context) -> pd.DataFrame:
    """Return one row per vector's task, words' task, kind of words: `rank` in decades, and `planted` with them said."""

    def compute() -> pd.DataFrame:
        tables = []
        for kind in (ABOUT, ANSWERS):
            words = words_of(one, kind)
            vectors = [one.vectors.mean(task, one.chosen[task]) for task in words]
            said = [
                vector + saying(one.model, [word[0] for word in words[task]], vector)
                for task, vector in zip(words, vectors, strict=True)
            ]
            if words:
                for state, used in (("", vectors), (PLANTED, said)):
                    ranks = ranks_of(one.model, torch.stack(used), words)
                    tables.append(_rows(ranks, list(words)).assign(kind=kind, state=state))
        return pd.concat(tables, ignore_index=True)

    params = step_params(
        one.model, context, **task_params(one.asked), chosen=one.chosen, able=one.able, words="not in the prompts"
    )
    return context.step(f"meaning-{one.model.name}", params, compute)


def _rows(ranks: Values, tasks: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"vector": tasks[row], "words": tasks[column], "rank": ranks[row, column]}
            for row in range(len(tasks))
            for column in range(len(tasks))
        ]
    )


def measure_all(name: str, table: pd.DataFrame, kind: str, seed: int, state: str = "") -> list[Measurement]:
    """Return minus the rank of own words in own vectors, in decades, against both controls, over tasks."""
    chosen = table[(table["kind"] == kind) & (table["state"] == state)]
    wide = -chosen.pivot(index="vector", columns="words", values="rank")
    ranks = wide[wide.index].to_numpy(dtype=np.float64)
    n = len(ranks)
    if n < FEWEST:
        return []
    own, apart = np.diag(ranks), ~np.eye(n, dtype=bool)
    controls = {
        "the same in other tasks' vectors": np.nanmean(np.where(apart, ranks, np.nan), axis=0),
        "those of other tasks": np.nanmean(np.where(apart, ranks, np.nan), axis=1),
    }
    return against(name, f"minus log10 rank of {kind}", own, controls, unit="tasks", seed=seed)


def top_tokens(one: Measured) -> pd.DataFrame:
    """Return, per task, what its vector decodes to."""
    rows = []
    for task in one.vectors.names:
        with torch.no_grad():
            vector = one.vectors.mean(task, one.chosen[task])[None].to(one.model.dtype)
            tops = one.model.unembed(vector)[0].topk(N_TOP).indices.tolist()
        shown = " ".join(one.model.show_token(token) for token in tops)
        rows.append({"task": task, "able": task in one.able, "block": one.chosen[task], "tokens": shown})
    return pd.DataFrame(rows)


def run(context: Context, measured: Sequence[Measured]) -> Part:
    """Decode the vectors of all models and judge the claim."""
    enough = [one for one in measured if len(one.able) >= FEWEST]
    tables = {one.model.name: measure(one, context) for one in enough}
    found = {
        name: [m for kind in (ABOUT, ANSWERS) for m in measure_all(name, table, kind, context.seed)]
        for name, table in tables.items()
    }
    power = [
        m
        for name, table in tables.items()
        for kind in (ABOUT, ANSWERS)
        for m in measure_all(name, table, kind, context.seed, PLANTED)
    ]
    deciding = [m for ms in found.values() for m in ms]
    planted = bool(power) and all(m.low > 0 for m in power)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted),
        reason=f"{held(deciding)} Only words of one token count. A direction that says the words, added to the vectors "
        f"at their own length, is {'found' if planted else 'not found'} in every comparison.",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table) for name, table in tables.items())
    section = Section(
        heading="What the vectors say",
        text="\n\n".join(f"{name}: {compared_all(ms)} {_ranks(tables[name])}" for name, ms in found.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("decoded-vectors",),
    )
    decoded = joined({one.model.name: top_tokens(one) for one in measured})
    return Part((section,), {"decoded-vectors": decoded}, figures, (verdict,))


def _ranks(table: pd.DataFrame) -> str:
    own = table[(table["vector"] == table["words"]) & (table["state"] == "")]
    medians = 10 ** own.groupby("kind", sort=False)["rank"].median()
    return (
        "Median rank over tasks: " + ", ".join(f"{kind} {number(float(rank))}" for kind, rank in medians.items()) + "."
    )


def _figure(name: str, table: pd.DataFrame) -> Grid:
    chosen = table[(table["kind"] == ABOUT) & (table["state"] == "")]
    return Grid(
        name=f"meaning-{name}",
        title=f"Words that name a task, in the vectors of all tasks, {name}",
        x_label="task that the words name",
        y_label="task whose vector is decoded",
        value_label="log10 of the rank, mean over words",
        table=chosen.rename(columns={"words": "x", "vector": "y", "rank": "value"})[["x", "y", "value"]],
        note="Final norm and unembedding, each task's chosen block. 0 is the top token; "
        "on the diagonal stand a task's own words.",
    )
