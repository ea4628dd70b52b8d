"""Semantics 3 and 4: nothing is registered before everything is resolved, and leaving a run leaves no hook behind."""

import dataclasses

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import CompiledModel, EditNotApplied, EditNotUsable, PositionNotFound, SiteNotFound
from rheostat.engine.taps import count_hooks

ROW = [5, 9, 30, 12, 7]
GOOD = rh.Zero("blocks.0.mlp_out")
WRONG = rh.Zero("blocks.1.mlp.ot")


@pytest.mark.parametrize(
    "call",
    [
        lambda model, plan: model.run(ROW, plan),
        lambda model, plan: model.capture(ROW, "blocks.0.resid_post", edits=plan),
        lambda model, plan: model.generate(ROW, plan, max_new_tokens=2),
        lambda model, plan: model.lens(ROW, edits=plan),
        lambda model, plan: model.editing(plan).__enter__(),
    ],
)
def test_a_wrong_second_site_leaves_no_hook_of_the_first(model, call, monkeypatch):
    before = count_hooks(model.module)
    registered = []
    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", lambda *_, **__: registered.append(1))
    with pytest.raises(SiteNotFound, match=r"Closest: blocks\.1\.mlp_out"):
        call(model, [GOOD, WRONG])
    assert registered == []
    assert count_hooks(model.module) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_in_the_middle_of_a_pass_leaves_no_hook_and_exact_logits(model, error, monkeypatch):
    before = model.run(ROW).logits
    hooks = count_hooks(model.module)
    seen = []

    def fail(self: rh.Zero, activation: torch.Tensor, value: object) -> torch.Tensor:
        seen.append(count_hooks(model.module))
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(rh.Zero, "change", fail)
        with pytest.raises(error):
            model.run(ROW, GOOD)
        with pytest.raises(error):
            model.generate(ROW, GOOD, max_new_tokens=3)
    assert min(seen) > hooks
    assert count_hooks(model.module) == hooks
    assert torch.equal(model.run(ROW).logits, before)


def test_an_edit_after_the_last_captured_site_never_fires_and_says_so(model):
    with pytest.raises(EditNotApplied, match=r"blocks\.2\.mlp_out"):
        model.capture(ROW, "blocks.0.resid_post", edits=rh.Zero("blocks.2.mlp_out"))


def test_leaving_an_editing_block_without_a_pass_raises(model):
    with pytest.raises(EditNotApplied), model.editing(GOOD):
        pass


@pytest.mark.parametrize("position", [5, -6, [0, 7], slice(5, 9)])
def test_a_position_outside_the_row_is_refused(model, position):
    with pytest.raises(PositionNotFound):
        model.run(ROW, rh.Zero("blocks.0.mlp_out", positions=position))


def test_values_and_units_that_do_not_fit_are_refused(model):
    with pytest.raises(EditNotUsable, match="shape"):
        model.run(ROW, rh.Add("blocks.0.mlp_out", torch.zeros(3)))
    with pytest.raises(EditNotUsable, match="units go from 0 to 15"):
        model.run(ROW, rh.Zero("blocks.0.mlp_out", units=(16,)))
    with pytest.raises(EditNotUsable, match="3 positions, but 5 tokens"):
        model.run(ROW, rh.Replace("blocks.0.mlp_out", torch.zeros(3, 16)))


def test_a_compiled_module_is_refused_by_name(model):
    compiled = torch.compile(torch.nn.Sequential(torch.nn.Linear(2, 2)))
    with pytest.raises(CompiledModel, match="compiled"):
        rh.load(compiled)


def test_gradients_through_an_edit_agree_with_finite_differences(model):
    vector = torch.zeros(16, dtype=torch.float64, requires_grad=True)

    def loss(v: torch.Tensor) -> torch.Tensor:
        return model.run(ROW, rh.Add("blocks.1.mlp_out", v.to(model.dtype), positions="last"), gradients=True).logits[
            0, 0, 3
        ]

    loss(vector).backward()
    direction = torch.eye(16, dtype=torch.float64)[2]
    step = 1e-4 if model.dtype == torch.float64 else 1e-1
    with torch.no_grad():
        slope = (loss(step * direction) - loss(-step * direction)) / (2 * step)
    assert vector.grad[2] == pytest.approx(float(slope), rel=1e-2, abs=1e-5)
    assert abs(float(slope)) > 1e-6


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_every_edit_survives_a_file(suffix, tmp_path):
    value = torch.randn(2, 16, dtype=torch.float64)
    plan = rh.Plan(
        (
            rh.Add("blocks.1.mlp_out", value[0], strength=0.5, units=(1, 3)),
            rh.Scale("blocks.*.heads", 2.0, positions=slice(1, None)),
            rh.Zero("final", positions=[0, -1]),
            rh.Replace("blocks.0.mlp_out", value, positions="w5 w6"),
            rh.Replace("blocks.0.attn_out", rh.FromPrompt("w4 w9", positions=1, kind="resid_pre")),
            rh.Mix("blocks.2.attn_out", "w7 w8", 0.7, "resid_mid"),
        )
    )
    plan.save(tmp_path / f"plan{suffix}")
    loaded = rh.Plan.load(tmp_path / f"plan{suffix}")
    assert loaded == plan
    assert loaded.fingerprint() == plan.fingerprint()
    changed = dataclasses.replace(plan.edits[0], strength=0.6)
    assert rh.Plan((changed, *plan.edits[1:])) != plan
