"""What is read off curves: planted thresholds and areas are found, and intervals cover what they should."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from rheostat.base.errors import BadArgument
from rheostat.impairment.measured import area_under, comes_back, first_below, measured_curves
from rheostat.impairment.summary import (
    area,
    difference,
    half_loss,
    interval_of,
    summarise_curves,
    threshold,
    within_range,
)
from rheostat.report.figures import png
from tests.impairment.conftest import planted, thresholds


def quantity(table: pd.DataFrame, name: str) -> "pd.Series[float]":
    return table.set_index("quantity").loc[name]


def falling(item: int, draw: int, level: float) -> float:
    """All right up to 0.1, half at 0.2, none from 0.4 on."""
    return float(level < 0.15 or (level < 0.3 and item % 2 == 0))


def test_planted_thresholds_and_area_are_found():
    found = summarise_curves(planted(falling), bounds=(0.9, 0.5, 0.25))
    assert found.points["accuracy"].tolist() == [1, 1, 0.5, 0, 0]
    assert quantity(found.table, "below 0.9")["value"] == pytest.approx(0.12)
    assert quantity(found.table, "below 0.5")["value"] == pytest.approx(0.2)
    assert quantity(found.table, "below 0.25")["value"] == pytest.approx(0.3)
    assert quantity(found.table, "half damage")["value"] == pytest.approx(0.2)
    assert quantity(found.table, "half loss")["value"] == pytest.approx(0.4)
    assert quantity(found.table, "area")["value"] == pytest.approx((0.1 + 0.075 + 0.05) / 0.8)
    assert not found.table["comes_back"].any()


def test_half_damage_is_half_way_to_chance():
    to_half = planted(lambda item, draw, level: float(level < 0.15 or item % 2 == 0))
    found = summarise_curves(to_half, chance=0.5)
    assert quantity(found.table, "half damage")["value"] == pytest.approx(0.15)
    assert math.isinf(quantity(summarise_curves(to_half).table, "half damage")["value"])
    assert found.figure().reference == {"chance": 0.5}


def test_an_area_is_taken_over_the_range_that_was_asked_for():
    found = summarise_curves(planted(falling), over=(0.15, 0.3))
    assert found.over == (0.15, 0.3)
    assert quantity(found.table, "area")["value"] == pytest.approx(((0.75 + 0.5) / 2 * 0.05 + 0.375 * 0.1) / 0.15)
    whole = area_under((0.0, 1.0), np.array([[1.0, 0.0], [1.0, 1.0]]), (0.0, 1.0))
    assert whole.tolist() == [0.5, 1.0]
    for over in ((0.0, 0.9), (0.3, 0.3), (-0.1, 0.2)):
        with pytest.raises(BadArgument, match="within the intensities measured"):
            summarise_curves(planted(falling), over=over)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([1.0, 1.0, 1.0], math.inf),
        ([0.3, 0.2, 0.1], 0.0),
        ([1.0, 0.5, 0.0], 1.0),
        ([1.0, 0.4, 0.8], 0.5 / 0.6),
        ([1.0, 0.5, 0.5], math.inf),
    ],
    ids=["never", "at once", "between", "and comes back", "touches"],
)
def test_the_first_crossing_counts(means: list[float], expected: float):
    assert first_below((0.0, 1.0, 2.0), np.array([means]), 0.5)[0] == pytest.approx(expected)
    assert comes_back(np.array(means), 0.5) == (means == [1.0, 0.4, 0.8])


def test_a_curve_that_comes_back_says_so():
    found = summarise_curves(planted(lambda item, draw, level: float(not 0.15 < level < 0.3)))
    row = quantity(found.table, "below 0.9")
    assert row["value"] == pytest.approx(0.11)
    assert row["comes_back"]


def test_never_is_infinite_in_the_table_and_null_in_json():
    found = summarise_curves(planted(lambda *_: 1.0))
    assert quantity(found.table, "below 0.9")[["value", "low", "high"]].tolist() == [math.inf] * 3
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["value"] for row in plain["quantities"] if row["quantity"] == "below 0.9"] == [None]
    assert plain["points"][0]["accuracy"] == 1.0


@pytest.mark.parametrize("change", [{"n_items": 1}, {"n_items": 6, "per_group": 6}], ids=["one item", "one group"])
def test_one_group_has_values_and_no_interval(change: dict[str, int]):
    found = summarise_curves(planted(falling, **change))
    assert found.points["accuracy"].notna().all()
    assert found.points[["accuracy_low", "accuracy_high"]].isna().all(axis=None)
    assert math.isnan(quantity(found.table, "area")["low"])


def test_an_interval_covers_the_mean_of_the_population():
    """Of 100 samples, about 95 % of the intervals must hold the true area; items and draws both vary."""
    x = np.array([0.0, 0.2, 0.4, 0.6, 0.8])
    shares = [1.0, *(1 - 0.5 * (1 + math.erf((level - 0.4) / math.hypot(0.2, 0.05) / math.sqrt(2))) for level in x[1:])]
    truth = float(np.trapezoid(shares, x) / 0.8)
    held = 0
    for seed in range(100):
        breaks = thresholds(30, seed, spread=0.2)
        shift = np.random.default_rng(1000 + seed).normal(0, 0.05, size=8)
        table = planted(
            lambda item, draw, level: float(level == 0 or level < breaks[item] + shift[draw]),  # noqa: B023
            n_items=30, levels=x[1:], draws=8,
        )  # fmt: skip
        (curve,) = measured_curves(table)
        means, weights = area((0.0, 0.8)), curve.weights(seed=seed, n=200)
        low, high = np.quantile(means(curve, weights), [0.025, 0.975])
        held += low <= truth <= high
    assert 89 <= held <= 100


def test_draws_that_differ_widen_the_interval_and_own_draws_do_not_count_twice():
    breaks = thresholds(40, 0)
    shift = np.random.default_rng(1).normal(0, 0.15, size=6)
    calm = planted(lambda item, draw, level: float(level < breaks[item]), draws=6)
    stormy = planted(lambda item, draw, level: float(level == 0 or level < breaks[item] + shift[draw]), draws=6)
    widths = [
        interval.high - interval.low
        for interval in (interval_of(measured_curves(one)[0], area((0.0, 0.8))) for one in (calm, stormy))
    ]
    assert widths[1] > 1.3 * widths[0]
    (own,) = measured_curves(planted(lambda item, draw, level: float(level < breaks[item]), own_draws=True))
    assert own.draws_are_groups
    assert (own.weights(seed=0).of_draws == 1).all()
    alone = interval_of(own, area((0.0, 0.8)))
    assert alone.high - alone.low == pytest.approx(widths[0], rel=0.15)


def test_groups_are_resampled_and_not_items():
    breaks = thresholds(10, 0)
    (single,) = measured_curves(planted(lambda item, draw, level: float(level < breaks[item % 10]), n_items=40))
    by_group = planted(lambda item, draw, level: float(level < breaks[item // 4]), n_items=40, per_group=4)
    (grouped,) = measured_curves(by_group)
    assert (len(single.groups), len(grouped.groups), grouped.n_items) == (40, 10, 40)
    one, other = (interval_of(curve, area((0.0, 0.8))) for curve in (single, grouped))
    assert other.value == pytest.approx(one.value)
    assert other.high - other.low > 1.6 * (one.high - one.low)


def test_a_difference_is_paired_where_items_are_the_same():
    breaks = thresholds(40, 0, spread=0.2)
    first = planted(lambda item, draw, level: float(level == 0 or level < breaks[item]))
    second = planted(lambda item, draw, level: float(level == 0 or level < 0.5 * breaks[item]), dial="weaker")
    (one,), (other,) = measured_curves(first), measured_curves(second)
    found = difference(one, other, area((0.0, 0.8)))
    assert found.value == pytest.approx(
        interval_of(one, area((0.0, 0.8))).value - interval_of(other, area((0.0, 0.8))).value
    )
    assert found.above_zero
    same = difference(one, one, within_range(threshold(0.5)))
    assert (same.low, same.value, same.high) == (0, 0, 0)
    (elsewhere,) = measured_curves(planted(lambda item, draw, level: float(level < breaks[item]), task="other"))
    apart = difference(one, elsewhere, area((0.0, 0.8)))
    assert apart.low < 0 < apart.high
    assert apart.high - apart.low > 0.01


def test_within_range_replaces_never_by_the_largest_intensity():
    (never,) = measured_curves(planted(lambda *_: 1.0))
    assert within_range(threshold(0.9))(never, None).tolist() == [0.8]
    assert half_loss(never, None)[0] == pytest.approx(0.4)


def test_a_part_of_a_curve_holds_its_groups_alone():
    (curve,) = measured_curves(planted(lambda item, draw, level: float(item < 10), n_items=20, own_draws=True))
    first = curve.part(np.arange(20) < 10)
    assert first.means("accuracy")[0].tolist() == [1.0] * 5
    assert curve.means("accuracy")[0].tolist() == [0.5] * 5
    assert first.counts.shape == (10, 10)
    with pytest.raises(BadArgument, match="without any group"):
        curve.part(np.zeros(20, dtype=bool))


def test_a_figure_shows_every_task_with_intervals():
    both = pd.concat([planted(falling), planted(lambda *_: 1.0, task="calm")], ignore_index=True)
    profile = summarise_curves(both).figure("loss")
    assert profile.table["series"].unique().tolist() == ["task", "calm"]
    assert profile.table["value"].tolist()[:5] == [1, 2, 3, 5, 9]
    assert png(profile).startswith(b"\x89PNG")


def test_bad_settings_and_tables_are_refused():
    table = planted(falling)
    with pytest.raises(BadArgument, match="from 0 to 1"):
        summarise_curves(table, bounds=(1.2,))
    with pytest.raises(BadArgument, match="holds no dial"):
        summarise_curves(table[table["dial"] == ""])
    with pytest.raises(BadArgument, match="not every item"):
        summarise_curves(table.drop(index=table.index[-1]))
