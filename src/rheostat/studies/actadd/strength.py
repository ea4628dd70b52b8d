"""From which coefficient on does a vector harm unrelated text, early and in the middle of the depth?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.studies.actadd.measuring import RANDOM
from rheostat.studies.actadd.power import Power
from rheostat.studies.actadd.scoring import ratio_curve
from rheostat.studies.actadd.texts import TextSet
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-4"
STATEMENT = "At layer 6 of 48 coefficients above 1 harm unrelated text; at layer 16 only those above 3."
HARM = 0.02
"""Log perplexity ratio, against the bare space, from which on a text is harmed."""


def shifts(
    table: pd.DataFrame, text: str, vector: str, block: int, *, align: str = "front"
) -> tuple[list[float], Values]:
    """Return coefficients, and log ratios (sentence, coefficient) of one vector on one topic's texts."""
    chosen = (table["topic"] == text) & (table["vector"] == vector) & (table["block"] == block)
    here = table[chosen & (table["align"] == align)]
    weighed = here.assign(shift=(here["loss"] - here["clean"]) * here["tokens"])
    wide = weighed.pivot(index="sentence", columns="coefficient", values="shift")
    tokens = here.drop_duplicates("sentence")["tokens"].mean()
    return [float(one) for one in wide.columns], np.asarray(wide.to_numpy(dtype=float) / float(tokens))


def growth(table: pd.DataFrame, text: str, vector: str, block: int, *, to: float = 3.0) -> Values:
    """Return, per sentence, how much the loss grows from coefficient 1 to another."""
    coefficients, values = shifts(table, text, vector, block)
    grown: Values = values[:, coefficients.index(to)] - values[:, coefficients.index(1.0)]
    return grown


def harmful_from(table: pd.DataFrame, text: str, vector: str, block: int) -> float:
    """Return the least positive coefficient that harms by 2 %; infinity where none does."""
    coefficients, values = shifts(table, text, vector, block)
    harmful = [one for one, mean in zip(coefficients, values.mean(axis=0), strict=True) if one > 0 and mean > HARM]
    return min(harmful, default=float("inf"))


def measure_all(name: str, table: pd.DataFrame, texts: TextSet, topic: str, seed: int) -> list[Measurement]:
    """Return what coefficient 3 costs unrelated text beyond 1, early, and early beyond the middle."""
    early, middle = sorted(int(block) for block in table["block"].unique())
    other, word = texts.other(topic), texts.word(topic)
    (drawn,) = table.loc[table["kind"] == RANDOM, "vector"].unique()
    at_early, at_middle = growth(table, other, word, early), growth(table, other, word, middle)
    random = growth(table, other, drawn, early)
    what = f"cost of coefficient 3 beyond 1, off topic, block {early},{word} (nats per token)"
    controls = {"none": np.zeros(len(at_early)), f"at block {middle}": at_middle}
    found = [
        measurement(
            name,
            what,
            paired_difference(at_early, control, seed=seed),
            control=float(control.mean()),
            unit="sentences",
            control_name=label,
        )
        for label, control in controls.items()
    ]
    beside = measurement(
        name,
        f"{what} (does not decide)",
        bootstrap_mean(at_early - random, seed=seed),
        control=float(random.mean()),
        unit="sentences",
        control_name="a random vector of equal length",
    )
    return [*found, beside]


def run(tables: Mapping[str, pd.DataFrame], texts: TextSet, seed: int, power: Power) -> Part:
    """Judge the claim."""
    every = {
        name: [one for topic in texts.topics for one in measure_all(name, table, texts, topic, seed)]
        for name, table in tables.items()
    }
    measured = [one for found in every.values() for one in found]
    deciding = [one for one in measured if "does not decide" not in one.quantity]
    thresholds = "; ".join(
        f"{word.strip()} from {_shown(harmful_from(table, texts.other(topic), word, block))} at block {block} ({name})"
        for name, table in tables.items()
        for topic, word in zip(texts.topics, texts.words, strict=True)
        for block in sorted(int(one) for one in table["block"].unique())
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=power.found),
        reason=f"{held(deciding)} Coefficients that make unrelated text 2 % less likely than the bare space does: "
        f"{thresholds}.",
        measurements=tuple(measured),
    )
    figures: list[Figure] = [
        _curves(name, table, texts, topic, seed) for name, table in tables.items() for topic in texts.topics
    ]
    section = Section(
        heading="Over coefficients",
        text="The table states the relative dose beside every coefficient: the length of what is added over that of "
        "the state it is added to. Rows aligned with the middle overlap the text; only what follows is scored.\n\n"
        + "\n\n".join(f"{name}. {compared_all(found)}" for name, found in every.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("coefficients",),
    )
    return Part((section,), {"coefficients": summary(tables)}, tuple(figures), (verdict,))


def summary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return perplexity ratios: rows {model, align, vector, block, coefficient, dose, and the topic of the text}."""
    table = joined(tables)
    weighed = table.assign(shift=(table["loss"] - table["clean"]) * table["tokens"])
    keys = ["model", "align", "vector", "kind", "block", "coefficient", "dose", "topic"]
    sums = weighed.groupby(keys, sort=False)[["shift", "tokens"]].sum()
    ratio = pd.Series(np.exp(sums["shift"] / sums["tokens"]), name="ratio").reset_index()
    wide: pd.DataFrame = ratio.pivot(index=keys[:-1], columns="topic", values="ratio").reset_index()
    return wide.rename_axis(columns=None)


def _curves(name: str, table: pd.DataFrame, texts: TextSet, topic: str, seed: int) -> Profile:
    word = texts.word(topic)
    rows: list[dict[str, object]] = []
    for block in sorted(int(one) for one in table["block"].unique()):
        for text, where in ((topic, "on topic"), (texts.other(topic), "off topic")):
            coefficients, values = shifts(table, text, word, block)
            rows += ratio_curve(f"{where}, block {block}", zip(coefficients, values.T, strict=True), seed)
    return Profile(
        name=f"coefficients-{topic}-{name}",
        title=f"Perplexity ratio over coefficients, {word.strip()} − space, {name}",
        x_label="coefficient",
        y_label="perplexity with the vector / without it",
        table=pd.DataFrame(rows),
        note=f"n = {table['sentence'].nunique()} sentences each, weighed by tokens, 95 % bootstrap intervals.",
        reference={"no change": 1.0},
    )


def _shown(coefficient: float) -> str:
    return "none of those tried" if np.isinf(coefficient) else number(coefficient)
