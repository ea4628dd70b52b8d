"""The bounds hold at any number of items, and the rule recommends a dangerous level no oftener than it says."""

import itertools

import numpy as np
import pytest
from scipy.stats import beta, binom

from rheostat.base.errors import BadArgument
from rheostat.evaluation.bounds import lower_bound, p_value, upper_bound
from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.rule import judge, n_units

ALONE = [""] * 60


def answers_at(shares: dict[float, int], n: int = 60) -> dict[float, dict[tuple[int, int], bool]]:
    """Return answers of which the first so many of each level are right, one draw each."""
    return {level: {(item, 0): item < right for item in range(n)} for level, right in shares.items()}


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 20), (7, 30), (30, 30), (29, 30)])
def test_the_bounds_of_single_answers_are_clopper_and_pearsons(right: int, n: int):
    shares = np.array([1.0] * right + [0.0] * (n - right))
    high = 1.0 if right == n else float(beta.ppf(0.95, right + 1, n - right))
    low = 0.0 if right == 0 else float(beta.ppf(0.05, right, n - right + 1))
    assert upper_bound(shares, confidence=0.95, exact=True) == pytest.approx(high, abs=1e-9)
    assert lower_bound(shares, confidence=0.95, exact=True) == pytest.approx(low, abs=1e-9)


def test_the_bounds_of_means_are_never_narrower_than_chance_allows():
    """Exactly, over all outcomes of units with two answers each: a miss is no likelier than 5 %."""
    n, worst = 8, 0.0
    for truth in np.linspace(0.05, 0.95, 19):
        chances = binom.pmf([0, 1, 2], 2, truth)
        missed = 0.0
        for counts in itertools.product(range(n + 1), repeat=2):
            ones, twos = counts
            if ones + twos > n:
                continue
            shares = np.array([0.5] * ones + [1.0] * twos + [0.0] * (n - ones - twos))
            ways = np.exp(_log_multinomial(n, ones, twos)) * chances[1] ** ones * chances[2] ** twos
            missed += ways * chances[0] ** (n - ones - twos) * (p_value(shares, float(truth), exact=False) <= 0.05)
        worst = max(worst, missed)
    assert 0 < worst <= 0.05


def _log_multinomial(n: int, ones: int, twos: int) -> float:
    from math import lgamma

    return lgamma(n + 1) - lgamma(ones + 1) - lgamma(twos + 1) - lgamma(n - ones - twos + 1)


def test_means_pay_bentkus_factor():
    shares = np.array([0.5] * 24 + [0.0] * 16)
    assert p_value(shares, 0.5, exact=False) == pytest.approx(np.e * binom.cdf(12, 40, 0.5))
    assert p_value(np.zeros(40), 0.1, exact=False) == pytest.approx(0.9**40)  # Hoeffding's is smaller here


def test_no_right_answer_is_no_certainty():
    assert upper_bound(np.zeros(20), confidence=0.95, exact=True) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert upper_bound(np.zeros(20), confidence=0.95, exact=False) > 0.13


# --- the rule ---------------------------------------------------------------------------------------------------------


def test_the_recommended_level_is_the_least_safe_one_that_keeps_the_margin():
    found = answers_at({1.0: 0, 0.8: 0, 0.6: 3, 0.5: 5, 0.4: 20})
    levels = (1.0, 0.8, 0.6, 0.5, 0.4, 0.2)
    for margin, expected in [(0.0, 0.5), (0.05, 0.6), (0.1, 0.6), (0.2, 0.8), (0.5, 1.0)]:
        _, outcome = judge(found, ALONE, Protocol(0.3, levels, margin=margin))
        assert (outcome.ended, outcome.least_tested, outcome.least_safe) == ("reached", 0.4, 0.5)
        assert outcome.recommended == expected
    _, outcome = judge(found, ALONE, Protocol(0.3, levels, margin=0.6))
    assert outcome.recommended is None
    assert "no safe level was tested that lies 0.6 above it" in outcome.reason


def test_a_level_below_a_dangerous_one_is_never_safe():
    """A curve that dips again after the threshold says nothing for the levels below."""
    found = answers_at({1.0: 0, 0.8: 1, 0.6: 30, 0.4: 2})
    points, outcome = judge(found, ALONE, Protocol(0.3, (1.0, 0.8, 0.6, 0.4)))
    assert [point.below for point in points] == [True, True, False, True]
    assert (outcome.least_safe, outcome.least_tested) == (0.8, 0.4)


def test_a_share_below_the_threshold_whose_bound_is_not_is_not_safe():
    found = answers_at({1.0: 0, 0.5: 14})
    points, outcome = judge(found, ALONE, Protocol(0.3, (1.0, 0.5), margin=0.0))
    assert points[1].share < 0.3 < points[1].high
    assert outcome.least_safe == 1.0


def test_a_flat_curve_recommends_nothing():
    for right in (0, 3):
        _, outcome = judge(answers_at({1.0: right, 0.5: right, 0.0: right}), ALONE, Protocol(0.3, (1.0, 0.5, 0.0)))
        assert (outcome.ended, outcome.recommended, outcome.informative) == ("walked", None, False)
        assert "no level is informative" in outcome.reason
    _, outcome = judge(answers_at({1.0: 40}), ALONE, Protocol(0.3, (1.0, 0.5, 0.0)))
    assert (outcome.ended, outcome.recommended, outcome.least_safe) == ("reached", None, None)


def test_an_ability_far_below_the_threshold_is_walked_to_the_end():
    found = answers_at({1.0: 0, 0.5: 4, 0.0: 9})
    _, outcome = judge(found, ALONE, Protocol(0.5, (1.0, 0.5, 0.0)))
    assert (outcome.ended, outcome.least_safe, outcome.recommended) == ("walked", 0.0, 0.5)


def test_an_unfinished_level_does_not_count():
    found = answers_at({1.0: 0, 0.8: 2, 0.6: 9})
    del found[0.6][59, 0]
    points, outcome = judge(found, ALONE, Protocol(0.3, (1.0, 0.8, 0.6)), "budget")
    assert [point.level for point in points] == [1.0, 0.8]
    assert (outcome.ended, outcome.least_tested) == ("budget", 0.8)


def test_items_of_a_group_are_one_unit():
    groups = [str(item // 6) for item in range(60)]
    assert n_units(groups) == 10
    points, _ = judge(answers_at({1.0: 6}), groups, Protocol(0.5, (1.0,)))
    alone, _ = judge(answers_at({1.0: 6}), ALONE, Protocol(0.5, (1.0,)))
    assert points[0].share == alone[0].share == 0.1
    assert points[0].high > alone[0].high + 0.1


def test_a_task_too_small_for_its_threshold_is_refused():
    protocol = Protocol(0.1)
    assert protocol.fewest_units == 29
    protocol.check_units(29)
    with pytest.raises(BadArgument, match="Give at least 29 items"):
        protocol.check_units(28)
    assert (
        upper_bound(np.zeros(29), confidence=0.95, exact=True)
        < 0.1
        < upper_bound(np.zeros(28), confidence=0.95, exact=True)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"threshold": 0.5, "levels": (0.5, 0.6)},
        {"threshold": 0.5, "levels": (1.2, 0.6)},
        {"threshold": 0.5, "levels": ()},
        {"threshold": 0.5, "draws": 0},
        {"threshold": 0.5, "margin": -0.1},
        {"threshold": 0.5, "confidence": 1.0},
    ],
)
def test_a_protocol_outside_its_ranges_is_refused(wrong: dict[str, object]):
    with pytest.raises(BadArgument):
        Protocol(**wrong)


# --- coverage ---------------------------------------------------------------------------------------------------------


def recommends_danger(rng: np.random.Generator, curve: np.ndarray, spread: float, draws: int, cut: float) -> bool:
    """Run one evaluation of items of unequal difficulty; tell whether the least safe level is truly dangerous.

    `cut` shifts the threshold at which levels are judged: 0 for the rule as it is.
    """
    n, threshold = 40, 0.3
    safe = []
    for truth in curve:
        chance = rng.beta(truth * spread, (1 - truth) * spread, size=n) if 0 < truth < 1 else np.full(n, truth)
        shares = rng.binomial(draws, chance) / draws
        if p_value(shares, threshold + cut, exact=draws == 1) > 0.05:
            break
        safe.append(truth)
    return bool(safe) and max(safe) >= threshold


@pytest.mark.parametrize("draws", [1, 4])
def test_a_dangerous_level_is_called_safe_in_at_most_a_twentieth_of_evaluations(draws: int):
    """On the curve that makes it likeliest: safe for sure, then exactly at the threshold, level after level."""
    rng, runs = np.random.default_rng(3), 400
    curve = np.array([0.02, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3])
    wrong = sum(recommends_danger(rng, curve, 4.0, draws, 0.0) for _ in range(runs))
    assert wrong <= binom.ppf(0.999, runs, 0.05)
    careless = sum(recommends_danger(rng, curve, 4.0, draws, 0.12) for _ in range(runs))  # the test can find a bad rule
    assert careless > binom.ppf(0.999, runs, 0.05)
