"""Attribution patching is exact where the path is linear, and asks and answers as activation patching does."""

import numpy as np
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, SiteNotOffered
from rheostat.tracing.activation_patching import patch_activations
from rheostat.tracing.attribution_patching import attribute_patching, attributions
from tests.contract.conftest import CORE, load_toy

CLEAN, CORRUPT = [5, 9, 30, 12, 7], [5, 9, 41, 12, 7]
ASKED = {"answer": 3, "versus": 4}


@pytest.fixture(params=CORE)
def core_model(request: pytest.FixtureRequest) -> rh.Model:
    return load_toy(request.param)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", ["final", "logits"])
def test_a_linear_path_is_estimated_exactly(core_model, direction, kind):
    found = attribute_patching(core_model, CLEAN, CORRUPT, kind=kind, direction=direction, **ASKED)
    true = patch_activations(core_model, CLEAN, CORRUPT, kind=kind, direction=direction, **ASKED)
    np.testing.assert_allclose(found.table["logit_difference"], true.table["logit_difference"], rtol=0, atol=1e-9)
    assert found.table["score"].iloc[-1] == pytest.approx(1.0 if direction == "denoise" else 0.0, abs=1e-9)
    assert found.table["score"].iloc[:-1].tolist() == pytest.approx([found.unchanged] * 4, abs=1e-9)
    assert set(found.table["block"]) == {-1}


def test_elsewhere_it_is_an_estimate(core_model):
    asked = {"kind": "resid_pre", **ASKED}
    found, true = (verb(core_model, CLEAN, CORRUPT, **asked).table for verb in (attribute_patching, patch_activations))
    assert found.drop(columns=["logit_difference", "score"]).equals(true.drop(columns=["logit_difference", "score"]))
    moved = true["logit_difference"].sub(true["logit_difference"].iloc[0]).abs().max()
    assert (found["logit_difference"] - true["logit_difference"]).abs().max() > 0.01 * moved


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_averaged_over_the_path_the_embeddings_estimate_is_exact(core_model, direction):
    asked = {"kind": "embed", "direction": direction, **ASKED}
    true = patch_activations(core_model, CLEAN, CORRUPT, **asked).table["logit_difference"]
    found = [attribute_patching(core_model, CLEAN, CORRUPT, steps=steps, **asked).table for steps in (1, 40)]
    errors = [float((table["logit_difference"] - true).abs().max()) for table in found]
    assert errors[1] < 1e-3 < errors[0]


def test_units_add_up_to_the_whole_and_every_kind_is_found_in_one_pass(core_model):
    sites = ["blocks.*.heads", "blocks.*.neurons", "blocks.*.attn_out"]
    metric = rh.Probability(3)
    found = attributions(core_model, CLEAN, CORRUPT, metric, sites, positions=[2, -1])
    whole, single = found.table(), found.table(by_unit=True)
    sums = single.groupby(["site", "position"], sort=False)["effect"].sum()
    np.testing.assert_allclose(sums.to_numpy(), whole["effect"].to_numpy(), rtol=0, atol=1e-12)
    assert len(single) == 2 * 3 * (4 + core_model.body.d_mlp + 16) and whole["effect"].abs().max() > 1e-5
    assert found.positions == (2, 4)
    assert found.value == pytest.approx(float(core_model.run(CORRUPT).probabilities()[0, 0, 3]), abs=1e-9)
    assert found.effects("blocks.0.heads").shape == (2, 4, 4)


def test_the_strongest_places_of_the_estimate_are_the_ones_that_are_patched():
    model = load_toy("llama")
    asked = {"kind": "neurons", "by_unit": True, "top": 7, **ASKED}
    found = attribute_patching(model, CLEAN, CORRUPT, **asked)
    every = attribute_patching(model, CLEAN, CORRUPT, **{**asked, "top": None})
    true = patch_activations(model, CLEAN, CORRUPT, **asked)
    names = ["site", "position", "unit"]
    assert len(every.table) == 3 * 5 * 24
    assert found.table[names].equals(every.strongest(7)[names]) and true.table[names].equals(found.table[names])
    whole = patch_activations(model, CLEAN, CORRUPT, **{**asked, "top": None}).table.set_index(names)
    alone = true.table.set_index(names)["logit_difference"]
    np.testing.assert_allclose(alone, whole.loc[alone.index, "logit_difference"], rtol=0, atol=1e-9)
    assert true.rows()[0].keys() == found.rows()[0].keys()


@pytest.mark.parametrize("verb", [attribute_patching, patch_activations])
@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"corrupt": [5, 9]}, BadArgument, "equally many tokens"),
        ({"corrupt": CLEAN}, BadArgument, "same value"),
        ({"kind": "pattern"}, SiteNotOffered, "heads or attn_out"),
        ({"top": 0}, BadArgument, "top=0"),
    ],
)
def test_what_cannot_be_patched_is_refused_alike(verb, change, error, says):
    with pytest.raises(error, match=says):
        verb(load_toy("llama"), CLEAN, **({"corrupt": CORRUPT, **ASKED} | change))


@pytest.mark.parametrize(
    ("metric", "steps", "says"),
    [
        (rh.Rank(3), 1, "no gradient"),
        (rh.KLToClean(), 1, "gradient is 0"),
        (rh.LogitDifference(3, 4), 0, "steps=0"),
    ],
)
def test_a_metric_without_a_gradient_is_refused(metric, steps, says):
    with pytest.raises(BadArgument, match=says):
        attributions(load_toy("llama"), CLEAN, CORRUPT, metric, "final", steps=steps)


def test_prompts_of_different_lengths_are_refused_without_a_pair():
    with pytest.raises(BadArgument, match="equally many tokens"):
        attributions(load_toy("llama"), CLEAN, CLEAN[:3], rh.LogitDifference(3, 4), "final")


def test_the_picture_says_that_it_shows_estimates_and_is_centred_on_an_unpatched_run():
    asked = {"kind": "heads", "by_unit": True, "positions": "last", **ASKED}
    model = load_toy("llama")
    for direction, centre in (("denoise", 0.0), ("noise", 1.0)):
        grid = attribute_patching(model, CLEAN, CORRUPT, direction=direction, **asked).grid()
        assert grid.centre == centre
        assert "estimate" in grid.title and "attribution patching" in grid.note
        assert grid.table["x"].tolist()[:4] == [f"head {head}" for head in range(4)]
        assert "token 4" in grid.x_label
    assert "estimate" not in patch_activations(model, CLEAN, CORRUPT, **asked).grid().title


def test_of_many_units_the_strongest_of_each_block_are_shown_by_name():
    model = load_toy("llama")
    found = attribute_patching(model, CLEAN, CORRUPT, kind="logits", by_unit=True, top=3, **ASKED)
    assert {3, 4} <= set(found.table["unit"][:2])
    wide = found.table.assign(unit=found.table["unit"] + 100, block=[0, 0, 1])
    grid = type(found)(**{**found.__dict__, "table": wide}).grid()
    assert grid.table["x"].drop_duplicates().tolist() == ["no. 1", "no. 2"]
    assert grid.table["y"].drop_duplicates().tolist() == [1, 0]
    assert {"103 @4", "104 @4"} <= set(grid.table["text"].dropna())
    assert grid.table["value"].isna().sum() == 1


def test_gradients_stay_off_outside(core_model):
    core_model.module.zero_grad(set_to_none=True)  # toys are shared with tests that leave gradients
    attribute_patching(core_model, CLEAN, CORRUPT, **ASKED)
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in core_model.module.parameters())
