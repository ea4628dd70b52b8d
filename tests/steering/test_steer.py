"""Texts side by side are those that `generate` writes alone, with receipts of their own."""

import io

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import EditNotUsable
from rheostat.report.steered import dose_lines, steered_page, steered_table
from rheostat.steering.plan import at_strength, random_plan
from rheostat.steering.steer import Steered, steer
from tests.contract.conftest import load_toy

PROMPTS = ["w5 w9 w30", "w44 w8 w17 w21"]
OPTIONS = {"max_new_tokens": 5, "temperature": 1.0, "top_k": 20, "seed": 3}


def a_plan() -> rh.Plan:
    """Several edits, the middle one at three sites: their receipts stand mixed with those of the control."""
    vectors = torch.randn(3, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rh.Plan(
        (
            rh.Add("blocks.0.mlp_out", vectors[0]),
            rh.Add("blocks.*.attn_out", vectors[1], positions="generated", decay=0.5),
            rh.Project("final", vectors[2], positions="prompt"),
        )
    )


@pytest.mark.parametrize("control", [True, False])
def test_each_text_and_receipt_is_that_of_a_generation_alone(control):
    model, plan = load_toy("llama"), a_plan()
    found = steer(model, PROMPTS, plan, strength=1.5, control=control, **OPTIONS)
    assert found.plan == at_strength(plan, 1.5)
    assert found.prompts == tuple(PROMPTS)
    assert found.plain == model.generate(PROMPTS, **OPTIONS).texts
    wanted = {"steered": found.plan} | ({"control": random_plan(found.plan, seed=3)} if control else {})
    for name, own in wanted.items():
        alone = model.generate(PROMPTS, own, **OPTIONS)
        assert getattr(found, name) == alone.texts != found.plain
        receipt = found.receipt if name == "steered" else found.control_receipt
        assert [entry.site for entry in receipt.entries] == [entry.site for entry in alone.receipt.entries]
        for one, other in zip(receipt.entries, alone.receipt.entries, strict=True):
            assert (one.edit, one.rows, one.tokens) == (other.edit, other.rows, other.tokens)
            assert one.relative_change == pytest.approx(other.relative_change, rel=1e-9)
    assert (found.control is None, found.control_receipt is None) == (not control, not control)


def test_the_relative_dose_is_the_mean_over_changed_tokens():
    model = load_toy("llama")
    vector = torch.ones(16, dtype=torch.float64)
    plan = [rh.Add("blocks.1.resid_post", vector, positions=[0, 1]), rh.Add("final", vector, positions="last")]
    found = steer(model, PROMPTS[0], plan, control=True, max_new_tokens=2)
    first = model.capture(PROMPTS[0], "blocks.1.resid_post")["blocks.1.resid_post"][0, :2]
    last = model.capture(PROMPTS[0], "final", "last", edits=plan[:1])["final"][0]
    doses = [4 / float(h.norm()) for h in (*first, *last)]
    assert found.relative_dose == pytest.approx(sum(doses) / 3)
    assert found.control_dose is not None and found.control_dose != found.relative_dose
    doses = found.doses()
    assert list(doses["text"]) == ["steered"] * 2 + ["control"] * 2
    assert list(doses["tokens"]) == [2, 1, 2, 1]


def test_a_control_of_something_without_a_vector_is_refused_before_anything_is_written(monkeypatch):
    model = load_toy("llama")
    monkeypatch.setattr(type(model.module), "generate", None)
    with pytest.raises(EditNotUsable, match="control=False"):
        steer(model, PROMPTS, rh.Zero("final"))


def test_texts_are_shown_side_by_side_with_their_doses():
    from rich.console import Console

    model = load_toy("llama")
    found = steer(model, PROMPTS, a_plan(), **OPTIONS)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(steered_table(found))
    shown = console.export_text()
    assert all(name in shown for name in ("prompt", "plain", "steered", "control"))
    assert all(word in shown for text in (*found.plain, *found.steered) for word in text.split())
    assert "steered: ‖Δ‖/‖h‖ = " in dose_lines(found) and "control: ‖Δ‖/‖h‖ = " in dose_lines(found)
    page = steered_page(found)
    assert "plain and steered" in page and "equal length" in page
    assert all(text.strip() in page for text in (*found.plain, *found.steered, *found.control))
    alone = Steered(**{**vars(found), "control": None, "control_receipt": None})
    assert "equal length" not in steered_page(alone) and "control" not in dose_lines(alone)
