"""A transformer with a hand-passed anatomy satisfies the same contract; a plain module is edited by module path."""

import dataclasses

import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.base.errors import EditNotApplied, EditNotUsable, SiteNotOffered, UnknownArchitecture
from rheostat.engine.taps import count_hooks
from rheostat.models.toy import toy

ROWS = [[5, 9, 13, 12, 7], [4, 8], [17, 1, 6]]
INPUTS = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4)


def test_a_hand_passed_anatomy_holds_its_identities_and_the_batch_contract(own_transformer, own_anatomy):
    model = rh.load(own_transformer, anatomy=own_anatomy)
    found = model.check(ROWS[0])
    assert found.holds and len(found.table) == 5
    plain = model.run(ROWS).logits
    for kind in own_anatomy.kinds:
        if kind == "pattern":
            continue
        edit = rh.Scale(f"blocks.0.{kind}", 3.0, positions=-2, units=(0, 1))
        left, right = (model.run(ROWS, edit, padding_side=side).logits for side in ("left", "right"))
        assert (left - plain).abs().amax(-1).min() > 1e-5, kind
        torch.testing.assert_close(left, right, rtol=0, atol=1e-9)
        for index, row in enumerate(ROWS):
            torch.testing.assert_close(left[index], model.run(row, edit).logits[0], rtol=0, atol=1e-9)


def test_a_wrong_hand_passed_anatomy_is_found_out(own_transformer, own_anatomy):
    with pytest.raises(UnknownArchitecture, match=r"'stack\.0\.speak'"):
        rh.load(own_transformer, anatomy=dataclasses.replace(own_anatomy, taps={"attn_out": "speak"}))
    swapped = dataclasses.replace(own_anatomy, taps={**own_anatomy.taps, "attn_out": "think", "mlp_out": "look"})
    assert not rh.load(own_transformer, anatomy=swapped).check(ROWS[0]).holds


def test_an_unknown_architecture_is_refused_until_its_anatomy_is_given():
    module = toy("llama", dtype=torch.float64)
    anatomy = rh.load(module).anatomy
    module.config.model_type = "lama"
    with pytest.raises(UnknownArchitecture, match=r"'lama'.*Closest: llama.*anatomy=rheostat\.Anatomy"):
        rh.load(module)
    assert rh.load(module, anatomy=anatomy).check(ROWS[0]).holds


def test_a_plain_module_is_read_and_edited_by_path(perceptron):
    weights = perceptron.module
    hidden = weights.first(INPUTS).detach()
    v = torch.arange(6, dtype=torch.float64)
    found = perceptron.run_plain(INPUTS, rh.Add("first", v, strength=-0.5), capture=["first", "second:in"])
    changed = hidden - 0.5 * v
    torch.testing.assert_close(found.activations["first"], changed, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.activations["second:in"], changed.relu(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.output, weights.second(changed.relu()).detach(), rtol=0, atol=1e-12)
    assert not found.output.requires_grad
    (entry,) = found.receipt.entries
    assert (entry.rows, entry.tokens) == (3, 3)
    assert entry.change == pytest.approx(float(0.5 * v.norm()))
    assert count_hooks(weights) == 0


def test_rows_of_a_plain_module_have_plans_of_their_own(perceptron):
    plans = [[rh.Zero("first")], [], [rh.Scale("first:in", 2.0), rh.Scale("second", -1.0)]]
    together = perceptron.run_plain(INPUTS, plans=plans)
    alone = [perceptron.run_plain(INPUTS[[i]], plan).output for i, plan in enumerate(plans)]
    torch.testing.assert_close(together.output, torch.cat(alone), rtol=0, atol=1e-12)
    assert [entry.rows for entry in together.receipt.entries] == [1, 1, 1]


def test_activations_of_a_plain_module_patch_row_by_row(perceptron):
    held = perceptron.run_plain(INPUTS.flip(0), capture="first").activations
    patched = perceptron.run_plain(INPUTS, rh.Replace("first", held)).output
    assert torch.equal(patched, perceptron.run_plain(INPUTS.flip(0)).output)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (rh.Zero("idle"), EditNotApplied, "reached zero at idle"),
        (rh.Zero("first", positions="last"), EditNotUsable, "no token positions"),
        (rh.Zero("first", units=(0,)), EditNotUsable, "named sites"),
        (rh.Mix("first", "a text"), EditNotUsable, "reads no text"),
    ],
)
def test_what_a_plain_module_cannot_do_is_refused(perceptron, edit, error, message):
    with pytest.raises(error, match=message):
        perceptron.run_plain(INPUTS, edit)
    assert count_hooks(perceptron.module) == 0


def test_a_module_that_no_pass_calls_cannot_be_read(perceptron):
    with pytest.raises(SiteNotOffered, match="idle"):
        perceptron.run_plain(INPUTS, capture=["first", "idle"])


def test_a_plain_module_offers_paths_and_no_blocks(perceptron):
    assert perceptron.sites() == ["first", "second", "idle"]
    with pytest.raises(SiteNotOffered, match="no blocks"):
        _ = perceptron.n_blocks


def test_a_module_keeps_its_mode_part_by_part():
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), nn.Dropout(0.5)).double().train()
    module[2].eval()
    model = rh.load(module)
    assert torch.equal(model.run_plain(INPUTS).output, model.run_plain(INPUTS).output)
    assert [part.training for part in module.modules()] == [True, True, True, False]
