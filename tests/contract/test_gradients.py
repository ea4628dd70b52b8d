"""The gradient at every site of every family is what a small patch there changes; taking it leaves nothing behind."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, RheostatError, SiteNotOffered
from rheostat.engine.gradients import site_gradients
from rheostat.engine.taps import count_hooks
from rheostat.models.anatomy import MODEL_KINDS
from rheostat.models.toy import toy
from rheostat.tracing.activation_patching import cells_at
from rheostat.tracing.attribution_patching import attributions
from tests.contract.conftest import load_toy

SOURCE, TARGET = [5, 9, 30, 12, 7], [5, 9, 41, 12, 7]
METRIC = rh.LogitDifference(3, 4)
STRENGTH, TOLERANCE = 3e-3, 1e-4
"""Most families take some norm or rotation in float32, whatever the weights: smaller steps would drown in its noise."""
SHARP = ("gpt2", "gpt_neox", "gpt_neox-sequential", "opt", "phi", "falcon", "falcon-sequential")
"""Families that stay in float64 throughout."""
SHARP_STRENGTH, SHARP_TOLERANCE = 1e-4, 1e-8
MOVED = 1e-3
"""What some estimate of each kind of site must exceed, so that agreement within the tolerance means something."""


def site(kind: str) -> str:
    return kind if kind in MODEL_KINDS else f"blocks.*.{kind}"


def slopes(model: rh.Model, places: pd.DataFrame, strength: float) -> np.ndarray:
    """Return, per place, what a small patch there changes, per unit of its strength."""
    cells = cells_at(model.capture(SOURCE, list(dict.fromkeys(places["site"]))), places)
    both = [
        rh.Cell(replace(edit, strength=sign * strength)) for cell in cells for edit in cell.plan for sign in (1, -1)
    ]
    values = model.sweep(TARGET, both, METRIC)["logit_difference"].to_numpy().reshape(-1, 2)
    return (values[:, 0] - values[:, 1]) / (2 * strength)


def assert_slopes(model: rh.Model, kinds: list[str], *, sharp: bool, by_unit: bool = False) -> None:
    found = attributions(model, SOURCE, TARGET, METRIC, [site(kind) for kind in kinds], positions=[2, 4])
    table = found.table(by_unit=by_unit)
    wanted = slopes(model, table.drop(columns="effect"), SHARP_STRENGTH if sharp else STRENGTH)
    tolerance = SHARP_TOLERANCE if sharp else TOLERANCE
    np.testing.assert_allclose(table["effect"], wanted, rtol=0, atol=tolerance)
    kind_of = table["site"].str.split(".").str[-1]
    assert (table["effect"].abs().groupby(kind_of).max() > MOVED).all()


def test_estimates_are_the_slopes_of_small_patches_at_every_kind_of_site(request, model):
    sharp = request.node.callspec.params["model"] in SHARP
    kinds = [kind for kind in model.anatomy.kinds if kind != "pattern"]
    assert_slopes(model, [*kinds, *MODEL_KINDS], sharp=sharp)


def test_units_have_slopes_of_their_own():
    assert_slopes(load_toy("gpt2"), ["heads", "final"], sharp=True, by_unit=True)


def test_nothing_is_left_on_the_module_and_its_numbers_stay(model):
    hooks, before = count_hooks(model.module), model.run(TARGET).logits
    found = site_gradients(model, TARGET, ["blocks.*.resid_mid"] if "resid_mid" in model.anatomy.kinds else "final",
                           lambda logits: logits[:, 0, 3], logits_at=[4])  # fmt: skip
    assert count_hooks(model.module) == hooks
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert torch.equal(model.run(TARGET).logits, before)
    torch.testing.assert_close(found.values, before[:, -1, 3], rtol=0, atol=1e-6)
    assert not any(tensor.requires_grad for tensor in (*found.gradients.values(), *found.activations.values()))
    assert max(float(one.abs().max()) for one in found.gradients.values()) > 1e-3


def test_activations_beside_gradients_are_those_of_a_capture(model):
    kinds = [f"blocks.*.{kind}" for kind in model.anatomy.kinds if kind != "pattern"]
    found = site_gradients(model, TARGET, [*kinds, "logits"], lambda logits: logits[:, 0, 3], logits_at=[4])
    for name, tensor in model.capture(TARGET, [*kinds, "logits"]).items():
        torch.testing.assert_close(found.activations[name], tensor, rtol=0, atol=1e-6)
        assert found.gradients[name].shape == tensor.shape


def test_parameters_need_no_gradient(core_model):
    frozen = rh.load(toy("llama", dtype=torch.float64))
    frozen.module.requires_grad_(False)
    asked = {"sites": "blocks.*.heads", "of": lambda logits: logits[:, 0, 3], "logits_at": [4]}
    found = site_gradients(frozen, TARGET, **asked).gradients
    wanted = site_gradients(load_toy("llama"), TARGET, **asked).gradients
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert not any(parameter.requires_grad for parameter in frozen.module.parameters())


@pytest.mark.parametrize("wrong", ["blocks.0.pattern", "lm_head", "blocks.0.mlp.ot"])
def test_what_has_no_gradient_is_refused_before_anything_runs(wrong, monkeypatch):
    model = load_toy("llama")
    monkeypatch.setattr(type(model.module), "forward", None)
    with pytest.raises(RheostatError, match=r"blocks\.0\.pattern|lm_head|mlp\.ot") as refused:
        site_gradients(model, TARGET, ["final", wrong], lambda logits: logits[:, 0, 3], logits_at=[4])
    assert isinstance(refused.value, SiteNotOffered) == (wrong != "blocks.0.mlp.ot")


def test_a_measure_that_counts_is_refused(core_model):
    hooks = count_hooks(core_model.module)
    with pytest.raises(BadArgument, match="no gradient"):
        site_gradients(core_model, TARGET, "final", lambda logits: logits.argmax(-1)[:, 0].double(), logits_at=[4])
    assert count_hooks(core_model.module) == hooks


def test_an_exception_in_the_pass_leaves_no_hook(core_model, monkeypatch):
    hooks = count_hooks(core_model.module)

    def fail(_logits: torch.Tensor) -> torch.Tensor:
        assert count_hooks(core_model.module) > hooks
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site_gradients(core_model, TARGET, "blocks.*.mlp_out", fail, logits_at=[4])
    assert count_hooks(core_model.module) == hooks
