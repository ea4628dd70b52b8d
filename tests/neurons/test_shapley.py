"""Shapley values of games whose answers are known."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from rheostat.base.errors import BadArgument, FileNotUsable
from rheostat.neurons.shapley.enumeration import exact_shapley
from rheostat.neurons.shapley.game import FunctionGame, Game
from rheostat.neurons.shapley.intervals import half_widths
from rheostat.neurons.shapley.recording import RecordedGame, record_walk
from rheostat.neurons.shapley.sampling import bandit_shapley, sampled_shapley
from rheostat.neurons.shapley.tally import Tally
from rheostat.neurons.shapley.walk import Truncation, Walk, permutation, take_walk
from tests.neurons.toy_games import WorthsOfTheDay, additive, ladder, majority, synergies

GAMES: dict[str, tuple[Game, int]] = {
    "additive": (additive([5.0, -1.0, 3.0, 0.0, 2.0, 0.5, 4.0]), 3),
    "majority": (majority([4, 3, 2, 1, 1, 1, 1, 1], 8), 2),
    "synergies": (synergies(10, 3), 3),
    "synergies of twelve": (synergies(12, 5), 4),
}


def by_permutations(game: Game) -> np.ndarray:
    """The definition: the mean over all orders of what each player adds on arriving."""
    total = np.zeros(game.n_players)
    for order in itertools.permutations(range(game.n_players)):
        present = np.zeros((game.n_players + 1, game.n_players), dtype=bool)
        for place, player in enumerate(order):
            present[place + 1 :, player] = True
        total[list(order)] += np.diff(game.values(present, 0))
    return total / math.factorial(game.n_players)


# --- exact ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", [majority([3, 2, 1, 1, 1, 1], 5), synergies(6, 0), additive([1.0, -2.0, 3.0])])
def test_enumeration_agrees_with_the_definition_over_all_orders(game: Game):
    np.testing.assert_allclose(exact_shapley(game), by_permutations(game), atol=1e-12)


@pytest.mark.parametrize("name", GAMES)
def test_what_everybody_gets_adds_up_to_what_all_are_worth(name: str):
    game, _ = GAMES[name]
    ends = game.values(np.array([np.zeros(game.n_players, bool), np.ones(game.n_players, bool)]), 0)
    assert exact_shapley(game).sum() == pytest.approx(ends[1] - ends[0], abs=1e-12)


def test_who_adds_nothing_gets_nothing_and_equals_get_the_same():
    values = exact_shapley(majority([3, 2, 2, 1, 0], 5))
    assert values[4] == 0
    assert values[1] == pytest.approx(values[2], abs=1e-12)
    assert values[0] > values[1] > values[3] > 0


def test_the_values_of_a_sum_of_games_are_the_sums_of_their_values():
    first, second = majority([4, 3, 2, 1, 1, 1], 6), synergies(6, 1)
    both = FunctionGame(6, lambda present: first.values(present, 0) + second.values(present, 0))
    np.testing.assert_allclose(exact_shapley(both), exact_shapley(first) + exact_shapley(second), atol=1e-12)


def test_seventeen_players_are_too_many_to_enumerate():
    with pytest.raises(BadArgument, match="17 players"):
        exact_shapley(additive([1.0] * 17))


# --- sampling ---------------------------------------------------------------------------------------------------------


def test_one_permutation_finds_an_additive_game_exactly():
    worths = [5.0, -1.0, 3.0, 0.0, 2.0]
    found = sampled_shapley(additive(worths), 1)
    np.testing.assert_allclose(found.values, worths, atol=1e-12)
    assert (found.evaluations, found.walks) == (6, 1)
    assert found.counts.tolist() == [1] * 5


@pytest.mark.parametrize("name", GAMES)
def test_whole_permutations_approach_the_exact_values(name: str):
    game = GAMES[name][0]
    exact, found = exact_shapley(game), sampled_shapley(game, 300, seed=1)
    half = 4 * np.sqrt(np.nan_to_num((found.high - found.low) ** 2) / (4 * 1.96**2))
    assert np.all(np.abs(found.values - exact) <= half + 1e-9)
    assert found.values.sum() == pytest.approx(exact.sum(), abs=1e-9)  # every permutation is efficient
    assert found.evaluations == 300 * (game.n_players + 1)
    inside = (found.low - 1e-9 <= exact) & (exact <= found.high + 1e-9)
    assert inside.mean() >= 0.75


@pytest.mark.parametrize("interval", ["bernstein", "hoeffding", "normal"])
@pytest.mark.parametrize("name", GAMES)
def test_the_bandit_finds_the_top_of_every_kind_of_game(name: str, interval):
    game, k = GAMES[name]
    exact = exact_shapley(game)
    found = bandit_shapley(game, k, walks=800, seed=2, interval=interval, delta=0.05, truncation=None)
    assert set(found.top(k)) == set(np.argsort(-exact, kind="stable")[:k].tolist())
    assert found.evaluations <= found.walks * (game.n_players + 1)


@pytest.mark.parametrize("seed", range(6))
def test_on_random_games_the_bandit_finds_the_top_that_enumeration_finds(seed: int):
    game, k = synergies(8 + seed % 5, 10 + seed), 3
    exact = exact_shapley(game)
    descending = -np.sort(-exact)
    k = 2 + int(np.argmax(descending[1:5] - descending[2:6]))  # where the border is widest: the others take longer
    found = bandit_shapley(game, k, walks=1500, seed=seed, delta=0.02, truncation=None)
    assert found.settled
    assert set(found.top(k)) == set(np.argsort(-exact)[:k].tolist())


def test_players_that_tie_at_the_border_stay_open_and_any_of_them_will_do():
    game = majority([3, 1, 1, 1, 1], 4)
    found = bandit_shapley(game, 2, walks=300, seed=0, truncation=None)
    assert not found.settled
    assert found.walks == 300
    assert found.active[1:].all()
    assert not found.active[0]
    assert found.top(2)[0] == 0


def test_at_equal_evaluations_the_bandit_errs_less_at_the_border_than_plain_sampling():
    k, wrong, settled = 4, {"bandit": 0, "plain": 0}, []
    for seed in range(12):
        game = ladder(24, 0.25, 1.0, seed)
        found = bandit_shapley(game, k, walks=200, seed=seed, interval="normal", truncation=None, max_evaluations=1500)
        plain = sampled_shapley(game, max(1, found.evaluations // 25), seed=seed)
        assert plain.evaluations <= found.evaluations
        wrong["bandit"] += len(game.best(k) - set(found.top(k)))
        wrong["plain"] += len(game.best(k) - set(plain.top(k)))
        settled.append(found.settled)
    assert wrong["bandit"] <= 0.6 * wrong["plain"]
    assert sum(settled) >= 6


def test_the_border_of_the_papers_code_goes_on_to_sort_those_below_it():
    game, k = WorthsOfTheDay((5.0,) * 4 + (0.0,) * 20, 1.0, 0), 4
    middle, following = (
        bandit_shapley(game, k, walks=60, interval="normal", truncation=None, border=border)
        for border in ("middle", "next")
    )
    assert middle.settled
    assert not following.settled
    assert set(middle.top(k)) == set(following.top(k)) == game.best(k)
    assert middle.evaluations < following.evaluations


def test_hoeffding_is_wider_than_bernstein_where_marginals_vary_little():
    tally = Tally.empty(2)
    for number in range(200):
        tally = tally.after(Walk(np.array([0.01 * (number % 2), 1.0 * (number % 2)]), 3))
    narrow = half_widths(tally, "bernstein", delta=0.2, bound=1.0)
    wide = half_widths(tally, "hoeffding", delta=0.2, bound=1.0)
    log = math.log(10)
    assert wide == pytest.approx(math.sqrt(log / 400))
    variance = np.var([0, 0.01] * 100, ddof=1)
    assert narrow[0] == pytest.approx(math.sqrt(2 * variance * log / 200) + 7 / 3 * log / 199)
    assert narrow[0] < wide[0] < narrow[1]


def test_intervals_of_unmeasured_players_are_infinite_and_their_values_nan():
    tally = Tally.empty(3).after(Walk(np.array([1.0, np.nan, 2.0]), 4))
    assert np.isinf(half_widths(tally, "bernstein", delta=0.2, bound=1.0)).all()
    assert tally.counts.tolist() == [1, 0, 1]
    assert tally.means.tolist() == [1.0, 0.0, 2.0]


def test_a_marginal_of_minus_one_is_a_measurement():
    found = sampled_shapley(additive([1.0, -1.0]), 3)
    assert found.values.tolist() == [1.0, -1.0]
    assert found.counts.tolist() == [3, 3]


def test_the_tally_holds_mean_and_unbiased_variance_of_what_was_measured():
    rng = np.random.default_rng(0)
    marginals = np.where(rng.random((50, 4)) < 0.3, np.nan, rng.normal(5, 2, (50, 4)))
    tally = Tally.empty(4)
    for row in marginals:
        tally = tally.after(Walk(row, 1))
    np.testing.assert_allclose(tally.means, np.nanmean(marginals, axis=0))
    np.testing.assert_allclose(tally.variances, np.nanvar(marginals, axis=0, ddof=1))
    assert tally.extremes.tolist() == [min(0, np.nanmin(marginals)), max(0, np.nanmax(marginals))]


# --- walks ------------------------------------------------------------------------------------------------------------


def test_only_active_players_are_measured_and_only_what_they_need_is_evaluated():
    game = additive([1.0, 2.0, 4.0, 8.0, 16.0])
    active = np.array([False, False, True, False, False])
    walk = take_walk(game, 0, active, seed=0, truncation=None, chunk=1)
    assert walk.marginals[2] == 4.0
    assert np.isnan(np.delete(walk.marginals, 2)).all()
    assert walk.evaluations == 2


def test_a_walk_is_cut_after_more_players_than_its_patience_left_little():
    worths = [0.0] * 10
    order = permutation(10, seed=0, walk=0)
    worths[order[0]] = 1.0  # leaves first; nothing is left behind it
    walk = take_walk(additive(worths), 0, np.ones(10, bool), seed=0, truncation=Truncation(0.2, 5), chunk=1)
    assert walk.evaluations == 2 + 6  # everybody and nobody, then patience + 1 players
    assert walk.marginals[order[0]] == 1.0
    assert not np.isnan(walk.marginals).any()


def test_inactive_players_between_neither_add_to_the_patience_nor_reset_it():
    worths = [0.0] * 10
    order = permutation(10, seed=0, walk=0)
    worths[order[0]] = 1.0
    active = np.zeros(10, bool)
    active[order[[0, 2, 4, 6, 8]]] = True
    walk = take_walk(additive(worths), 0, active, seed=0, truncation=Truncation(0.2, 2), chunk=1)
    reached = {0, 1, 2, 3, 4, 5, 10}  # players 0, 2, 4 leave, with what is before and after each; and nobody
    assert walk.evaluations == len(reached)


def test_truncation_pulls_late_values_towards_zero_and_none_does_not():
    worths = [10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    cut = Truncation(share=0.5, patience=0)
    whole, short = (sampled_shapley(additive(worths), 200, truncation=one, chunk=1) for one in (None, cut))
    np.testing.assert_allclose(whole.values, worths, atol=1e-12)
    assert (short.values[1:] < 0.8).all()
    assert short.values[0] > 9
    assert short.evaluations < whole.evaluations
    assert set(short.top(1)) == set(whole.top(1)) == {0}


def test_a_coalition_worth_less_than_nobody_counts_as_little_left():
    game = FunctionGame(8, lambda present: np.where(present.all(axis=1), 1.0, -1.0 * present.any(axis=1)))
    walk = take_walk(game, 0, np.ones(8, bool), seed=0, truncation=Truncation(0.2, 3), chunk=1)
    assert walk.evaluations == 2 + 4


def test_chunks_change_nothing_but_how_much_is_in_vain():
    game, k = synergies(10, 4), 3
    one, many = (
        bandit_shapley(game, k, walks=50, seed=3, chunk=chunk, truncation=Truncation(0.5, 0)) for chunk in (1, 64)
    )
    np.testing.assert_allclose(one.values, many.values, atol=1e-12)
    np.testing.assert_array_equal(one.counts, many.counts)
    assert one.evaluations < many.evaluations


def test_a_recorded_walk_replays_what_the_game_would_have_shown():
    game = synergies(9, 6)
    recorded = RecordedGame(9, 5, {walk: record_walk(game, walk, seed=5, chunk=4) for walk in range(30)})
    order = [7, 3, 20, 11, 0, 29, 5, 6, 8, 9, 10]
    for truncation in (None, Truncation()):
        true, replayed = (
            bandit_shapley(one, 3, walks=order, seed=5, truncation=truncation) for one in (game, recorded)
        )
        np.testing.assert_allclose(true.values, replayed.values, atol=1e-12)
        assert true.evaluations == replayed.evaluations
    with pytest.raises(BadArgument, match="does not lie on walk"):
        sampled_shapley(recorded, 1, seed=6)
    with pytest.raises(BadArgument, match="walk 30 was not recorded"):
        sampled_shapley(recorded, [30], seed=5)


# --- resuming ---------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@pytest.mark.parametrize("n_before", [1, 7])
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path, n_before: int):
    game, state, walks_seen = synergies(9, 8), tmp_path / "tally.safetensors", []

    def dying(present: np.ndarray) -> np.ndarray:
        if len(walks_seen) > n_before:
            raise Killed
        return game.values(present, 0)

    mortal = FunctionGame(9, dying, game.fingerprint)
    with pytest.raises(Killed):
        bandit_shapley(mortal, 3, walks=40, seed=1, state=state, watch=lambda one: walks_seen.append(one.walks))
    assert walks_seen[-1] == n_before + 1
    counted = []
    resumed = bandit_shapley(game, 3, walks=40, seed=1, state=state, watch=lambda one: counted.append(one.walks))
    whole = bandit_shapley(game, 3, walks=40, seed=1)
    assert counted[0] == n_before + 2  # nothing that was kept is walked again
    for name in ("values", "low", "high", "counts", "active"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert (resumed.walks, resumed.evaluations) == (whole.walks, whole.evaluations)


def test_a_state_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path):
    state = tmp_path / "tally.safetensors"
    bandit_shapley(synergies(9, 8), 3, walks=2, state=state)
    for game, k, seed in ((synergies(9, 7), 3, 0), (synergies(9, 8), 4, 0), (synergies(9, 8), 3, 1)):
        with pytest.raises(FileNotUsable, match="another run"):
            bandit_shapley(game, k, walks=4, seed=seed, state=state)
    state.write_bytes(state.read_bytes()[:50])
    with pytest.raises(FileNotUsable, match="cannot be read"):
        bandit_shapley(synergies(9, 8), 3, walks=4, state=state)


def test_a_budget_of_evaluations_stops_after_the_walk_that_spends_it():
    game = synergies(9, 8)
    found = bandit_shapley(game, 3, max_evaluations=25, truncation=None)
    assert found.walks == 3
    assert found.evaluations == 30
    assert not found.settled


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 5},
        {"delta": 1.0},
        {"bound": 0.0},
        {"interval": "bernstain"},
        {"border": "midle"},
        {"walks": 0},
        {"chunk": 0},
    ],
    ids=str,
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, object]):
    with pytest.raises(BadArgument):
        bandit_shapley(additive([1.0, 2.0, 3.0, 4.0, 5.0]), **{"k": 2, **wrong})
