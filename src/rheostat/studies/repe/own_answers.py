"""Does adding a concept's direction move the model's own answer towards it, and subtracting move it away?

The answers are of prompts that no direction was fitted on. Controls of the same length, added at the same block: random
directions, and the directions of the other concepts, each turned in its own favour. Strengths are compared twice: at
equal length and at an equal cost, KL on neutral text.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.halves import chosen_by_other_half
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.manipulate import NEUTRAL, measure
from rheostat.studies.repe.shifts import SIZES, affordable, cost, matched_shift, monotony, shift, turned
from rheostat.studies.study import Context

CLAIM = "repe-2"
STATEMENT = "Adding the direction makes outputs have more of the concept, subtracting it less."
SIZE = SIZES[-1]


def concepts_of(table: pd.DataFrame) -> list[str]:
    """Return the concepts that have a direction and a question."""
    asked = [one for one in table["question"].unique() if one != NEUTRAL]
    return [one for one in asked if one in set(table["direction"])]


def measure_concept(model: str, table: pd.DataFrame, concept: str, seed: int) -> list[Measurement]:
    """Return shift and rank correlation of one concept's answers, against random and other directions."""
    blocks = sorted(block for block in table["block"].unique().tolist() if block >= 0)
    random = [one for one in table["direction"].unique() if str(one).startswith("random")]
    others = [one for one in concepts_of(table) if one != concept]
    chosen = chosen_by_other_half(np.stack([shift(table, concept, concept, one, SIZE) for one in blocks], axis=1))

    def at_chosen(by_block: Sequence[Values]) -> Values:
        return np.asarray(np.stack(by_block, axis=1)[np.arange(len(chosen)), chosen])

    def shifts(names: Sequence[str]) -> Values:
        return at_chosen([turned([shift(table, concept, one, block, SIZE) for one in names]) for block in blocks])

    def matched(names: Sequence[str]) -> list[Values]:
        found = []
        for block in blocks:
            kl = affordable(table, [concept, *random, *others], block)
            each = [matched_shift(table, concept, one, block, kl) for one in names]
            found.append(turned(each) if names != [concept] else each[0])
        return found

    def ranks(names: Sequence[str]) -> Values:
        return at_chosen([turned([monotony(table, concept, one, block) for one in names]) for block in blocks])

    own = at_chosen([shift(table, concept, concept, block, SIZE) for block in blocks])
    monotone = at_chosen([monotony(table, concept, concept, block) for block in blocks])
    names = {"random directions": random, "other concepts": others}
    measured = []
    for quantity, effect, controls in (
        (f"shift of {concept} answers at equal length, nats", own, {k: shifts(v) for k, v in names.items()}),
        (
            f"shift of {concept} answers at equal KL, nats",
            at_chosen(matched([concept])),
            {k: at_chosen(matched(v)) for k, v in names.items()},
        ),
        (f"rank correlation of {concept} answers with strength", monotone, {k: ranks(v) for k, v in names.items()}),
    ):
        measured += against(model, quantity, effect, controls, unit="prompts", seed=seed)
    return measured


def run(context: Context) -> Part:
    """Add every concept's direction on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {
        (name, concept): measure_concept(name, table, concept, context.seed)
        for name, table in tables.items()
        for concept in concepts_of(table)
    }
    deciding = [one for measured in found.values() for one in measured]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} Log-odds of words for more against words for less, at the end of the middle block; "
        "random and other directions are turned in their own favour. Longer texts were not scored.",
        measurements=tuple(deciding),
    )
    figures = tuple(_grid(name, table) for name, table in tables.items())
    section = Section(
        heading="Moving the model's own answers",
        text="\n\n".join(_describe(name, table, found) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"manipulation": joined(tables)}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, found: Mapping[tuple[str, str], Sequence[Measurement]]) -> str:
    sentences = []
    for (model, concept), measured in found.items():
        if model == name:
            equal, others, matched, matched_others, ranks, _ = measured
            sentences.append(
                f"{concept.capitalize()}: {number(equal.effect)} nats at equal length (random directions "
                f"{number(equal.control)}, other concepts {number(others.control)}), {number(matched.effect)} at "
                f"equal KL ({number(matched.control)}, {number(matched_others.control)}); rank correlation with "
                f"strength {number(ranks.effect)}."
            )
    blocks = sorted(block for block in table["block"].unique().tolist() if block >= 0)
    costs = ", ".join(
        f"block {block}: {number(min(each))} to {number(max(each))}"
        for block in blocks
        for each in [[cost(table, one, block, SIZE) for one in concepts_of(table)]]
    )
    return (
        f"{name}. Half the change of the answers' log-odds between adding and subtracting {SIZE:g} mean state lengths. "
        + " ".join(sentences)
        + f" That much costs, in nats of KL on neutral text, at {costs}."
    )


def _grid(name: str, table: pd.DataFrame) -> Grid:
    block = min(block for block in table["block"].unique().tolist() if block >= 0)
    directions = [one for one in table["direction"].unique() if one != "none"]
    rows = []
    for direction in reversed(directions):
        for question in concepts_of(table):
            mean = bootstrap_mean(shift(table, question, direction, block, SIZE), seed=0)
            text = f"{mean.value:+.1f}" + ("*" if mean.low > 0 or mean.high < 0 else "")
            rows.append({"x": question, "y": direction, "value": mean.value, "text": text})
    return Grid(
        name=f"answers-{name}",
        title=f"Which direction moves which answer, {name}, block {block}",
        x_label="answer",
        y_label="direction",
        value_label="shift of the log-odds, nats",
        table=pd.DataFrame(rows),
        centre=0.0,
        note=f"Half the difference between adding and subtracting {SIZE:g} mean state lengths; mean over "
        f"{int(table[table['question'] != NEUTRAL]['prompt'].nunique())} prompts. *: the 95 % interval excludes 0.",
    )
