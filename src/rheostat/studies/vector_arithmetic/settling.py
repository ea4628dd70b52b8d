"""Two pairs of claims that pull against each other, measured on the same facts.

Recall-5 says that attention extracts the answer, vecarith-2 that an MLP update produces it: extraction by both kinds of
sublayer, the sublayer at which the answer takes over, and patching of every sublayer. Trace-3 and recall-4 place facts
in early and middle MLPs, vecarith-5 in the top ones: MLPs removed by depth, at equal damage to neutral text.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.judging import against, compared_all, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.depth import DAMAGE, REMOVED, at_damage
from rheostat.studies.vector_arithmetic.depth import measure as measure_depth
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, EXTRACTIVE
from rheostat.studies.vector_arithmetic.knowing import answered, by_mlp, of_version
from rheostat.studies.vector_arithmetic.knowing import measure as read_versions
from rheostat.studies.vector_arithmetic.reading import ATTENTION, MID, MLP
from rheostat.studies.vector_arithmetic.same_facts import effects, extracted
from rheostat.studies.vector_arithmetic.same_facts import measure as measure_sublayers

NAMES = {ATTENTION: "attention", MLP: "MLPs"}


def by_sublayers(name: str, table: pd.DataFrame, versions: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return attention against MLPs: extraction in both ways of decoding, takeover, and patching.

    Args:
        name: of the model.
        table: of `same_facts.measure`.
        versions: of `knowing.measure`.
        seed: of the intervals.
    """
    found = []
    for way in table["way"].dropna().unique():
        rates = {kind: extracted(table, kind, str(way)) for kind in (ATTENTION, MLP)}
        what = f"extraction of the answer by attention, {way} (share)"
        found += against(name, what, rates[ATTENTION], {"MLPs": rates[MLP]}, unit="facts", seed=seed)
    known = answered(versions, ABSTRACTIVE)
    after, middle = of_version(known, ABSTRACTIVE, "answer"), of_version(known, ABSTRACTIVE, "answer", MID)
    taken = by_mlp(middle, after)
    controls = {"takeover at an MLP": taken}
    found += against(name, "takeover at attention (share)", 1 - taken, controls, unit="facts", seed=seed)
    patched = {kind: effects(table, kind) for kind in (ATTENTION, MLP)}
    if len(patched[ATTENTION]) < 2:
        return found
    for what, reduced in (
        ("the strongest block", {kind: _strongest(one) for kind, one in patched.items()}),
        ("the mean block", {kind: one.mean(axis=1) for kind, one in patched.items()}),
    ):
        label = f"effect of patching attention, {what} (fall of the logit difference, nats)"
        found += against(name, label, reduced[ATTENTION], {"MLPs": reduced[MLP]}, unit="facts", seed=seed)
    return found


def _strongest(values: Values) -> Values:
    """Return each fact's value at the block that the other half of the facts chose."""
    return at_places(values, chosen_by_other_half(values))


def by_depth(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the loss of known answers without the top MLPs against each deeper window, at equal damage."""
    windows = sorted(int(one) for one in table["window"].unique() if one >= 0)
    found = []
    for version in (ABSTRACTIVE, EXTRACTIVE):
        losses = {window: at_damage(table, window, version) for window in windows}
        top = losses[windows[-1]]
        for window in windows[:-1]:
            what = f"loss of the reciprocal rank without the top MLPs, {version}, at {DAMAGE:g} nats"
            if np.isfinite(top).all() and np.isfinite(losses[window]).all():
                difference = bootstrap_mean(top - losses[window], seed=seed)
                control = float(losses[window].mean())
                label = f"window {window + 1} of {len(windows)}"
                found.append(measurement(name, what, difference, control=control, unit="facts", control_name=label))
    return found


def run(context: Context) -> Part:
    """Measure both sides of both pairs on the same facts; no verdict of its own."""
    sublayers = {model.name: measure_sublayers(model, context) for model in context.models}
    depths = {model.name: measure_depth(model, context) for model in context.models}
    versions = {model.name: read_versions(model, context) for model in context.models}
    first = {n: by_sublayers(n, table, versions[n], context.seed) for n, table in sublayers.items() if _enough(table)}
    second = {name: by_depth(name, table, context.seed) for name, table in depths.items() if _enough(table)}
    patching = [_patching_figure(n, sublayers[n], context.seed) for n in first if len(effects(sublayers[n], MLP)) > 1]
    depth = [_depth_figure(name, depths[name], context.seed) for name in second]
    figures: tuple[Figure, ...] = (*patching, *depth)
    sections = (
        Section(
            "Attention or an MLP (recall-5 against vecarith-2)",
            "The same facts, answered after one demonstration. Patching puts the output of one sublayer at the last "
            "token from a prompt with another subject; its effect is how far the logit difference of both answers "
            "falls.\n\n" + "\n\n".join(f"{name}. {compared_all(found)}" for name, found in first.items()),
            figures=tuple(one.name for one in patching),
            tables=("settling",),
        ),
        Section(
            "Early or top MLPs (trace-3, recall-4 against vecarith-5)",
            f"MLPs of one window of depth are scaled down by a growing share; each window's loss is read where the "
            f"loss on neutral text has risen by {DAMAGE:g} nats. A window that never does so much damage is left out."
            "\n\n" + "\n\n".join(f"{name}. {_depths(depths[name])} {compared_all(second[name])}" for name in second),
            figures=tuple(one.name for one in depth),
        ),
    )
    rows = [vars(one) for found in (*first.values(), *second.values()) for one in found]
    tables = {"sublayers": joined(sublayers), "by-depth": joined(depths), "settling": pd.DataFrame(rows)}
    return Part(sections, tables, figures)


def _enough(table: pd.DataFrame) -> bool:
    return bool(table["fact"].nunique() > 1)


def _depths(table: pd.DataFrame) -> str:
    windows = sorted(int(one) for one in table["window"].unique() if one >= 0)
    said = []
    for window in windows:
        losses = [at_damage(table, window, version) for version in (ABSTRACTIVE, EXTRACTIVE)]
        values = " known, ".join(number(float(one.mean())) if np.isfinite(one).all() else "not read" for one in losses)
        said.append(f"window {window + 1}: {values} copied")
    return "Loss of the reciprocal rank: " + "; ".join(said) + "."


def _patching_figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for kind, label in NAMES.items():
        values = effects(table, kind)
        rows += curve(label, ((block, values[:, block]) for block in range(values.shape[1])), seed)
    return Profile(
        f"patched-sublayers-{name}",
        f"One sublayer from another fact, {name}",
        "block",
        "fall of the logit difference (nats)",
        pd.DataFrame(rows),
        f"n = {len(effects(table, MLP))} facts, last token, 95 % bootstrap intervals.",
    )


def _depth_figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    windows: Sequence[int] = sorted(int(one) for one in table["window"].unique() if one >= 0)
    for version, label in ((ABSTRACTIVE, "known"), (EXTRACTIVE, "copied")):
        losses = ((window + 1, at_damage(table, window, version)) for window in windows)
        rows += curve(label, ((place, values) for place, values in losses if np.isfinite(values).all()), seed)
    return Profile(
        f"removed-by-depth-{name}",
        f"MLPs removed by depth at equal damage, {name}",
        f"window of MLPs (1 the lowest), scaled down until neutral text loses {DAMAGE:g} nats",
        "loss of the answer's reciprocal rank",
        pd.DataFrame(rows),
        f"n = {table['fact'].nunique()} facts answered in both versions, 95 % bootstrap intervals. {REMOVED}",
    )
