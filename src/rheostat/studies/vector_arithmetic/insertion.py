"""Putting updates into contexts that carry an argument, and where the argument's answer ranks then."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from rheostat.metrics import logits as of
from rheostat.metrics.statistics import Values
from rheostat.metrics.tokens import Rank
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.recall.planted import saying
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic import top_tokens
from rheostat.studies.vector_arithmetic.contexts import RivalRank, context_words, draw_words, repetition
from rheostat.studies.vector_arithmetic.questions import IN, OUT, Asked, Questions, questions, rivals
from rheostat.studies.vector_arithmetic.updates import EXTRACTED, NONE, WAYS, Update, cells, extract, plan

N_TARGETS, N_TARGETS_QUICK = 24, 4
"""Arguments per task and domain."""
N_CONTEXTS, N_CONTEXTS_QUICK = 2, 1
N_SOURCES, N_SOURCES_QUICK = 2, 1
PLANTED = "planted"
N_PLANTED, N_PLANTED_QUICK = 12, 3
Key = tuple[str, str]
"""Task and domain."""


def updates_of(model: Model, context: Context) -> dict[str, Update]:
    """Return the updates of every task that the model answers."""
    read, table = top_tokens.read_questions(model, context), top_tokens.right(top_tokens.measure(model, context))
    n_sources = N_SOURCES_QUICK if context.quick else N_SOURCES
    found = {}
    for task in dict.fromkeys(one.task for one in read):
        update = extract(model, [one for one in read if one.task == task], table, n_sources)
        if update is not None:
            found[task] = update
    return found


def targets(each: Questions, update: Update, limit: int) -> dict[str, list[Asked]]:
    """Return, per domain, the arguments that updates are tried on: never one that they come from."""
    inside = [one for one in each.inside if one.pair.question not in update.sources]
    return {IN: inside[-limit:], OUT: list(each.outside[:limit])}


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per context, update and way.

    Columns: task, domain, argument, context (its number), update, way, source, rank (of the answer), rival_rank (of
    another argument's answer), block (of the update). Only contexts in which the argument ranks first as it is.
    """
    asked = questions(model, context.seed)
    limit = N_TARGETS_QUICK if context.quick else N_TARGETS
    found = updates_of(model, context)
    tables = []
    for task, update in found.items():
        for domain, listed in targets(asked[task], update, limit).items():
            if len(listed) > 1:
                one = partial(_insert, model, context, update, found, listed)
                params = step_params(
                    model, context, sources=update.sources, block=update.block, arguments=[a.prompt for a in listed]
                )
                name = f"insertion-{task}-{'in' if domain == IN else 'out'}-{model.name}"
                tables.append(context.step(name, params, one).assign(task=task, domain=domain, block=update.block))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["task", "domain", "update"])


def _insert(
    model: Model, context: Context, update: Update, found: dict[str, Update], listed: Sequence[Asked]
) -> pd.DataFrame:
    prompts, whose = contexts_of(model, context, listed)
    kept = [place for place, one in enumerate(_firsts(model, prompts)) if one == listed[whose[place]].argument[0]]
    if not kept:
        return pd.DataFrame()
    others = rivals(listed)
    metrics = [
        Rank([listed[whose[place]].answer for place in kept]),
        RivalRank([others[whose[place]].answer for place in kept]),
    ]
    table = model.sweep(
        [prompts[place] for place in kept],
        cells(update, found, model.n_blocks, context.seed),
        metrics,
        name=f"{update.task}, {model.name}",
        progress=context.show_progress or None,
    )
    planted_at = kept[: N_PLANTED_QUICK if context.quick else N_PLANTED]
    planted = _plant(model, [(prompts[place], listed[whose[place]].answer) for place in planted_at], update)
    whole = pd.concat([table, planted], ignore_index=True)
    names = [listed[whose[place]].pair.question for place in kept]
    whole["argument"] = whole["prompt"].map(dict(enumerate(names)))
    return whole.drop(columns="cell").rename(columns={"prompt": "context"})


def contexts_of(model: Model, context: Context, listed: Sequence[Asked]) -> tuple[list[str], list[int]]:
    """Return contexts that carry each question's argument, and which question's each is."""
    never = [word for one in listed for word in (one.pair.question, one.pair.answer)]
    words, rng = context_words(model, never), np.random.default_rng(context.seed)
    n = N_CONTEXTS_QUICK if context.quick else N_CONTEXTS
    prompts, whose = [], []
    for place, one in enumerate(listed):
        prompts += [repetition(one.pair.question, drawn) for drawn in draw_words(words, n, rng)]
        whose += [place] * n
    return prompts, whose


def _firsts(model: Model, prompts: Sequence[str]) -> list[int]:
    return [int(one) for one in model.run(list(prompts), logits_at="last").logits[:, 0].argmax(-1)]


def _plant(model: Model, asked: Sequence[tuple[str, int]], update: Update) -> pd.DataFrame:
    """Return rows for an update that says each context's own answer: the measure must find this one."""
    rows: list[dict[str, object]] = []
    vector = update.vectors[0]
    for place, (prompt, answer) in enumerate(asked):
        one = vector + saying(model, [answer], vector)
        plans = [plan(one, update.block, model.n_blocks, way) for way in WAYS]
        ranks_then = of.rank(model.run([prompt] * len(plans), plans=plans).logits[:, 0], answer).tolist()
        shared = {"prompt": place, "update": PLANTED, "source": 0, "rival_rank": float("nan")}
        rows += [{**shared, "way": way, "rank": rank} for way, rank in zip(WAYS, ranks_then, strict=True)]
    return pd.DataFrame(rows)


# --- what the table says ----------------------------------------------------------------------------------------------


def gain(table: pd.DataFrame, update: str, way: str, column: str = "rank") -> Values:
    """Return, per argument, how much a token's reciprocal rank rises, as the mean over its contexts and sources.

    Args:
        table: rows of one task and domain.
        update: which one is put in.
        way: of putting it in.
        column: `rank` for the argument's own answer, `rival_rank` for another's.
    """
    chosen = table[(table["update"] == update) & (table["way"] == way)]
    clean = table[table["update"] == NONE].set_index("context")[column]
    rise = 1 / chosen[column] - 1 / chosen["context"].map(clean)
    found: Values = rise.groupby(chosen["argument"], sort=False).mean().to_numpy(dtype=float)
    return found


def ranks(table: pd.DataFrame, update: str, way: str) -> Values:
    """Return the answer's rank in every context, as the median over sources."""
    chosen = table[(table["update"] == update) & (table["way"] == way)]
    found: Values = chosen.groupby("context")["rank"].median().to_numpy(dtype=float)
    return found


def has(table: pd.DataFrame, update: str = EXTRACTED) -> bool:
    """Tell whether at least two arguments were tried under an update."""
    return bool(table[table["update"] == update]["argument"].nunique() > 1)
