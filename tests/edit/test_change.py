"""What an edit makes of an activation is its formula, at the chosen units alone."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import EditNotUsable
from tests.contract.conftest import load_toy

ROW = [5, 9, 30, 12, 7]
SITE = "blocks.1.mlp_out"
V = torch.linspace(-1, 1, 16, dtype=torch.float64)


def before_and_after(edit: rh.Edit, site: str = SITE) -> tuple[torch.Tensor, torch.Tensor]:
    model = load_toy("llama")
    after = model.run(ROW, edit, capture=site, capture_at="all").activations
    return model.capture(ROW, site)[site], after[site]


@pytest.mark.parametrize(
    ("edit", "formula"),
    [
        (lambda s: rh.Add(SITE, V, strength=s), lambda h, s: h + s * V),
        (lambda s: rh.Scale(SITE, 3.0, strength=s), lambda h, s: h * (1 + s * 2)),
        (lambda s: rh.Zero(SITE, strength=s), lambda h, s: h * (1 - s)),
        (lambda s: rh.Replace(SITE, V, strength=s), lambda h, s: h + s * (V - h)),
    ],
    ids=["add", "scale", "zero", "replace"],
)
@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
def test_an_edit_is_its_formula(edit, formula, strength):
    before, after = before_and_after(edit(strength))
    torch.testing.assert_close(after, formula(before, strength), rtol=0, atol=1e-12)
    assert not torch.allclose(after, before)


@pytest.mark.parametrize("edit", [rh.Add, rh.Replace])
def test_strength_zero_is_the_identity_even_where_the_formula_is_not(edit):
    model = load_toy("llama")
    output = model.run(ROW, edit(SITE, torch.full((16,), float("inf")), strength=0.0))
    assert torch.equal(output.logits, model.run(ROW).logits)
    assert (output.receipt.tokens, output.receipt.entries[0].change) == (5, 0)


@pytest.mark.parametrize("kind", [None, "resid_mid"])
def test_mix_adds_the_other_prompts_last_token_of_the_same_block(kind):
    source = f"blocks.1.{kind or 'mlp_out'}"
    other = load_toy("llama").capture("w44 w8", source, "last")[source][0, 0]
    before, after = before_and_after(rh.Mix(SITE, "w44 w8", 0.7, kind, strength=0.5))
    torch.testing.assert_close(after, before + 0.5 * 0.7 * other, rtol=0, atol=1e-12)


def test_replace_by_another_prompts_tokens_puts_each_in_its_place():
    other = load_toy("llama").capture("w44 w8 w6", SITE)[SITE][0]
    before, after = before_and_after(rh.Replace(SITE, rh.FromPrompt("w44 w8 w6", [2, 0]), positions=[1, -1]))
    expected = before.clone()
    expected[0, 1], expected[0, 4] = other[2], other[0]
    assert torch.equal(after, expected)


@pytest.mark.parametrize(
    ("site", "units", "value"),
    [
        (SITE, (3, 0), V[[3, 0]]),
        (SITE, (3, 0), V),
        ("blocks.1.heads", (2,), V[:4]),
        ("blocks.1.neurons", (23, 5), torch.tensor([7.0, -7.0], dtype=torch.float64)),
    ],
    ids=["value per unit", "value of the whole site", "head", "neurons"],
)
def test_units_restrict_an_edit(site, units, value):
    value = value.reshape(1, 4) if site.endswith("heads") else value
    before, after = before_and_after(rh.Replace(site, value, units=units), site)
    expected = before.clone()
    expected[:, :, list(units)] = value[list(units)] if value.shape[0] == before.shape[2] else value
    assert torch.equal(after, expected)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rh.Add(SITE, torch.full((16,), float("nan"))), "holds NaN"),
        (rh.Add(SITE, torch.ones(16), units=(-1,)), "units go from 0 to 15"),
        (rh.Add("blocks.1.heads", torch.ones(4, 4), units=(4,)), "units go from 0 to 3"),
        (rh.Add("model.layers.1", torch.ones(16), units=(0,)), "named sites"),
        (rh.Replace(SITE, torch.ones(2, 16), positions=[1, -4]), "named twice"),
        (rh.Replace(SITE, torch.ones(2, 5, 16)), "2 rows, the run has 1"),
    ],
)
def test_values_that_fit_nowhere_are_refused(edit, message):
    with pytest.raises(EditNotUsable, match=message):
        load_toy("llama").run(ROW, edit)


def test_a_capture_that_is_ragged_is_no_value():
    model = load_toy("llama")
    ragged = model.capture([ROW, ROW[:2]], SITE)
    with pytest.raises(EditNotUsable, match="rows of different length"):
        model.run([ROW, ROW[:2]], rh.Replace(SITE, ragged))


def test_captured_activations_of_the_run_itself_change_nothing():
    model = load_toy("gpt2")
    rows = [ROW, ROW[::-1]]
    for site in (SITE, "blocks.0.heads", "transformer.h.1", "transformer.h.1:in"):
        same = model.run(rows, rh.Replace(site, model.capture(rows, site)))
        assert torch.equal(same.logits, model.run(rows).logits)
        swapped = model.run(rows, rh.Replace(site, model.capture(rows[::-1], site)))
        assert not torch.allclose(swapped.logits, same.logits)
