"""Scores of tokens: known at the planted prompts, the same in any batch, and drawn as they are."""

import numpy as np
import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, DirectionNotUsable, PositionNotFound
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.directions.scores import pooled_scores, read_concept
from tests.contract.conftest import CORE, load_toy
from tests.directions.planted import LESS, MORE, at_every_block, between

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60, 5]]


@pytest.fixture(params=CORE)
def model(request: pytest.FixtureRequest) -> rh.Model:
    return load_toy(request.param)


def test_the_planted_prompts_score_plus_and_minus_one_at_every_block(model):
    table = read_concept(model, at_every_block(model), [MORE, LESS], positions="last").table
    assert table["block"].tolist() == [0, 1, 2] * 2
    np.testing.assert_allclose(table[table["text"] == 0]["score"], 1, atol=1e-9)
    np.testing.assert_allclose(table[table["text"] == 1]["score"], -1, atol=1e-9)
    assert table[table["text"] == 0]["position"].unique().tolist() == [4]


def test_every_token_has_the_score_of_its_own_activation(model):
    directions = at_every_block(model)
    table = read_concept(model, directions, ROWS[0]).table
    for site, direction in directions.items():
        states = model.capture(ROWS[0], site)[site][0]
        known, unit = direction.calibration, direction.vector / direction.vector.norm()
        expected = ((states @ unit) - known.midpoint) / known.half_gap
        np.testing.assert_allclose(table[table["site"] == site]["score"], expected, atol=1e-9)


def test_ragged_texts_in_a_batch_score_as_each_alone(model):
    directions = at_every_block(model)
    together = read_concept(model, directions, ROWS, batch_size=2).table
    for number, row in enumerate(ROWS):
        alone = read_concept(model, directions, row).table.drop(columns="text")
        found = together[together["text"] == number].drop(columns="text").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, alone, rtol=0, atol=1e-9)
    assert len(together) == sum(map(len, ROWS)) * model.n_blocks


def test_texts_are_read_in_few_passes(model):
    directions, passes = at_every_block(model), []
    handle = model.module.register_forward_pre_hook(lambda *_: passes.append(1))
    read_concept(model, directions, ROWS, batch_size=2)
    handle.remove()
    assert len(passes) == 2, "two batches, whatever the number of blocks"


def test_a_negated_direction_gives_the_opposite_scores():
    model = load_toy("llama")
    direction = between(model, "blocks.1.resid_post")
    scores, opposite = (read_concept(model, one, ROWS).table["score"] for one in (direction, -direction))
    assert scores.abs().min() > 0
    np.testing.assert_allclose(opposite, -scores, atol=1e-9)


def test_pooled_scores_are_means_over_the_asked_tokens():
    model = load_toy("llama")
    directions = at_every_block(model)
    table = read_concept(model, directions, ROWS).table
    expected = table.groupby(["site", "text"])["score"].mean()
    for site, values in pooled_scores(model, directions, ROWS, positions="all", batch_size=2).items():
        np.testing.assert_allclose(values, expected[site], atol=1e-9)


def test_the_map_has_the_last_block_on_top_and_each_tokens_score():
    model = load_toy("llama")
    reading = read_concept(model, at_every_block(model), "w5 w9 w5")
    table = reading.grid().table
    assert table["y"].drop_duplicates().tolist() == ["2", "1", "0"]
    assert table["x"].drop_duplicates().tolist() == ["0 w5", "1 w9", "2 w5"]
    expected = reading.table[(reading.table["block"] == 1) & (reading.table["position"] == 2)]["score"].item()
    assert table[(table["y"] == "1") & (table["x"] == "2 w5")]["value"].item() == expected
    assert reading.grid().centre == 0


def test_sites_outside_blocks_are_named_by_themselves():
    model = load_toy("llama")
    two = Directions({site: between(model, site) for site in ("embed", "blocks.0.attn_out")})
    reading = read_concept(model, two, "w5 w9")
    assert reading.table["block"].isna().tolist() == [True, True, False, False]
    assert reading.grid().table["y"].drop_duplicates().tolist() == ["blocks.0.attn_out", "embed"]


def test_a_strip_is_the_mean_over_its_band_of_blocks():
    model = load_toy("llama")
    reading = read_concept(model, at_every_block(model), ["w5 w9 w5", "w8"])
    wide = reading.table.pivot(index=["text", "position"], columns="block", values="score")
    strip = reading.strip(range(1, 3), threshold=0.5, clip=3.0)
    np.testing.assert_allclose(strip.table["value"], wide[[1, 2]].mean(axis=1), atol=1e-12)
    assert strip.table["text"].tolist() == ["text 0"] * 3 + ["text 1"]
    assert (strip.threshold, strip.limits, strip.centre) == (0.5, (-3.0, 3.0), 0.0)
    np.testing.assert_allclose(reading.strip(0, text=1).table["value"], wide.loc[(1, 0), 0], atol=1e-12)
    np.testing.assert_allclose(reading.strip().table["value"], wide.mean(axis=1), atol=1e-12)


@pytest.mark.parametrize(
    "asked",
    [
        lambda reading: reading.strip(7),
        lambda reading: reading.strip([]),
        lambda reading: reading.strip(0, clip=0.0),
        lambda reading: reading.strip(0, text=3),
        lambda reading: reading.grid(1),
    ],
)
def test_what_was_not_read_is_refused_by_name(asked):
    model = load_toy("llama")
    reading = read_concept(model, at_every_block(model), "w5 w9 w5")
    with pytest.raises(BadArgument, match=r"were not read|text \d|clip="):
        asked(reading)


def test_directions_that_mean_nothing_here_are_refused():
    model = load_toy("llama")
    direction = between(model, "blocks.1.resid_post")
    with pytest.raises(DirectionNotUsable, match="no calibration"):
        read_concept(model, direction + direction, "w5")
    with pytest.raises(DirectionNotUsable, match="shape"):
        read_concept(model, Direction("c", "blocks.1.resid_post", torch.ones(5), "m", model.name), "w5")
    with pytest.raises(DirectionNotUsable, match="whose weights are not those"):
        read_concept(load_toy("gpt2"), direction, "w5")
    with pytest.raises(PositionNotFound):
        read_concept(model, direction, "w5", positions=3)
