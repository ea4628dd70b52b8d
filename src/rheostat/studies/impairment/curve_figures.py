"""Figures of graded damage: loss and accuracy over intensity, by site, by topic and by size of the cluster."""

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.impairment import gradedness as of
from rheostat.studies.impairment.graded import Graded
from rheostat.studies.impairment.kinds_of_damage import BESIDE, DISTRIBUTIONS, MAIN, SHIFT, SIZES, Damage

INTENSITY = "intensity (standard deviations of the site)"
SHARE_LEFT_OUT = "share of the activation that is taken away"
LOSS, RIGHT = "mean loss on the keyword (nats)", "share of keywords right"
Quantity = Literal["loss", "right"]


def figures_of(name: str, graded: Graded, seed: int) -> list[Figure]:
    """Return the figures of one model."""
    measured = set(graded.table["damage"])
    figures: list[Figure] = []
    for mode in ("gaussian", "negative", "magnitude"):
        damages = [one for one in MAIN if one.mode == mode]
        lines = _lines(graded, [(one.kind, one, None) for one in damages], "loss", seed)
        figures.append(_profile(f"{mode}-{name}", f"{mode}, 2 % of units, {name}", mode, LOSS, lines))
    damages = [one for one in MAIN if one.mode == "gaussian"]
    lines = _lines(graded, [(one.kind, one, None) for one in damages], "right", seed)
    figures.append(_profile(f"accuracy-{name}", f"gaussian, 2 % of units, {name}", "gaussian", RIGHT, lines))
    topics = sorted(graded.table["topic"].unique())
    for damage in MAIN:
        lines = _lines(graded, [(topic, damage, topic) for topic in topics], "loss", seed)
        stem = f"topics-{damage.mode}-{damage.kind.replace('_', '-')}-{name}"
        if lines.empty:
            continue
        figures.append(_profile(stem, f"{damage.label}, per topic, {name}", damage.mode, LOSS, lines))
    if BESIDE[0].label in measured:
        figures += _beside(name, graded, seed)
    return figures


def _beside(name: str, graded: Graded, seed: int) -> list[Figure]:
    """Return what a full run measures besides: distributions, the shift of negative noise, larger clusters."""
    site = "mlp_out"
    noises = [one for one in (*MAIN, *DISTRIBUTIONS) if one.mode == "gaussian" and one.kind == site]
    shifts = [Damage(mode, site) for mode in ("gaussian", "negative", SHIFT)]
    sizes = [one for one in (*MAIN, *SIZES) if one.mode == "magnitude" and one.kind == site]
    absolute = [BESIDE[-1]]
    return [
        _profile(
            f"distributions-{name}",
            f"Three readings of the noise, 2 % of {site}, {name}",
            "gaussian",
            LOSS,
            _lines(graded, [(one.distribution, one, None) for one in noises], "loss", seed),
        ),
        _profile(
            f"shift-{name}",
            f"Negative noise, its shift alone, and noise alone, 2 % of {site}, {name}",
            "negative",
            LOSS,
            _lines(graded, [(one.mode, one, None) for one in shifts], "loss", seed),
        ),
        _profile(
            f"sizes-{name}",
            f"Magnitude, larger clusters, {site}, {name}",
            "magnitude",
            LOSS,
            _lines(graded, [(f"{100 * one.share:g} % of units", one, None) for one in sizes], "loss", seed),
        ),
        _profile(
            f"absolute-{name}",
            f"Noise of the same size in every block, 2 % of {site}, {name}",
            "absolute",
            LOSS,
            _lines(graded, [("normal, absolute", one, None) for one in absolute], "loss", seed),
        ),
    ]


def _lines(
    graded: Graded, named: Sequence[tuple[str, Damage, str | None]], quantity: Quantity, seed: int
) -> pd.DataFrame:
    """Return a profile's table: a line per name, damage and topic (None: all), on the prompts of its own suite."""
    rows = []
    for name, damage, topic in named:
        (suite,) = graded.table.loc[graded.table["damage"] == damage.label, "suite"].unique()
        here = graded.table[graded.table["suite"] == suite]
        if topic is not None and here.loc[here["topic"] == topic, "draw"].nunique() < 2:
            continue  # of a quick run: one draw has no interval
        one = of.curve_of(here, damage.label, topic=topic)
        for level, intensity in enumerate(one.intensities):

            def at(weights: Values, level: int = level, one: of.Curve = one) -> Values:
                means = one.mean_losses(weights) if quantity == "loss" else one.accuracies(weights)
                return means[:, level]

            found = one.interval(at, seed)
            rows.append({"x": intensity, "value": found.value, "low": found.low, "high": found.high, "series": name})
    return pd.DataFrame(rows, columns=["x", "value", "low", "high", "series"])


def _profile(stem: str, title: str, mode: str, what: str, table: pd.DataFrame) -> Profile:
    x_label = {"magnitude": SHARE_LEFT_OUT, "absolute": "intensity (units of the activation)"}.get(mode, INTENSITY)
    return Profile(
        name=f"graded-{stem}",
        title=title,
        x_label=x_label,
        y_label=what,
        table=table,
        note="95 % bootstrap intervals over draws of the noise with their articles; at 0, the intact model.",
    )
