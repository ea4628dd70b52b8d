"""Intervals cover and correlations find what was planted."""

import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from rheostat.base.errors import BadArgument
from rheostat.metrics.statistics import (
    Interval,
    auroc,
    auroc_interval,
    bootstrap,
    bootstrap_auroc,
    bootstrap_mean,
    bootstrap_weights,
    cluster_spearman,
    paired_difference,
    partial_spearman,
    share_interval,
    shuffled_control,
    spearman,
)


def test_the_interval_of_a_mean_covers_the_truth_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for sample in range(400):
        interval = bootstrap_mean(rng.normal(3.0, 2.0, size=50), seed=sample, draws=500)
        covered += interval.low <= 3.0 <= interval.high
    assert 0.91 <= covered / 400 <= 0.975


def test_the_general_bootstrap_agrees_with_the_fast_one() -> None:
    values = np.random.default_rng(2).normal(size=40)
    general = bootstrap(lambda drawn: float(drawn.mean()), values, seed=0)
    fast = bootstrap_mean(values, seed=0)
    assert general.value == pytest.approx(fast.value)
    assert general.low == pytest.approx(fast.low, abs=0.03)
    assert general.high == pytest.approx(fast.high, abs=0.03)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(3).normal(size=30)
    assert bootstrap_mean(values, seed=5) == bootstrap_mean(values, seed=5)
    assert bootstrap_mean(values, seed=5) != bootstrap_mean(values, seed=6)


def test_pairing_finds_a_small_shift_that_the_spread_would_hide() -> None:
    rng = np.random.default_rng(4)
    control = rng.normal(0, 10, size=40)
    effect = control + 0.5 + rng.normal(0, 0.3, size=40)
    assert paired_difference(effect, control, seed=0).above_zero
    assert not paired_difference(effect, rng.permutation(control), seed=0).above_zero


def test_spearman_equals_scipys_with_ties() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 5, size=(3, 60)).astype(float), rng.normal(size=(3, 60))
    expected = [spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    assert spearman(x, y) == pytest.approx(expected)


def test_a_constant_row_correlates_with_nothing() -> None:
    assert spearman(np.ones((1, 5)), np.arange(5.0)[None]) == pytest.approx([0.0])


def test_the_partial_correlation_removes_a_common_cause_and_keeps_a_direct_one() -> None:
    rng = np.random.default_rng(6)
    depth = np.repeat(np.arange(30.0), 20)
    x, y = depth + rng.normal(0, 6, size=600), depth + rng.normal(0, 6, size=600)
    assert spearman(x, y) > 0.5
    assert abs(partial_spearman(x, y, depth[None])) < 0.1
    assert partial_spearman(x, x + rng.normal(0, 6, size=600) + depth, depth[None]) > 0.5


def test_the_cluster_interval_finds_a_planted_correlation_and_its_shuffle_none() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(25, 120))
    y = 0.5 * x + rng.normal(0, np.sqrt(0.75), size=(25, 120))
    interval = cluster_spearman(x, y, seed=0)
    assert interval.low < 6 / np.pi * np.arcsin(0.5 / 2) < interval.high
    assert np.abs(shuffled_control(x, y, seed=0)).max() < 0.05


def test_cells_of_one_prompt_do_not_count_as_independent_observations() -> None:
    rng = np.random.default_rng(8)
    per_prompt = np.repeat(rng.normal(size=(8, 1)), 100, axis=1)
    few = bootstrap(lambda drawn: float(drawn.mean()), per_prompt, seed=0)
    many = bootstrap_mean(per_prompt.ravel(), seed=0)
    assert (few.high - few.low) > 5 * (many.high - many.low)


def test_all_draws_at_once_give_the_interval_of_one_by_one() -> None:
    groups = np.random.default_rng(9).normal(0.3, 1, size=(30, 2))
    slow = bootstrap(lambda drawn: float(drawn[:, 0].sum() / np.abs(drawn[:, 1]).sum()), groups, seed=4)
    fast = bootstrap_weights(lambda weights: weights @ groups[:, 0] / (weights @ np.abs(groups[:, 1])), 30, seed=4)
    assert fast.value == pytest.approx(slow.value)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.02)


def test_an_infinite_unit_reaches_the_end_of_the_interval_and_one_that_is_nan_is_refused() -> None:
    found = bootstrap_mean([0.1, 0.2, 0.3, 0.2, np.inf], seed=0)
    assert (found.value, found.high) == (np.inf, np.inf)
    assert 0.1 <= found.low < 0.3
    with pytest.raises(BadArgument, match="1 of 5 units are NaN"):
        bootstrap_mean([0.1, 0.2, 0.3, 0.2, np.nan], seed=0)
    unknown = bootstrap(lambda drawn: float("nan") if drawn.min() > 1 else float(drawn.mean()), np.arange(4.0), seed=0)
    assert np.isfinite([unknown.low, unknown.high]).all(), "draws that are NaN are left out"


def test_a_share_whose_units_all_agree_has_the_exact_interval() -> None:
    for n, right in ((3, 3), (12, 0)):
        found = share_interval(bootstrap_mean([float(right > 0)] * n, seed=0))
        exact = binomtest(right, n).proportion_ci(method="exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-9)
    mixed = bootstrap_mean([1.0, 0.0, 1.0], seed=0)
    assert share_interval(mixed) == mixed
    two = share_interval(bootstrap_mean([1.0, 0.0], seed=0))
    assert two.value == 0.5 and np.isnan([two.low, two.high]).all()


def test_an_exact_auroc_covers_the_truth_where_the_bootstrap_never_does() -> None:
    rng = np.random.default_rng(10)
    labels = np.tile([True, False], 6)
    truth = 0.9214  # of two normals two standard deviations apart
    samples = rng.normal(2.0 * labels, 1.0, size=(60, 12))
    perfect = samples[auroc(samples, np.tile(labels, (60, 1))) == 1]
    assert len(perfect) > 5
    for scores in perfect:
        exact, drawn = (way(scores, labels, range(12), seed=0) for way in (auroc_interval, bootstrap_auroc))
        assert exact.low <= truth <= exact.high
        assert (drawn.low, drawn.high) == (1, 1)


def test_an_auroc_of_scores_that_are_nan_is_refused() -> None:
    labels = np.array([True, True, False, False])
    with pytest.raises(BadArgument, match="1 of 4 scores are NaN"):
        bootstrap_auroc(np.array([1.0, np.nan, 0.0, 0.5]), labels, range(4), seed=0)


def test_an_interval_needs_two_units() -> None:
    with pytest.raises(BadArgument, match="at least 2 units"):
        bootstrap_weights(lambda weights: weights.sum(-1), 1, seed=0)
    with pytest.raises(BadArgument, match="at least 2 units"):
        bootstrap_mean([1.0], seed=0)
    with pytest.raises(BadArgument, match="equal lengths"):
        paired_difference([1.0, 2.0], [1.0], seed=0)


def test_an_interval_is_said_in_one_line() -> None:
    assert str(Interval(0.1234, 0.05, 0.2, 40)) == "0.123 [0.05, 0.2], n = 40"
