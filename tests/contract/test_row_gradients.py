"""Gradients of several prompts in one padded pass are those of each prompt alone."""

import pytest
import torch

from rheostat.base.errors import BadArgument, RheostatError, SiteNotOffered
from rheostat.engine.gradients import site_gradients
from rheostat.engine.row_gradients import row_gradients
from rheostat.engine.taps import count_hooks
from tests.contract.conftest import load_toy, tolerance

PROMPTS = [[5, 9, 30, 12, 7], [5, 9, 41], [22, 8, 19, 44, 6, 13, 50]]
AT = [(3, 4), (1, 2), (2, 6)]


def number(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1)[:, :, 3].mean(-1)


def test_every_prompt_has_the_gradients_that_it_has_alone(model):
    sites = [f"blocks.*.{kind}" for kind in model.anatomy.kinds if kind != "pattern"]
    held = [one.grad for one in model.module.parameters()]
    found = row_gradients(model, PROMPTS, sites, [number] * 3, logits_at=AT, positions=AT)
    allowed = tolerance(model.run(PROMPTS[2]).logits)
    moved = 0.0
    for row, (prompt, at) in enumerate(zip(PROMPTS, AT, strict=True)):
        alone = site_gradients(model, prompt, sites, number, logits_at=at)
        torch.testing.assert_close(found.values[row], alone.values[0], rtol=0, atol=allowed)
        for name, gradient in alone.gradients.items():
            torch.testing.assert_close(found.gradients[name][row], gradient[0, list(at)], rtol=1e-5, atol=allowed)
            wanted = alone.activations[name][0, list(at)]
            torch.testing.assert_close(found.activations[name][row], wanted, rtol=1e-5, atol=allowed)
            moved = max(moved, float(gradient.abs().max()))
    assert moved > 1e-2
    assert not found.values.requires_grad
    assert all(one.grad is before for one, before in zip(model.module.parameters(), held, strict=True))


@pytest.mark.parametrize("wrong", ["blocks.0.pattern", "lm_head", "logits", "blocks.0.mlp.ot"])
def test_what_has_no_gradient_is_refused_before_anything_runs(wrong, monkeypatch):
    model = load_toy("llama")
    hooks = count_hooks(model.module)
    monkeypatch.setattr(type(model.module), "forward", None)
    with pytest.raises(RheostatError) as refused:
        row_gradients(model, PROMPTS, ["final", wrong], [number] * 3, logits_at=AT, positions=AT)
    assert isinstance(refused.value, SiteNotOffered) == (wrong != "blocks.0.mlp.ot")
    assert count_hooks(model.module) == hooks


def test_numbers_that_count_and_lists_that_do_not_fit_are_refused():
    model = load_toy("llama")
    hooks = count_hooks(model.module)
    with pytest.raises(BadArgument, match="no gradient"):
        row_gradients(
            model, PROMPTS, "final", [lambda logits: logits.argmax(-1)[:, 0].double()] * 3, logits_at=AT, positions=AT
        )
    with pytest.raises(BadArgument, match="3 prompts"):
        row_gradients(model, PROMPTS, "final", [number] * 2, logits_at=AT, positions=AT)
    assert count_hooks(model.module) == hooks
