"""In which order does meaning appear? The first block that shows the kind, other languages, and the answer."""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.studies.decoding.answers import GROUPS, measure_ranks
from rheostat.studies.decoding.judging import held, judge, measurement, number
from rheostat.studies.decoding.part import Part
from rheostat.studies.decoding.read_quality import TOP, by_block, first_block, seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-4"
STATEMENT = (
    "Meaning appears in order: category, at first in other languages (layer 11 of 32), English context (14), "
    "the answer "
    "(19)."
)
ENOUGH_TOKENS = 20
"""Prompts with a word of another language in the vocabulary that the comparison of languages needs."""


def precedence(first: Values, second: Values) -> Values:
    """Return, per item, +1 when `first` shows earlier, −1 when later, 0 when together or neither ever does."""
    return np.sign(second - first)


def category_first(name: str, table: pd.DataFrame, seed: int) -> Measurement:
    """Return how much oftener the answer's kind shows before the answer than the reverse; control: another kind."""
    n = int(table["block"].max()) + 1
    answer = first_block(seen(table, "answer", "resid_post"), n)
    own = precedence(first_block(seen(table, "category", "resid_post"), n), answer)
    other = precedence(first_block(seen(table, "other category", "resid_post"), n), answer)
    return measurement(
        name,
        "share of prompts with the answer's kind before the answer, minus the reverse",
        bootstrap_mean(own - other, seed=seed),
        control=float(other.mean()),
        unit="prompts",
        control_name="words of another relation's kind",
    )


def foreign_first(name: str, table: pd.DataFrame, seed: int) -> Measurement | None:
    """Return how much oftener a word shows in another language before English; None without enough foreign tokens."""
    n = int(table["block"].max()) + 1
    has_tokens = ~np.isnan(by_block(table, "foreign", "resid_post")).any(axis=1)
    has_tokens &= ~np.isnan(by_block(table, "other foreign", "resid_post")).any(axis=1)
    if has_tokens.sum() < ENOUGH_TOKENS:
        return None
    english = first_block(seen(table, "english", "resid_post"), n)
    own = precedence(first_block(seen(table, "foreign", "resid_post"), n), english)[has_tokens]
    other = precedence(first_block(seen(table, "other foreign", "resid_post"), n), english)[has_tokens]
    return measurement(
        name,
        "share of prompts with another language before English, minus the reverse",
        bootstrap_mean(own - other, seed=seed),
        control=float(other.mean()),
        unit="prompts",
        control_name="foreign words of another prompt",
    )


def planted_order(n_items: int, seed: int) -> Interval:
    """Return the measure's interval when the kind is planted two blocks before the answer in 30 % of the prompts."""
    rng = np.random.default_rng(seed)
    answer = rng.integers(5, 20, size=n_items).astype(float)
    planted = rng.random(n_items) < 0.3
    kind = np.where(planted, answer - 2, answer)
    return bootstrap_mean(precedence(kind, answer), seed=seed)


def run(context: Context) -> Part:
    """Compare first blocks on every model and judge the claim."""
    tables = {model.name: measure_ranks(model, context) for model in context.models}
    kinds = [category_first(name, table, context.seed) for name, table in tables.items()]
    tongues = {name: foreign_first(name, table, context.seed) for name, table in tables.items()}
    deciding = [*kinds, *(one for one in tongues.values() if one is not None)]
    planted = planted_order(min(table["item"].nunique() for table in tables.values()), context.seed)
    without = [name for name, one in tongues.items() if one is None]
    uncovered = (
        f" Not covered: other languages on {', '.join(without)}, whose vocabulary has too few such words."
        if without
        else ""
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted.above_zero),
        reason=f"{held(deciding)} Block outputs, top {TOP}. An order planted in 30 % of the prompts is found: "
        f"{planted}."
        f"{uncovered}",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="In which order does meaning appear?",
        text="\n\n".join(
            _describe(name, table, kind, tongues[name])
            for (name, table), kind in zip(tables.items(), kinds, strict=True)
        ),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {}, figures, (verdict,))


def first_blocks(table: pd.DataFrame) -> dict[str, Values]:
    """Return, per group of words, the first block whose output shows one, per item."""
    n = int(table["block"].max()) + 1
    return {group: first_block(seen(table, group, "resid_post"), n) for group in GROUPS}


def _describe(name: str, table: pd.DataFrame, kind: Measurement, tongue: Measurement | None) -> str:
    n = int(table["block"].max()) + 1
    first = first_blocks(table)
    medians = ", ".join(
        f"{label} {_median(first[group], n)}"
        for group, label in (
            ("category", "the answer's kind"),
            ("foreign", "another language"),
            ("answer", "the answer"),
        )
    )
    languages = (
        f" Another language before English: {number(tongue.effect)} against {number(tongue.control)} "
        f"([{number(tongue.low)}, {number(tongue.high)}])."
        if tongue
        else " The vocabulary has too few words of other languages to compare."
    )
    return (
        f"{name}: first block with a word in the top {TOP} (median over the prompts where it ever shows): "
        f"{medians}. The kind "
        f"before the answer, minus the reverse: {number(kind.effect)} of prompts, with another relation's kind "
        f"{number(kind.control)} (difference [{number(kind.low)}, {number(kind.high)}]).{languages}"
    )


def _median(first: Values, n_blocks: int) -> str:
    shown = first[first < n_blocks]
    return f"block {np.median(shown):.0f} ({len(shown)} of {len(first)})" if len(shown) else "never"


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    labels = {
        "category": "kind of answer",
        "answer": "answer",
        "foreign": "other languages",
        "other category": "another kind (control)",
    }
    rows = []
    for group, label in labels.items():
        hits = seen(table, group, "resid_post")
        for block in range(hits.shape[1]):
            share = bootstrap_mean(hits[:, block], seed=seed)
            rows.append({"x": block, "value": share.value, "low": share.low, "high": share.high, "series": label})
    return Profile(
        name=f"order-{name}",
        title=f"Which words the stream of {name} shows, by block",
        x_label="block",
        y_label=f"share of prompts with such a word in the top {TOP}",
        table=pd.DataFrame(rows),
        note=f"n = {table['item'].nunique()} prompts, 95 % bootstrap intervals; block outputs, last token.",
    )
