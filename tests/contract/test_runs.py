"""Semantics 2: a row's result does not depend on its neighbours, on padding side or on batch size, under any edit."""

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rheostat as rh
from rheostat.edit.registry import EDITS
from rheostat.models.toy import D_VOCAB, N_BLOCKS, TOYS, toy
from tests.contract.conftest import TOLERANCE, tolerance

MOVED = 1e-4
"""What an edit must move some logit by, so that agreement within the tolerance means something."""

CHANGES = ("add", "project", "piecewise", "scale", "zero", "impair", "erase", "replace", "mix")
"""Edits of activations."""
NORM_KEPT = ", norm kept"
FORMS = (*CHANGES, *(f"{name}{NORM_KEPT}" for name in ("add", "project", "piecewise")))
"""The same with their options."""

ROWS = st.lists(st.lists(st.integers(4, D_VOCAB - 1), min_size=2, max_size=9), min_size=2, max_size=4)
POSITIONS = st.sampled_from(["last", "all", "prompt", 0, -2, slice(1, None), [1, 0]])
EXAMPLES = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kinds(model: rh.Model) -> list[str]:
    return [kind for kind in model.anatomy.kinds if kind != "pattern"]


def an_edit(model: rh.Model, name: str, site: str, positions: object, seed: int, strength: float = 1.0) -> rh.Edit:
    """Build an edit of any form at any site, with a value of the size of the activation there."""
    shape = model.anatomy.shape(site.rpartition(".")[2])
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    units = (0, 1) if name == "scale" else None  # a norm that follows undoes a common factor
    arguments = {
        "scale": (3.0,),
        "zero": (),
        "impair": (("gaussian", "negative", "gaussian")[seed % 3], 2.0),
        "erase": (value, value.flip(0), 0.5),
        "mix": ("w9 w4 w33", 1.5),
    }
    kind, kept, _ = name.partition(NORM_KEPT)
    options = {"keep_norm": True} if kept else {}
    return EDITS[kind](
        site, *arguments.get(kind, (value,)), positions=positions, units=units, strength=strength, **options
    )


def a_place(data: st.DataObject, model: rh.Model) -> str:
    return f"blocks.{data.draw(st.integers(0, N_BLOCKS - 1))}.{data.draw(st.sampled_from(kinds(model)))}"


def test_every_registered_edit_is_covered_by_the_contract():
    assert {*CHANGES, "cut_attention"} == set(EDITS)  # cuts have a contract of their own


@EXAMPLES
@given(data=st.data(), rows=ROWS, positions=POSITIONS, seed=st.integers(0, 99))
def test_a_ragged_batch_equals_each_row_alone_on_either_padding_side(core_model, data, rows, positions, seed):
    site = a_place(data, core_model)
    edit = an_edit(core_model, data.draw(st.sampled_from(sorted(FORMS))), site, positions, seed)
    plain = core_model.run(rows, logits_at="all").logits
    together = {
        side: core_model.run(
            rows, edit, logits_at="all", capture="blocks.*.resid_post", capture_at="all", padding_side=side
        )
        for side in ("left", "right")
    }
    assert (together["left"].logits - plain).nan_to_num().abs().max() > MOVED
    for index, row in enumerate(rows):
        alone = core_model.run(row, edit, logits_at="all", capture="blocks.*.resid_post", capture_at="all")
        for batch in together.values():
            torch.testing.assert_close(
                batch.logits[index, : len(row)], alone.logits[0], rtol=0, atol=TOLERANCE[core_model.dtype]
            )
            assert batch.logits[index, len(row) :].isnan().all()
            for name, tensor in alone.activations.items():
                torch.testing.assert_close(
                    batch.activations.rows(name)[index], tensor[0], rtol=0, atol=TOLERANCE[core_model.dtype]
                )


@EXAMPLES
@given(data=st.data(), rows=ROWS, seed=st.integers(0, 99))
def test_rows_with_plans_of_their_own_equal_each_row_alone(core_model, data, rows, seed):
    plans = [
        [
            an_edit(core_model, data.draw(st.sampled_from(sorted(FORMS))), a_place(data, core_model), "last", seed + k)
            for k in range(data.draw(st.integers(0, 2)))
        ]
        for _ in rows
    ]
    together = core_model.run(rows, plans=plans)
    for index, (row, plan) in enumerate(zip(rows, plans, strict=True)):
        alone = core_model.run(row, plan)
        torch.testing.assert_close(together.logits[index], alone.logits[0], rtol=0, atol=tolerance(alone.logits))
    assert together.receipt.tokens == sum(len(plan) for plan in plans)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_every_edit_at_every_site_holds_in_batches_and_moves_the_output(model, name):
    rows = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
    plain = model.run(rows).logits
    for kind in [*kinds(model), "embed", "final", "logits"]:
        site = kind if kind in ("embed", "final", "logits") else f"blocks.1.{kind}"
        if name == "mix" and kind == "logits":
            continue  # both edits exist; the other prompt's logits are covered by replace
        edit = an_edit(model, name, site, "last", 3)
        left, right = (model.run(rows, edit, padding_side=side) for side in ("left", "right"))
        assert (left.logits - plain).abs().amax(-1).min() > MOVED, site
        torch.testing.assert_close(left.logits, right.logits, rtol=0, atol=TOLERANCE[model.dtype])
        for index, row in enumerate(rows):
            torch.testing.assert_close(
                left.logits[index], model.run(row, edit).logits[0], rtol=0, atol=TOLERANCE[model.dtype]
            )
        assert (left.receipt.sites, left.receipt.rows, left.receipt.tokens) == (1, 3, 3)


def test_an_empty_plan_leaves_the_logits_bit_identical(model):
    row = [5, 9, 30, 12, 7]
    ids = torch.tensor([row])
    positions = {"position_ids": torch.arange(5)[None]} if "position_ids" in model.parameters_of_forward else {}
    with torch.no_grad():
        plain = model.module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **positions).logits
    assert torch.equal(model.run(row, [], logits_at="all").logits, plain)
    assert torch.equal(model.run(row, rh.Plan(), logits_at="all").logits, plain)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_strength_zero_is_the_identity_bit_for_bit(model, name):
    rows = [[5, 9, 30, 12, 7], [44, 8]]
    plain = model.run(rows, logits_at="all").logits
    for kind in kinds(model):
        edit = an_edit(model, name, f"blocks.1.{kind}", "all", 3, strength=0.0)
        output = model.run(rows, edit, logits_at="all")
        assert torch.equal(output.logits.nan_to_num(), plain.nan_to_num())
        assert output.receipt.tokens == 7
        assert output.receipt.entries[0].change == 0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", TOYS)
def test_the_parts_of_every_family_add_up(name, dtype, tolerance):
    model = rh.load(toy(name, dtype=dtype))
    found = model.check([5, 9, 30, 12, 7, 44, 8])
    assert found.tolerance == tolerance
    assert found.worst <= tolerance
    assert len(found.table) == (5 if "resid_mid" in model.anatomy.taps else 3)


def test_a_wrong_anatomy_is_found_out_by_the_check():
    module = toy("llama", dtype=torch.float64)
    right = rh.load(module).anatomy
    wrong = dataclasses.replace(right, taps={**right.taps, "mlp_out": "mlp.up_proj:in"})
    assert not rh.load(module, anatomy=wrong).check([5, 9, 30]).holds
    half = dataclasses.replace(right, taps={**right.taps, "resid_mid": "post_attention_layernorm:in"})
    broken = rh.load(module, anatomy=half).check([5, 9, 30]).table.set_index("identity")["relative_error"]
    assert broken["an edit at resid_mid reaches MLP and skip path"] > 1e-3
    assert broken.drop("an edit at resid_mid reaches MLP and skip path").max() < 1e-9


def test_a_plan_of_one_prompt_names_tokens_that_a_shorter_one_lacks(model):
    long, short = [5, 9, 30, 12, 7], [5, 9, 30]
    plans = [rh.Scale("blocks.1.mlp_out", 3.0, positions=4), rh.Scale("blocks.1.mlp_out", 3.0, positions=[0, 2])]
    together = model.run([long, short], plans=plans).logits
    for row, (prompt, plan) in enumerate(zip((long, short), plans, strict=True)):
        alone = model.run(prompt, plan).logits[0]
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-9 if model.dtype == torch.float64 else 1e-5)
        assert (alone - model.run(prompt).logits[0]).abs().max() > 1e-4
