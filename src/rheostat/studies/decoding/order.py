"""In which order does meaning appear? The first block that shows the kind, other languages, and the answer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.shapes import Figure, Profile
from rheostat.lenses.reading import POINTS
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.decoding.answers import measure_ranks
from rheostat.studies.decoding.read_quality import TOP, by_block, first_block, seen
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-4"
STATEMENT = (
    "Meaning appears in order: category, at first in other languages (layer 11 of 32), English context (14), "
    "the answer "
    "(19)."
)
STREAM = ("resid_post",)
EITHER = "either order alike"
ENOUGH_TOKENS = 20
"""Prompts with a word of another language in the vocabulary that the comparison of languages needs."""


def precedence(first: Values, second: Values) -> Values:
    """Return, per item, +1 when `first` shows earlier, −1 when later, 0 when together or neither ever does."""
    return np.sign(second - first)


def category_first(name: str, table: pd.DataFrame, points: Sequence[str], seed: int) -> list[Measurement]:
    """Return how much oftener the answer's kind shows before the answer than after it, against two controls."""
    usable = known(table, "category", "other category", "answer")
    first = {group: earliest(table, group, points)[usable] for group in ("category", "other category", "answer")}
    return order_measurements(
        name,
        f"share of prompts with the answer's kind before the answer minus the reverse, {where(points)}",
        precedence(first["category"], first["answer"]),
        precedence(first["other category"], first["answer"]),
        "words of another relation's kind",
        seed,
    )


def foreign_first(name: str, table: pd.DataFrame, points: Sequence[str], seed: int) -> list[Measurement]:
    """Return how much oftener another language shows before English than after it; empty without enough such tokens."""
    usable = known(table, "foreign", "other foreign", "english")
    if usable.sum() < ENOUGH_TOKENS:
        return []
    first = {group: earliest(table, group, points)[usable] for group in ("foreign", "other foreign", "english")}
    return order_measurements(
        name,
        f"share of prompts with another language before English minus the reverse, {where(points)}",
        precedence(first["foreign"], first["english"]),
        precedence(first["other foreign"], first["english"]),
        "another prompt's words in other languages",
        seed,
    )


def order_measurements(
    name: str, quantity: str, own: Values, other: Values, control_name: str, seed: int
) -> list[Measurement]:
    """Return an order against no order, and against control words."""
    return [
        measurement(
            name,
            quantity,
            bootstrap_mean(own, seed=seed),
            control=0.0,
            unit="prompts",
            control_name=EITHER,
        ),
        measurement(
            name,
            quantity,
            bootstrap_mean(own - other, seed=seed),
            control=float(other.mean()),
            unit="prompts",
            control_name=control_name,
        ),
    ]


def known(table: pd.DataFrame, *groups: str) -> NDArray[np.bool_]:
    """Return, per item, whether each of the groups has a token in this vocabulary."""
    missing = [np.isnan(by_block(table, group, "resid_post")).any(axis=1) for group in groups]
    return np.asarray(~np.any(missing, axis=0))


def earliest(table: pd.DataFrame, group: str, points: Sequence[str]) -> Values:
    """Return, per item, the first block at which any of the points shows a word of the group."""
    n = int(table["block"].max()) + 1
    return np.asarray(np.min([first_block(seen(table, group, point), n) for point in points], axis=0))


def where(points: Sequence[str]) -> str:
    """Name the points in words."""
    return "block outputs" if tuple(points) == STREAM else "any decode point"


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
    both = [(name, table, points) for name, table in tables.items() for points in (STREAM, POINTS)]
    kinds = [category_first(name, table, points, context.seed) for name, table, points in both]
    tongues = [foreign_first(name, table, points, context.seed) for name, table, points in both]
    pairs = [pair for pair in (*kinds, *tongues) if pair]
    every = [one for pair in pairs for one in pair]
    deciding = [min(pair, key=lambda one: one.low) for pair in pairs]
    planted = planted_order(min(table["item"].nunique() for table in tables.values()), context.seed)
    without = [name for name in tables if not any(one.model == name for pair in tongues for one in pair)]
    uncovered = (
        f" Not covered: other languages on {', '.join(without)}, whose vocabulary has too few such words."
        if without
        else ""
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted.above_zero),
        reason=f"{held(deciding)} Of an order's two comparisons the weaker one decides. A word shows when it is among "
        f"the top {TOP}. An order planted in 30 % of the prompts is found: {planted}.{uncovered}",
        measurements=tuple(every),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="In which order does meaning appear?",
        text="\n\n".join(_describe(name, table, every) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, every: Sequence[Measurement]) -> str:
    n = int(table["block"].max()) + 1
    labels = {"category": "the answer's kind", "foreign": "another language", "answer": "the answer"}
    parts = []
    for points in (STREAM, POINTS):
        medians = (f"{label} {_median(earliest(table, group, points), n)}" for group, label in labels.items())
        parts.append(f"At {where(points)}: {', '.join(medians)}.")
    shares: dict[str, list[str]] = {}
    for one in every:
        if one.model == name and one.control_name == EITHER:
            quantity, place = one.quantity.rsplit(", ", 1)
            shares.setdefault(quantity, []).append(f"{number(one.effect)} {interval(one)} at {place}")
    said = "; ".join(f"{quantity}: {', '.join(found)}" for quantity, found in shares.items())
    return (
        f"{name}: first block with a word in the top {TOP} (median where it ever shows). {' '.join(parts)} The {said}."
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
    rows: list[dict[str, object]] = []
    for group, label in labels.items():
        hits = seen(table, group, "resid_post")
        rows += curve(label, enumerate(hits.T), seed)
    return Profile(
        name=f"order-{name}",
        title=f"Which words the stream of {name} shows, by block",
        x_label="block",
        y_label=f"share of prompts with such a word in the top {TOP}",
        table=pd.DataFrame(rows),
        note=f"n = {table['item'].nunique()} prompts, 95 % bootstrap intervals; block outputs, last token.",
    )
