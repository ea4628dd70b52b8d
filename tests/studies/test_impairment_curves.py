"""The parts on fragility and on two models find what is planted, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from rheostat.impairment.measured import measured_curves
from rheostat.impairment.summary import half_damage
from rheostat.studies.impairment import fragility
from rheostat.studies.impairment.choosing import extremes, itself, more_fragile, sturdier
from rheostat.studies.impairment.fragility import LEVELS, NOISE, SHRINK, log_half, matched
from tests.impairment.conftest import planted, thresholds


def abilities(breaks_at: dict[str, float], seed: int = 0) -> pd.DataFrame:
    """Return a table of tasks whose items break around an intensity each, under both dials."""
    tables = []
    for number, (task, mean) in enumerate(breaks_at.items()):
        breaks = mean * 2 ** (0.5 * thresholds(48, seed + number, mean=0, spread=1))
        for dial in (NOISE, SHRINK):
            table = planted(
                lambda item, draw, level: float(level == 0 or level < breaks[item]),  # noqa: B023
                n_items=48, levels=LEVELS[1:], own_draws=True, task=task, dial=dial,
            )  # fmt: skip
            tables.append(table if dial == NOISE else table[table["dial"] != ""])
    return pd.concat(tables, ignore_index=True)


def test_a_fragile_ability_is_found_and_equal_ones_are_not_told_apart():
    part = fragility.judged({"toy": abilities({"a": 0.05, "b": 0.2, "c": 0.2})}, 0)
    (verdict,) = part.verdicts
    assert verdict.verdict == "reproduced"
    assert verdict.measurements[0].effect == pytest.approx(2, abs=0.4)
    assert abs(verdict.measurements[0].control) < 0.4
    (same,) = fragility.judged({"toy": abilities({"a": 0.1, "b": 0.1, "c": 0.1})}, 0).verdicts
    assert same.verdict == "not"
    table = part.tables["half-damage"]
    assert set(table["quantity"]) == {"half damage", "half loss"}
    assert len(part.figures) == 2


def test_the_choice_does_not_take_part_in_the_report():
    curves = {one.task: one for one in measured_curves(abilities({"a": 0.1, "b": 0.1}))[::2]}
    means = [extremes(curves, log_half, seed)[0][0] for seed in range(2)]
    assert means[0] == means[1]
    equal = []
    for seed in range(20):
        table = abilities({"a": 0.1, "b": 0.1, "c": 0.1, "d": 0.1}, seed=10 * seed)
        own = {one.task: one for one in measured_curves(table) if one.dial == NOISE}
        equal.append(extremes(own, log_half, 0)[0][0])
    assert abs(np.mean(equal)) < 2.5 * np.std(equal) / np.sqrt(20)


def test_a_model_is_told_from_one_that_stands_half_as_much_and_not_from_itself():
    curve = measured_curves(abilities({"a": 0.1}))[0]
    value, drawn = sturdier(curve, more_fragile(curve), log_half, 0)
    assert value == pytest.approx(1, abs=0.1)
    assert np.quantile(drawn, 0.025) > 0
    reversed_value, _ = sturdier(more_fragile(curve), curve, log_half, 0)
    assert reversed_value == pytest.approx(value)
    own = [measured_curves(abilities({"a": 0.1}, seed=seed))[0] for seed in range(20)]
    controls = [itself([one], log_half, 0)[0] for one in own]
    assert abs(np.mean(controls)) < 2.5 * np.std(controls) / np.sqrt(20)


def test_a_more_fragile_curve_is_ahead_by_one_intensity():
    curve = measured_curves(abilities({"a": 0.1}))[0]
    ahead = more_fragile(curve).means("accuracy")[0]
    assert ahead[0] == 1
    assert ahead[1:-1].tolist() == curve.means("accuracy")[0][2:].tolist()
    assert half_damage()(more_fragile(curve), None)[0] < half_damage()(curve, None)[0]


def test_matched_items_are_pairs_of_nearly_equal_intact_loss():
    table = abilities({"a": 0.1, "b": 0.1})
    rng = np.random.default_rng(0)
    for task, mean in (("a", 1.0), ("b", 2.0)):
        here = (table["task"] == task) & (table["dial"] == "")
        table.loc[here, "loss"] = rng.normal(mean, 0.7, size=int(here.sum()))
    intact = matched(table, "a", "b", 0)
    intact = intact[intact["dial"] == ""]
    counts = intact.groupby("task").size()
    assert counts["a"] == counts["b"] >= 10
    means = intact.groupby("task")["loss"].mean()
    assert abs(means["a"] - means["b"]) < 0.5
