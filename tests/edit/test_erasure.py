"""Erase: its formula, and what it refuses."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable
from tests.contract.conftest import load_toy

SITE, ROW = "blocks.1.mlp_out", [5, 9, 30, 12, 7]
V, R = torch.randn(2, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
def test_an_erasure_is_its_formula(strength):
    model = load_toy("llama")
    before, after = (
        model.capture(ROW, SITE, edits=e)[SITE][0] for e in (None, rh.Erase(SITE, V, R, 0.5, strength=strength))
    )
    torch.testing.assert_close(after, before - strength * torch.outer(before @ R - 0.5, V), rtol=0, atol=1e-12)
    assert not torch.allclose(after, before)


def test_at_strength_one_every_token_reads_the_offset():
    found = load_toy("llama").capture(ROW, SITE, edits=rh.Erase(SITE, V / (R @ V), R, 0.5))[SITE][0]
    torch.testing.assert_close(found @ R, torch.full((5,), 0.5, dtype=torch.float64))


def test_strength_zero_is_the_identity():
    model = load_toy("llama")
    assert torch.equal(model.run(ROW, rh.Erase(SITE, V, R, strength=0.0)).logits, model.run(ROW).logits)


def test_heads_are_read_whole():
    model, site = load_toy("llama"), "blocks.1.heads"
    edit = rh.Erase(site, V.reshape(4, 4), R.reshape(4, 4))
    before, after = (model.capture(ROW, site, edits=e)[site][0].flatten(1) for e in (None, edit))
    torch.testing.assert_close(after, before - torch.outer(before @ R, V), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"read": R * float("nan")}, BadArgument, "without NaN"),
        ({"vector": V / 0}, BadArgument, "without NaN or infinity"),
        ({"read": R[:5]}, BadArgument, r"shape \(16,\), read \(5,\)"),
        ({"read": rh.FromPrompt("w5")}, BadArgument, "are tensors"),
        ({"offset": float("inf")}, BadArgument, "offset inf"),
        ({"units": (1, 2)}, EditNotUsable, "leave units out"),
    ],
)
def test_what_cannot_be_erased_is_refused(change, error, said):
    with pytest.raises(error, match=said):
        rh.Erase(**{"site": SITE, "vector": V, "read": R, **change})


def test_vectors_of_another_width_are_refused_before_a_run():
    with pytest.raises(EditNotUsable, match="shape"):
        load_toy("llama").run(ROW, rh.Erase(SITE, V[:8], R[:8]))
