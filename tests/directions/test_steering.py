"""Steering with a fitted direction: every row as if alone, whatever pads, caches, neighbours and draws there are."""

import pytest
import torch

import rheostat as rh
from rheostat.directions.methods.registry import METHODS
from tests.directions.conftest import load_words, some_pairs

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
STEPS = 6


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> rh.Model:
    return load_words(request.param)


def steering(model: rh.Model, method: str, positions: str = "all") -> list[rh.Edit]:
    found = model.fit_directions(some_pairs(10), method=method, held_out=0, shuffles=0)
    return [one.add(3.0, positions=positions) for one in found.values()]


@pytest.mark.parametrize("method", METHODS)
def test_a_ragged_batch_on_either_padding_side_equals_each_row_alone(model, method):
    edits = steering(model, method)
    plain = model.run(ROWS, logits_at="all").logits
    together = [model.run(ROWS, edits, logits_at="all", padding_side=side).logits for side in ("left", "right")]
    assert (together[0] - plain).nan_to_num().abs().max() > 1e-3
    for index, row in enumerate(ROWS):
        alone = model.run(row, edits, logits_at="all").logits[0]
        for logits in together:
            torch.testing.assert_close(logits[index, : len(row)], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("positions", ["all", "generated", "prompt"])
def test_writing_with_a_cache_and_draws_of_a_seed_equals_each_row_alone_and_without(model, positions):
    edits = steering(model, "mean_difference", positions)
    settings = {"max_new_tokens": STEPS, "temperature": 1.0, "seed": 3}
    together = model.generate(ROWS, edits, row_ids=range(3), **settings)
    uncached = model.generate(ROWS, edits, row_ids=range(3), use_cache=False, **settings)
    assert together.ids == uncached.ids
    for index, row in enumerate(ROWS):
        alone = model.generate(row, edits, row_ids=[index], **settings)
        assert alone.ids[0] == together.ids[index]
    assert together.ids != model.generate(ROWS, row_ids=range(3), **settings).ids


def test_a_direction_moves_its_own_reading_by_its_length(model):
    found = model.fit_directions(some_pairs(10), held_out=0)["blocks.1.resid_post"]
    before, after = (
        model.run(ROWS, edits, capture=found.site).activations[found.site][:, 0] for edits in (None, found.add(2.0))
    )
    moved = found.projections(after) - found.projections(before)
    torch.testing.assert_close(moved, torch.full((3,), 2 * found.length, dtype=moved.dtype))
    torch.testing.assert_close(found.scores(after) - found.scores(before), torch.full((3,), 4.0, dtype=moved.dtype))


def test_fitted_erasures_leave_no_difference_of_means_and_only_that(model):
    pairs = some_pairs(20)
    edits = rh.fit_erasures(model, pairs, applied_to="last")
    for site, edit in edits.items():
        sides = [[getattr(pair, side) for pair in pairs] for side in ("positive", "negative")]
        held = [model.capture(texts, site, "last", edits=edit)[site][:, 0] for texts in sides]
        plain = [model.capture(texts, site, "last")[site][:, 0] for texts in sides]
        apart = (plain[0].mean(0) - plain[1].mean(0)).norm()
        assert apart > 0.1
        assert (held[0].mean(0) - held[1].mean(0)).norm() < 1e-5 * apart
        assert (held[0] - held[1]).norm() > 0
        torch.testing.assert_close(torch.cat(held).mean(0), torch.cat(plain).mean(0), rtol=0, atol=1e-5)
