"""Edits and plans are values: frozen, comparable by content, and the same after a trip through a file."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import save_file

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable, FileNotUsable, WouldOverwrite
from rheostat.edit.erasure import Erase
from rheostat.edit.registry import EDITS
from tests.contract.conftest import load_toy

SITE = "blocks.1.mlp_out"
VECTOR = torch.linspace(-1, 1, 16, dtype=torch.float64)


def activations() -> rh.Activations:
    return load_toy("llama").capture([[5, 9], [30, 12]], ["blocks.0.mlp_out", SITE])


EXAMPLES = {
    "add": lambda: [rh.Add(SITE, VECTOR, strength=-0.5), rh.Add(SITE, activations(), positions="generated")],
    "project": lambda: [
        rh.Project(SITE, VECTOR, strength=0.5, decay=0.9),
        rh.Project("blocks.0.heads", VECTOR.view(4, 4), units=(1,), keep_norm=True, positions="prompt"),
    ],
    "piecewise": lambda: [
        rh.Piecewise(SITE, VECTOR, positions=rh.Positions.generated(5), decay=0.25, keep_norm=True),
        rh.Piecewise(SITE, rh.FromPrompt("w4")),
    ],
    "scale": lambda: [rh.Scale("blocks.*.heads", 0.1, units=(3, 0), positions=-2)],
    "zero": lambda: [rh.Zero("final"), rh.Zero("logits", positions=rh.Positions.substring("last"))],
    "erase": lambda: [Erase(SITE, VECTOR, VECTOR.flip(0), 0.5, decay=0.5, positions="generated")],
    "impair": lambda: [
        rh.Impair(SITE, "negative", 0.5, distribution="uniform", maximum="bound", seed=7, draw=3, units=(1, 4)),
        rh.Impair(SITE, "gaussian", 2.0, scale=VECTOR.abs(), decay=0.5, positions="generated"),
        rh.Impair("blocks.*.mlp_out", "magnitude", 0.25),
    ],
    "replace": lambda: [
        rh.Replace(SITE, VECTOR.float().expand(2, 16), positions=[0, -1]),
        rh.Replace(SITE, rh.FromPrompt("w4 w9", slice(None, 2), "resid_mid"), positions=slice(1, None, 2)),
    ],
    "cut_attention": lambda: [
        rh.CutAttention("blocks.*.pattern", positions="last", keys=[1, 2], units=(3, 0), strength=0.5),
        rh.CutAttention("blocks.1.pattern", positions="generated", keys=rh.Positions.substring("all")),
    ],
    "mix": lambda: [rh.Mix(SITE, "w4 w9", 1.5, "resid_mid", positions="w5 w6")],
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_every_registered_edit_is_equal_after_a_file(name, suffix, tmp_path):
    plan = rh.Plan(tuple(EXAMPLES[name]()))
    assert {type(edit) for edit in plan} == {EDITS[name]}
    plan.save(tmp_path / f"plan{suffix}")
    loaded = rh.Plan.load(tmp_path / f"plan{suffix}")
    assert loaded == plan
    assert hash(loaded) == hash(plan)
    assert loaded.fingerprint() == plan.fingerprint()
    assert [str(edit) for edit in loaded] == [str(edit) for edit in plan]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_vector_keeps_its_bits_and_its_dtype_in_a_file(dtype, suffix, tmp_path):
    vector = torch.tensor([0.1, -3e-3, math.pi, 0.0], dtype=dtype)
    rh.Plan((rh.Add(SITE, vector),)).save(tmp_path / f"plan{suffix}")
    (loaded,) = rh.Plan.load(tmp_path / f"plan{suffix}")
    assert loaded.vector.dtype == dtype
    assert torch.equal(loaded.vector, vector)


@pytest.mark.parametrize(
    "change",
    [
        {"site": "blocks.2.mlp_out"},
        {"vector": VECTOR * 2},
        {"vector": VECTOR.float()},
        {"vector": VECTOR[None]},
        {"positions": "last"},
        {"units": (1,)},
        {"strength": 0.5},
        {"keep_norm": True},
        {"decay": 0.5},
        {"positions": rh.Positions.generated(3)},
    ],
)
def test_edits_are_equal_by_content_and_differ_in_every_field(change):
    edit = rh.Add(SITE, VECTOR)
    same = rh.Add(("mlp_out", 1), VECTOR.clone(), positions=rh.Positions("all"), strength=1.0)
    assert edit == same and hash(edit) == hash(same)
    changed = dataclasses.replace(edit, **change)
    assert changed != edit
    assert rh.Plan((edit, changed)) != rh.Plan((changed, edit))


def test_edits_of_different_classes_differ():
    assert rh.Add(SITE, VECTOR) != rh.Replace(SITE, VECTOR)
    assert rh.Zero(SITE) != "zero"


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_cannot_be_changed(name):
    for edit in EXAMPLES[name]():
        for field in dataclasses.fields(edit):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(edit, field.name, None)


def test_plans_add_up_and_leave_their_parts_alone():
    first, second = rh.Zero(SITE), rh.Scale("final", 2.0)
    plan = rh.Plan((first,))
    assert plan + second == rh.Plan((first, second)) == plan + rh.Plan((second,))
    assert len(plan) == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: rh.Zero(SITE, strength=float("nan")),
        lambda: rh.Scale(SITE, float("inf")),
        lambda: rh.Zero(SITE, positions=""),
        lambda: rh.Zero(SITE, decay=float("nan")),
    ],
)
def test_settings_that_are_no_values_are_refused_at_once(build):
    with pytest.raises(BadArgument):
        build()


def test_an_empty_choice_of_units_is_refused():
    with pytest.raises(EditNotUsable, match="nothing to change"):
        rh.Zero(SITE, units=())


def as_json(*entries: dict[str, object], **settings: object) -> str:
    return json.dumps({"format": "rheostat-plan-1", "edits": list(entries), **settings})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no plan in JSON"),
        ("[]", "no plan in JSON"),
        (as_json(format="rheostat-plan-2"), "no plan of the format"),
        (as_json({"edit": "zeroo", "site": SITE}), "no edit 'zeroo'. Closest: zero"),
        (as_json({"site": SITE}), "no edit None"),
        (as_json({"edit": "zero", "site": SITE, "strenght": 2}), "no setting 'strenght'. Closest: strength"),
        (as_json({"edit": "zero"}), "site"),
        (as_json({"edit": "add", "site": SITE, "vector": {"tensor": "vector"}}), "no tensor 'vector'"),
        (as_json({"edit": "mix", "site": SITE}), "prompt"),
        (
            as_json(
                {"edit": "zero", "site": SITE, "tensors": {"v": {"dtype": "float32", "shape": [2], "data": "AA=="}}}
            ),
            "damaged",
        ),
        (
            as_json({"edit": "zero", "site": SITE, "tensors": {"v": {"dtype": "object", "shape": [0], "data": ""}}}),
            "dtype",
        ),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_what_is_wrong(text, message):
    with pytest.raises(EditNotUsable, match=message):
        rh.Plan.from_json(text)


def test_plan_files_are_refused_by_name_when_they_cannot_be_used(tmp_path):
    plan = rh.Plan((rh.Zero(SITE),))
    load_toy("llama").capture([5], "final").save(tmp_path / "acts.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("acts.safetensors", "text.safetensors", "missing.json"):
        with pytest.raises(FileNotUsable, match=name):
            rh.Plan.load(tmp_path / name)
    for name, edits in (("cut", "[{"), ("no_list", "3"), ("no_tensors", '[{"edit": "zero"}]')):
        metadata = {"format": "rheostat-plan-1", "edits": edits}
        save_file({"unused": torch.zeros(1)}, tmp_path / f"{name}.safetensors", metadata=metadata)
        with pytest.raises(FileNotUsable, match=f"{name}.safetensors holds a damaged plan"):
            rh.Plan.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(BadArgument, match=r"\.json or \.safetensors"):
        plan.save(tmp_path / "plan.yaml")
    plan.save(tmp_path / "plan.json")
    with pytest.raises(WouldOverwrite):
        rh.Plan().save(tmp_path / "plan.json")
    assert rh.Plan.load(tmp_path / "plan.json") == plan
