"""`compare_models`: which of two models that both do a task perfectly stands more damage, and from which dose on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rheostat.base.errors import BadArgument, TaskNotUsable
from rheostat.base.shapes import Profile
from rheostat.capture.activations import Activations
from rheostat.impairment.curve import impairment_curves
from rheostat.impairment.dial import Dial
from rheostat.impairment.measured import MeasuredCurve, measured_curves
from rheostat.impairment.scale import measure_scale
from rheostat.impairment.summary import (
    BOUNDS,
    CurveSummary,
    Statistic,
    area,
    difference,
    half_loss,
    interval_of,
    records,
    summarise_curves,
    threshold,
    within_range,
)
from rheostat.models.network import Network
from rheostat.tasks.item import Task, ask

RELATIVE, BY_UNIT, ABSOLUTE, SHARE = "relative", "relative by unit", "absolute", "share"
"""What a dose is counted in: each site's own standard deviation in each model; that of every unit of the site; the
activation's unit; the part that is taken away."""
INTENSITIES = (0.0, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two models under the same damage, on the items that both answer rightly when intact; so both start at 1."""

    models: tuple[str, str]
    task: str
    n_asked: int
    n_right: tuple[int, int]
    """Items that each intact model answers rightly."""
    n_kept: int
    """Items that both do, or as many of them as were wanted; the others are dropped."""
    curves: Mapping[str, tuple[MeasuredCurve, MeasuredCurve]]
    """Unit of the dose → the two models' curves."""
    points: pd.DataFrame
    """Rows {dose, model, intensity, loss, loss_low, loss_high, accuracy, accuracy_low, accuracy_high, n}."""
    table: pd.DataFrame
    """Rows {dose, quantity, first, first_low, first_high, second, …, difference, low, high, sturdier}: each model's
    own; the first's less the second's, on the same items and draws; and the name of the model that stands more, or
    nothing where the interval of the difference includes 0. Quantities are those of `CurveSummary`; larger is sturdier.
    In a difference an intensity that is never reached counts as the largest measured."""
    control: pd.DataFrame
    """Rows {dose, model, quantity, difference, low, high}: each model against itself, one half of the items, with their
    draws, against the other."""
    per_item: bool
    """Whether each group of items was damaged by a draw of its own; else all by each of `n_draws`."""
    n_draws: int
    bounds: tuple[float, ...] = BOUNDS
    """Of the accuracy, at which thresholds were taken."""

    @property
    def doses_agree(self) -> bool:
        """Whether all units of the dose name the same sturdier model, quantity by quantity."""
        return bool((self.table.groupby("quantity")["sturdier"].nunique() == 1).all())

    def value(self, dose: str, quantity: str, column: str) -> float:
        """Return a number of the table.

        Raises:
            BadArgument: it holds no such row.
        """
        rows = self.table[(self.table["dose"] == dose) & (self.table["quantity"] == quantity)]
        if len(rows) != 1:
            raise BadArgument(f"the comparison holds no {quantity!r} in the {dose} dose.")
        return float(rows[column].iloc[0])

    def figure(self, dose: str | None = None) -> Profile:
        """Return both curves in one unit of the dose; None: the first."""
        dose = next(iter(self.curves)) if dose is None else dose
        shown = self.points[self.points["dose"] == dose]
        units = {
            RELATIVE: "intensity (standard deviations of each site in each model)",
            BY_UNIT: "intensity (standard deviations of each unit in each model)",
            ABSOLUTE: "intensity (units of the activation)",
            SHARE: "share of the activation taken away",
        }
        drawn = "each under a draw of its own" if self.per_item else f"each under {self.n_draws} draws"
        return Profile(
            name=re.sub(r"[^A-Za-z0-9]+", "-", f"compare-{self.task}-{dose}"),
            title=f"{self.task} under damage, {dose} dose",
            x_label=units[dose],
            y_label="share of answers that are right",
            table=pd.DataFrame(
                {
                    "x": shown["intensity"],
                    "value": shown["accuracy"],
                    "low": shown["accuracy_low"],
                    "high": shown["accuracy_high"],
                    "series": shown["model"],
                }
            ),
            note=f"n = {self.n_kept} of {self.n_asked} items, those that both intact models answer rightly, {drawn} of "
            "the noise. Bands: 95 % bootstrap intervals.",
            reference={f"bound {place}": bound for place, bound in enumerate(self.bounds, 1)},
        )

    def to_dict(self) -> dict[str, object]:
        """Return JSON-able values; an intensity that is never reached is None."""
        return {
            "models": list(self.models),
            "task": self.task,
            "asked": self.n_asked,
            "right": list(self.n_right),
            "kept": self.n_kept,
            "doses_agree": self.doses_agree,
            "points": records(self.points),
            "quantities": records(self.table),
            "control": records(self.control),
        }


def compare_models(
    first: Network,
    second: Network,
    task: Task,
    intensities: Sequence[float] = INTENSITIES,
    *,
    mode: str = "gaussian",
    kind: str = "mlp_out",
    distribution: str = "normal",
    absolute: Sequence[float] | None = None,
    draws: int | None = None,
    most_items: int | None = None,
    bounds: Sequence[float] = BOUNDS,
    seed: int = 0,
    store: str | Path | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Damage two models alike and compare how long their answers stay right.

    Noise is dosed in three ways: relative to each site's own standard deviation in each model, which models of
    different width need; to that of every unit, which differs where a few units are far larger than the rest; and in
    units of the activation. They may name different models; then `doses_agree` is false, and that is a finding.

    Args:
        first: a language model.
        second: another one. The same one again is the control: it then gets draws of its own.
        task: what is asked; items that one of the intact models does not answer rightly are dropped and counted.
        intensities: of the relative doses, or shares of `magnitude`; ascending, from 0 on.
        mode: `gaussian`, `negative` or `magnitude`; see `Impair`.
        kind: of the sites, in every block.
        distribution: of the noise.
        absolute: intensities of the absolute dose; None: the relative ones times the geometric mean of both models'
            standard deviations over their sites.
        draws: of the noise, each for all items; None: each group of items under a draw of its own, which tells most for
            its cost.
        most_items: the first so many of the items that both answer rightly; None: all.
        bounds: of the accuracy, above 0, at most 1.
        seed: of noise and resampling.
        store: a file that keeps what is computed (see `sweep`).
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Raises:
        TaskNotUsable: fewer than two items are answered rightly by both.
        BadArgument: intensities, draws or bounds lie outside their range.
        SiteNotFound, SiteNotOffered: a model has no such sites.
    """
    right = [_answered(network, task, store, progress) for network in (first, second)]
    kept = _kept(task, right, (first.name, second.name))
    kept = replace(kept, items=kept.items[:most_items])
    n_groups = len({item.group or number for number, item in enumerate(kept.items)})
    n_draws = n_groups if draws is None else draws
    same = first.weight_hash == second.weight_hash
    names = (first.name, f"{second.name}, other draws" if same else second.name)
    doses = _doses(first, second, kept, intensities, mode=mode, kind=kind, distribution=distribution, absolute=absolute)
    curves, points = {}, []
    for dose, (levels, dials) in doses.items():
        found = []
        for place, network in enumerate((first, second)):
            measured = impairment_curves(
                network,
                [kept],
                {names[place]: dials[place]},
                levels,
                draws=n_draws,
                first_draw=n_draws * (place and same),
                crossed=draws is not None,
                seed=seed,
                store=store,
                progress=progress,
            )
            found.append(measured)
        summaries = [summarise_curves(one, bounds=bounds, seed=seed) for one in found]
        curves[dose] = (measured_curves(found[0])[0], measured_curves(found[1])[0])
        points += [_labelled(summary, dose) for summary in summaries]
    statistics = _statistics(bounds, {dose: pair[0].levels[-1] for dose, pair in curves.items()})
    return Comparison(
        names,
        task.name,
        len(task),
        (int(right[0].sum()), int(right[1].sum())),
        len(kept),
        curves,
        pd.concat(points, ignore_index=True),
        pd.DataFrame([_row(dose, curves[dose], name, one, seed) for dose in curves for name, one in statistics[dose]]),
        _control(curves, statistics, seed),
        draws is None,
        n_draws,
        tuple(bounds),
    )


def answered(network: Network, task: Task, *, store: str | Path | None = None, progress: bool | None = None) -> Task:
    """Return the items of a task that the intact network answers rightly.

    Raises:
        TaskNotUsable: there is none.
    """
    return _kept(task, [_answered(network, task, store, progress)], (network.name,), at_least=1)


def halves(curve: MeasuredCurve) -> tuple[MeasuredCurve, MeasuredCurve]:
    """Return the curves of the even and of the odd groups of items.

    Raises:
        BadArgument: there are fewer than two groups.
    """
    even = np.arange(len(curve.groups)) % 2 == 0
    return curve.part(even), curve.part(~even)


def typical_spread(scales: Sequence[Activations]) -> float:
    """Return the geometric mean of the standard deviations of all sites of all models, as `measure_scale` found them.

    Raises:
        BadArgument: some site never varies.
    """
    spreads = [float(scale[site].square().mean().sqrt()) for scale in scales for site in scale]
    if min(spreads) <= 0:
        raise BadArgument("at some site the activations never vary, so that no dose can be relative to them.")
    return float(np.exp(np.mean(np.log(spreads))))


# --- inside -----------------------------------------------------------------------------------------------------------


def _answered(network: Network, task: Task, store: str | Path | None, progress: bool | None) -> "np.ndarray":
    table = impairment_curves(network, [task], {}, [0.0], store=store, progress=progress)
    return np.asarray(table.sort_values("item")["right"] == 1)


def _kept(task: Task, right: Sequence["np.ndarray"], names: Sequence[str], *, at_least: int = 2) -> Task:
    both = np.logical_and.reduce(right)
    if both.sum() < at_least:
        counts = ", ".join(f"{name} {int(one.sum())}" for name, one in zip(names, right, strict=True))
        raise TaskNotUsable(
            f"the task {task.name!r} cannot be used: of its {len(task)} items the intact models answer rightly: "
            f"{counts}" + (f"; both {int(both.sum())}" if len(names) > 1 else "") + ". Give a task that they can do."
        )
    return Task(task.name, tuple(item for item, taken in zip(task.items, both, strict=True) if taken))


def _doses(
    first: Network,
    second: Network,
    task: Task,
    intensities: Sequence[float],
    *,
    mode: str,
    kind: str,
    distribution: str,
    absolute: Sequence[float] | None,
) -> dict[str, tuple[Sequence[float], tuple[Dial, Dial]]]:
    """Return, per unit of the dose, the intensities and each model's dial."""
    plain = Dial(mode, kind, distribution=distribution)
    if mode == "magnitude":
        if absolute is not None:
            raise BadArgument("magnitude takes away a share of the activation; leave the absolute intensities out.")
        return {SHARE: (intensities, (plain, plain))}
    sites = f"blocks.*.{kind}"
    rows = [ask(one, task.items).rows for one in (first, second)]
    scales = [
        [measure_scale(one, texts, sites, per_unit=per_unit) for one, texts in zip((first, second), rows, strict=True)]
        for per_unit in (False, True)
    ]
    relative, by_unit = ([Dial(mode, kind, distribution=distribution, scale=one) for one in both] for both in scales)
    levels = [float(one) * typical_spread(scales[0]) for one in intensities] if absolute is None else absolute
    return {
        RELATIVE: (intensities, (relative[0], relative[1])),
        BY_UNIT: (intensities, (by_unit[0], by_unit[1])),
        ABSOLUTE: (levels, (plain, plain)),
    }


def _statistics(bounds: Sequence[float], largest: Mapping[str, float]) -> dict[str, list[tuple[str, Statistic]]]:
    return {
        dose: [
            *((f"below {bound:g}", threshold(bound)) for bound in bounds),
            ("half loss", half_loss),
            ("area", area((0.0, most))),
        ]
        for dose, most in largest.items()
    }


def _row(
    dose: str, pair: tuple[MeasuredCurve, MeasuredCurve], quantity: str, statistic: Statistic, seed: int
) -> dict[str, object]:
    row: dict[str, object] = {"dose": dose, "quantity": quantity}
    for place, curve in zip(("first", "second"), pair, strict=True):
        own = interval_of(curve, statistic, seed=seed)
        row |= {place: own.value, f"{place}_low": own.low, f"{place}_high": own.high}
    between = difference(*pair, within_range(statistic), seed=seed)
    sturdier = pair[0].dial if between.low > 0 else pair[1].dial if between.high < 0 else ""
    return {**row, "difference": between.value, "low": between.low, "high": between.high, "sturdier": sturdier}


def _control(
    curves: Mapping[str, tuple[MeasuredCurve, MeasuredCurve]],
    statistics: Mapping[str, list[tuple[str, Statistic]]],
    seed: int,
) -> pd.DataFrame:
    """Return each model against itself, half of the items against the other half."""
    rows = []
    for dose, pair in curves.items():
        for curve in pair:
            for quantity, statistic in statistics[dose]:
                found = difference(*halves(curve), within_range(statistic), seed=seed)
                ends = {"difference": found.value, "low": found.low, "high": found.high}
                rows.append({"dose": dose, "model": curve.dial, "quantity": quantity, **ends})
    return pd.DataFrame(rows)


def _labelled(summary: CurveSummary, dose: str) -> pd.DataFrame:
    points = summary.points.rename(columns={"dial": "model"}).drop(columns="task")
    points.insert(0, "dose", dose)
    return points
