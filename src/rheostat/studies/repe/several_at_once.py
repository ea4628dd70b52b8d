"""Can two directions be applied at once, as in plus power, minus morality? Do both answers move, as they do alone?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.edit.arithmetic import Add
from rheostat.edit.edit import Edit
from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.concepts import HAPPINESS, MORALITY, POWER, SENTIMENT, Concept, all_concepts
from rheostat.studies.repe.manipulate import directions_of, scales_of, units_at
from rheostat.studies.repe.questions import QUESTIONS
from rheostat.studies.study import Context

CLAIM = "repe-3"
STATEMENT = "Several directions can be applied at once, as in plus power, minus morality."
PAIRS = ((POWER, MORALITY), (HAPPINESS, SENTIMENT))
"""The first is added, the second subtracted."""
STRENGTH = 0.2
NOTHING, FIRST, SECOND, BOTH, WITH_RANDOM = "nothing", "first alone", "second alone", "both", "first and a random one"


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per pair of concepts, answer, prompt and state; `value` in nats of log-odds."""
    concepts = {one.name: one for one in all_concepts(quick=context.quick, seed=context.seed)}
    block = model.n_blocks // 2

    def compute() -> pd.DataFrame:
        return pd.concat(
            [_pair(model, concepts[first], concepts[second], block, context.seed) for first, second in PAIRS],
            ignore_index=True,
        )

    asked = [(pair.positive, pair.negative) for name in {*PAIRS[0], *PAIRS[1]} for pair in concepts[name].pairs]
    params = step_params(
        model,
        context,
        pairs=sorted(asked),
        strength=STRENGTH,
        block=block,
        of=PAIRS,
        asked=[q.prompts for q in QUESTIONS],
    )
    return context.step(f"several-{model.name}", params, compute)


def _pair(model: Model, first: Concept, second: Concept, block: int, seed: int) -> pd.DataFrame:
    site = f"blocks.{block}.resid_post"
    units = units_at({one.name: directions_of(model, one) for one in (first, second)}, site, seed)
    size = STRENGTH * scales_of(model)[site]

    def edit(name: str, sign: float) -> Edit:
        return Add(site, units[name], strength=sign * size)

    plans: dict[str, tuple[Edit, ...]] = {
        NOTHING: (),
        FIRST: (edit(first.name, 1),),
        SECOND: (edit(second.name, -1),),
        BOTH: (edit(first.name, 1), edit(second.name, -1)),
        WITH_RANDOM: (edit(first.name, 1), edit("random 0", -1)),
    }
    cells = [Cell(plan, {"state": state}) for state, plan in plans.items()]
    tables = []
    for question in QUESTIONS:
        if question.concept in (first.name, second.name):
            metric = question.metric(model)
            found = model.sweep(list(question.prompts), cells, metric, progress=False)
            tables.append(found.rename(columns={metric.column: "value"}).assign(question=question.concept))
    table = pd.concat(tables)[["question", "prompt", "state", "value"]]
    return table.assign(pair=f"+ {first.name} − {second.name}")


def change(table: pd.DataFrame, question: str, state: str) -> Values:
    """Return, per prompt, how far a state's log-odds lie from those of the unedited network."""
    own = table[table["question"] == question]
    edited, plain = (own[own["state"] == one].sort_values("prompt")["value"].to_numpy() for one in (state, NOTHING))
    return np.asarray(edited - plain, dtype=np.float64)


def measure_pair(model: str, table: pd.DataFrame, first: str, second: str, seed: int) -> list[Measurement]:
    """Return how far both answers move as asked, and how much larger that is than what the two do to each other."""
    measured = []
    for question, other, sign in ((first, SECOND, 1), (second, FIRST, -1)):
        both = sign * change(table, question, BOTH)
        beyond = both - sign * (change(table, question, FIRST) + change(table, question, SECOND))
        controls = {
            "nothing": np.zeros_like(both),
            "interaction": np.abs(beyond),
            "without its own direction": sign * change(table, question, other),
        }
        quantity = f"shift of {question} as asked, of + {first} − {second}, nats"
        measured += against(model, quantity, both, controls, unit="prompts", seed=seed)
    return measured


def run(context: Context) -> Part:
    """Apply both pairs on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found: list[Measurement] = []
    for name, table in tables.items():
        for first, second in PAIRS:
            own = table[table["pair"] == f"+ {first} − {second}"]
            found += measure_pair(name, own, first, second, context.seed)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(found, planted_found=False),
        reason=f"{held(found)} Both directions at {STRENGTH:g} mean state lengths at the end of the middle block; the "
        "interaction is what both do beyond the sum of each alone.",
        measurements=tuple(found),
    )
    section = Section(
        heading="Two directions at once",
        text="\n\n".join(_describe(name, [one for one in found if one.model == name]) for name in tables),
    )
    return Part((section,), {"several-at-once": joined(tables)}, (), (verdict,))


def _describe(name: str, found: Sequence[Measurement]) -> str:
    sentences = []
    for nothing, interaction, without in zip(found[::3], found[1::3], found[2::3], strict=True):
        sentences.append(
            f"{nothing.quantity[0].upper()}{nothing.quantity[1:]}: {number(nothing.effect)} [{number(nothing.low)}, "
            f"{number(nothing.high)}]; interaction {number(interaction.control)}, without its own direction "
            f"{number(without.control)}."
        )
    return f"{name}. " + " ".join(sentences)
