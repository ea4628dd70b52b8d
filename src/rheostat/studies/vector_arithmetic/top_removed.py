"""Do answers that must be known suffer more than copied ones when the top of the network is removed?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.judging import compared_all, held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.power import in_words, would_be_seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.cutting import (
    NOTHING,
    RANDOM_MLPS,
    TOP_ATTENTION,
    TOP_MLPS,
    WHOLE,
    lost,
    measure,
)
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, EXTRACTIVE, WRONG

CLAIM = "vecarith-5"
STATEMENT = "Cutting off the last layers hurts knowledge tasks much more than copying tasks."
PLANTED = 0.2
"""A difference of the loss that must be seen."""


def gap(table: pd.DataFrame, group: str, *, by_rank: bool = False, copied: str = EXTRACTIVE) -> Values:
    """Return, per fact, the loss of the abstractive version minus that of a copied one."""
    known, other = (lost(table, version, group, by_rank=by_rank) for version in (ABSTRACTIVE, copied))
    return known - other


def measure_all(name: str, table: pd.DataFrame, seed: int, *, by_rank: bool = False) -> list[Measurement]:
    """Return the gap without the top MLPs, against no gap and every control, and without whole blocks."""
    what = "reciprocal rank" if by_rank else "accuracy"
    mlps = gap(table, TOP_MLPS, by_rank=by_rank)
    none = np.zeros_like(mlps)
    compared = [
        (TOP_MLPS, mlps, none, "no difference"),
        (TOP_MLPS, mlps, gap(table, RANDOM_MLPS, by_rank=by_rank), RANDOM_MLPS),
        (TOP_MLPS, mlps, gap(table, TOP_ATTENTION, by_rank=by_rank), TOP_ATTENTION),
        (WHOLE, gap(table, WHOLE, by_rank=by_rank), none, "no difference"),
    ]
    return [
        measurement(
            name,
            f"loss of {what}, abstractive − extractive, {group} removed",
            bootstrap_mean(effect - control, seed=seed),
            control=float(control.mean()),
            unit="facts",
            control_name=control_name,
        )
        for group, effect, control, control_name in compared
    ]


def run(context: Context) -> Part:
    """Remove the top of all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    usable = {name: table for name, table in tables.items() if table["fact"].nunique() > 1}
    found = {name: measure_all(name, table, context.seed) for name, table in usable.items()}
    ranks = {name: measure_all(name, table, context.seed, by_rank=True) for name, table in usable.items()}
    deciding = [one for ms in found.values() for one in ms]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=would_be_seen(deciding, PLANTED) == len(deciding)),
        reason=f"{held(deciding)} Accuracy decides, over all sizes of the removal, on facts that are answered in both "
        f"versions. {in_words(deciding, PLANTED)}",
        measurements=(*deciding, *(one for ms in ranks.values() for one in ms)),
    )
    figures = tuple(_figure(name, table, context.seed) for name, table in usable.items())
    section = Section(
        heading="Without the top",
        text="\n\n".join(_describe(name, table, found[name], ranks[name]) for name, table in usable.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"cutting": joined(tables)}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, found: Sequence[Measurement], ranks: Sequence[Measurement]) -> str:
    losses = "; ".join(
        f"{group}: abstractive {number(float(lost(table, ABSTRACTIVE, group).mean()))}, extractive "
        f"{number(float(lost(table, EXTRACTIVE, group).mean()))}, wrong fact {number(_wrong(table, group))}, neutral "
        f"loss {number(float(table.loc[table['group'] == group, 'loss'].mean()))} nats"
        for group in (TOP_MLPS, RANDOM_MLPS, TOP_ATTENTION, WHOLE)
    )
    intact = float(table.loc[table["group"] == NOTHING, "loss"].mean())
    whole = ", ".join(f"{one.control_name} {interval(one)}" for one in ranks)
    return (
        f"{name}, {table['fact'].nunique()} facts. Loss of accuracy, mean over sizes (intact neutral loss "
        f"{number(intact)}): {losses}. {compared_all(found)} By reciprocal rank, the same differences: {whole}."
    )


def _wrong(table: pd.DataFrame, group: str) -> float:
    return float(lost(table, WRONG, group).mean())


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    labels = {ABSTRACTIVE: "known", EXTRACTIVE: "copied"}
    for group in (TOP_MLPS, TOP_ATTENTION, RANDOM_MLPS):
        for version, label in labels.items():
            chosen = table[(table["version"] == version) & table["group"].isin([group, NOTHING])]
            score = (chosen["rank"] == 1).astype(float)
            each = score.groupby([chosen["sixths"], chosen["fact"]]).mean()
            places = ((int(sixths), each[sixths].to_numpy()) for sixths in sorted(chosen["sixths"].unique()))
            rows += curve(f"{label}, {group}", places, seed)
    return Profile(
        f"top-removed-{name}",
        f"Answers without the top, {name}",
        "sixths of the blocks that lose their MLP or attention",
        "share of facts answered",
        pd.DataFrame(rows),
        f"n = {table['fact'].nunique()} facts answered in both versions, 95 % bootstrap intervals.",
    )
