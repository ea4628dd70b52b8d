"""The game of a network's neurons: coalitions against plain runs, and a network whose neurons are planted."""

from functools import lru_cache

import numpy as np
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.edit.arithmetic import Zero
from rheostat.metrics.loss import GreedyMatch, Loss
from rheostat.metrics.measure import measure
from rheostat.models.toy import toy
from rheostat.neurons.shapley.enumeration import exact_shapley
from rheostat.neurons.shapley.neuron_game import NeuronGame, NeuronPlayer, neuron_players
from rheostat.neurons.shapley.sampling import bandit_shapley, sampled_shapley

PROMPTS = [[1, 7, 30, 9, 12], [1, 5, 8], [1, 40, 41, 42, 43, 44], [1, 22, 23, 24]]
LOSS = Loss(slice(-1, None))
N_UNITS = 24


@lru_cache(maxsize=1)
def load() -> rh.Model:
    return rh.load(toy("llama", dtype=torch.float64))


@pytest.fixture
def model() -> rh.Model:
    return load()


def some_coalitions(n_players: int, n: int = 6) -> np.ndarray:
    present = np.random.default_rng(0).random((n, n_players)) < 0.5
    present[0], present[1] = True, False
    return present


def by_plain_runs(model: rh.Model, players, present: np.ndarray, metric, positions) -> np.ndarray:
    """(coalition, prompt): one run per coalition and prompt."""
    found = []
    for row in present:
        gone: dict[int, list[int]] = {}
        for player, there in zip(players, row, strict=True):
            if not there:
                gone.setdefault(player.block, []).extend(player.units)
        values = []
        for prompt, where in zip(PROMPTS, positions, strict=True):
            edits = [
                Zero(f"blocks.{block}.neurons", units=tuple(units), positions=where) for block, units in gone.items()
            ]
            output = model.run(prompt, edits, logits_at="all")
            values.append(float(measure(metric, model, prompt, output).values[0]))
        found.append(values)
    return np.array(found)


@pytest.mark.parametrize("where", ["all", "read"])
@pytest.mark.parametrize("block", [0, 1, -1])
def test_coalitions_are_worth_what_plain_runs_without_the_others_give(model: rh.Model, block: int, where: str):
    players = neuron_players(model, block, size=5)
    assert [len(player.units) for player in players] == [5, 5, 5, 5, 4]
    game = NeuronGame(model, players, PROMPTS, LOSS, where=where)
    present = some_coalitions(5)
    positions = ["all" if where == "all" else len(prompt) - 2 for prompt in PROMPTS]
    plain = by_plain_runs(model, players, present, LOSS, positions)
    np.testing.assert_allclose(game.per_prompt(present, range(4)), plain, atol=1e-9)
    np.testing.assert_allclose(game.values(present, 0), -plain.mean(axis=1), atol=1e-9)
    assert np.ptp(plain.mean(axis=1)) > 1e-4


def test_in_the_last_block_all_tokens_and_those_that_are_read_are_the_same_removal(model: rh.Model):
    players = neuron_players(model, -1, size=6)
    present = some_coalitions(4)
    everywhere = by_plain_runs(model, players, present, LOSS, ["all"] * 4)
    game = NeuronGame(model, players, PROMPTS, LOSS, where="all")
    np.testing.assert_allclose(game.per_prompt(present, range(4)), everywhere, atol=1e-9)


def test_players_may_stand_in_several_blocks(model: rh.Model):
    players = (NeuronPlayer(0, (0, 1, 2)), NeuronPlayer(1, tuple(range(N_UNITS))), NeuronPlayer(0, (7,)))
    present = some_coalitions(3, 8)
    game = NeuronGame(model, players, PROMPTS, LOSS)
    plain = by_plain_runs(model, players, present, LOSS, ["all"] * 4)
    np.testing.assert_allclose(game.per_prompt(present, range(4)), plain, atol=1e-9)


def test_accuracy_is_worth_itself_and_a_loss_its_opposite(model: rh.Model):
    players, present = neuron_players(model, -1, size=12), some_coalitions(2, 3)
    right = NeuronGame(model, players, PROMPTS, GreedyMatch(slice(-1, None)), lower_is_better=False)
    np.testing.assert_array_equal(right.values(present, 0), right.per_prompt(present, range(4)).mean(axis=1))


def test_removal_to_the_mean_puts_the_mean_over_the_prompts_there(model: rh.Model):
    players = neuron_players(model, -1, size=N_UNITS)
    game = NeuronGame(model, players, PROMPTS, LOSS, removal="mean", where="read")
    site = f"blocks.{model.n_blocks - 1}.neurons"
    held = [model.capture(prompt, site, positions="all")[site][0, len(prompt) - 2] for prompt in PROMPTS]
    mean = torch.stack(held).mean(0)
    for number, prompt in enumerate(PROMPTS):
        edits = [rh.Replace(site, mean, positions=len(prompt) - 2)]
        output = model.run(prompt, edits, logits_at="all")
        plain = float(measure(LOSS, model, prompt, output).values[0])
        assert game.per_prompt(np.zeros((1, 1), bool), [number])[0, 0] == pytest.approx(plain, abs=1e-9)
    nothing = NeuronGame(model, players, PROMPTS, LOSS, where="read")
    assert game.fingerprint != nothing.fingerprint


def test_walks_take_every_prompt_equally_often_and_differ_in_which(model: rh.Model):
    game = NeuronGame(model, neuron_players(model, 0), PROMPTS * 3, LOSS, per_walk=3, seed=1)
    drawn = [game.prompts_of(walk) for walk in range(8)]
    first, second = (sorted(one for each in half for one in each) for half in (drawn[:4], drawn[4:]))
    assert first == second == list(range(12))
    assert drawn[:4] != drawn[4:]
    again = NeuronGame(model, neuron_players(model, 0), PROMPTS * 3, LOSS, per_walk=3, seed=1)
    assert again.prompts_of(5) == drawn[5]


# --- planted neurons --------------------------------------------------------------------------------------------------

PLANTED = (3, 11)


@lru_cache(maxsize=1)
def planted() -> rh.Model:
    """A network in whose last block only two neurons write anything."""
    module = toy("llama", dtype=torch.float64)
    with torch.no_grad():
        down = module.model.layers[-1].mlp.down_proj.weight
        kept = down[:, list(PLANTED)].clone()
        down.zero_()
        down[:, list(PLANTED)] = 3 * kept
    return rh.load(module)


def test_only_the_planted_neurons_have_a_value_and_the_bandit_finds_them():
    model = planted()
    asked = PROMPTS[:2], LOSS
    game = NeuronGame(model, neuron_players(model, -1), *asked, lower_is_better=False)  # they raise the loss
    found = sampled_shapley(game, 1)
    others = np.delete(found.values, PLANTED)
    assert np.abs(others).max() < 1e-12
    assert np.abs(found.values[list(PLANTED)]).min() > 1e-4
    pair = NeuronGame(model, [NeuronPlayer(model.n_blocks - 1, (unit,)) for unit in PLANTED], *asked)
    exact = -exact_shapley(pair)
    assert found.values[list(PLANTED)].sum() == pytest.approx(exact.sum(), abs=1e-9)
    assert exact.min() > 0
    bandit = bandit_shapley(game, 2, walks=11, interval="normal", truncation=None)
    assert set(bandit.top(2)) == set(PLANTED)
    assert bandit.settled
    assert bandit.walks == 10  # as many as a normal interval takes


def test_a_ranking_shares_a_groups_value_among_its_neurons_and_puts_neurons_of_nobody_last(model: rh.Model):
    players = (NeuronPlayer(1, (0, 1)), NeuronPlayer(1, (5,)), NeuronPlayer(1, (9, 10, 11, 12)))
    ranking = NeuronGame(model, players, PROMPTS, LOSS).ranking(np.array([3.0, 2.0, np.nan]), topic="toy")
    scores = ranking.scores[1]
    assert scores[[0, 1, 5]].tolist() == [1.5, 1.5, 2.0]
    assert torch.isinf(scores[[9, 10, 20]]).all()
    assert ranking.top(3 / N_UNITS).units == {1: (0, 1, 5)}
    assert (ranking.method, ranking.topic) == ("shapley", "toy")


def test_another_prompt_player_or_setting_is_another_game(model: rh.Model):
    players = neuron_players(model, 0, size=8)
    games = [
        NeuronGame(model, players, PROMPTS, LOSS),
        NeuronGame(model, players, PROMPTS[:3], LOSS),
        NeuronGame(model, players[:2], PROMPTS, LOSS),
        NeuronGame(model, players, PROMPTS, LOSS, where="read"),
        NeuronGame(model, players, PROMPTS, LOSS, per_walk=2),
        NeuronGame(model, players, PROMPTS, Loss(slice(-2, None))),
    ]
    assert len({game.fingerprint for game in games}) == len(games)
    assert NeuronGame(model, players, PROMPTS, LOSS).fingerprint == games[0].fingerprint


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"removal": "noise"}, "no removal 'noise'"),
        ({"where": "last"}, "no where 'last'"),
        ({"per_walk": 5}, "per_walk=5: from 1 to 4"),
        ({"players": ()}, "needs players"),
        ({"players": (NeuronPlayer(0, (1, 2)), NeuronPlayer(0, (2,)))}, "two players"),
        ({"players": (NeuronPlayer(0, (N_UNITS,)),)}, "lies outside"),
    ],
    ids=str,
)
def test_settings_that_make_no_game_are_refused(model: rh.Model, wrong: dict, says: str):
    players = wrong.pop("players", neuron_players(model, 0))
    with pytest.raises(BadArgument, match=says):
        NeuronGame(model, players, PROMPTS, LOSS, **wrong)
    with pytest.raises(BadArgument, match="blocks 0 to"):
        neuron_players(model, 99)
