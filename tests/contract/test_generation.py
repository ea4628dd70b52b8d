"""Edits in generation: with cache = without, batch = alone, beams, chunks and static caches see the same tokens."""

import pytest
import torch

import rheostat as rh

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
STEPS = 6


def an_add(model: rh.Model, positions: object = "all") -> rh.Add:
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
    return rh.Add("blocks.1.resid_post", vector, positions=positions)


def an_impairment(model: rh.Model, positions: object = "all") -> rh.Impair:
    return rh.Impair("blocks.1.resid_post", "negative", 3.0, positions=positions, units=tuple(range(0, 16, 2)), seed=4)


EDITS = pytest.mark.parametrize("an_edit", [an_add, an_impairment])


def step_logits(model: rh.Model, rows: list[list[int]], edit: rh.Edit | None, **options: object) -> torch.Tensor:
    """Return the logits of every generated step, (row, step, vocabulary), from transformers' own generate."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    lengths = [len(row) for row in rows]
    with model.editing(edit, prompt_lengths=lengths), torch.no_grad():
        out = model.module.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=STEPS,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            disable_compile=True,
            eos_token_id=None,
            pad_token_id=0,
            **options,
        )
    return torch.stack(out.logits, dim=1)


@EDITS
@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "last", 0, -2])
def test_generation_with_a_cache_equals_generation_without(core_model, an_edit, positions):
    edit = an_edit(core_model, positions)
    cached = step_logits(core_model, ROWS, edit, use_cache=True)
    plain = step_logits(core_model, ROWS, edit, use_cache=False)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-9)
    assert (cached - step_logits(core_model, ROWS, None)).abs().max() > 1e-3


@EDITS
@pytest.mark.parametrize("positions", ["all", "prompt", "generated", "last", 0, -2])
def test_a_generated_row_equals_the_row_alone(core_model, an_edit, positions):
    edit = an_edit(core_model, positions)
    together = step_logits(core_model, ROWS, edit)
    for index, row in enumerate(ROWS):
        torch.testing.assert_close(together[index], step_logits(core_model, [row], edit)[0], rtol=0, atol=1e-9)


@EDITS
@pytest.mark.parametrize("options", [{"cache_implementation": "static"}, {"prefill_chunk_size": 2}])
def test_static_caches_and_chunked_prefill_change_nothing(core_model, an_edit, options):
    edit = an_edit(core_model, "last")
    expected = step_logits(core_model, [ROWS[0]], edit)
    torch.testing.assert_close(step_logits(core_model, [ROWS[0]], edit, **options), expected, rtol=0, atol=1e-9)


def test_plans_per_prompt_reach_their_own_beams(core_model):
    plans = [[an_add(core_model, "all")], []]
    rows = [ROWS[1], [4, 6]]
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "disable_compile": True, "pad_token_id": 0}
    with core_model.editing(plans=plans) as receipt, torch.no_grad():
        together = core_model.module.generate(torch.tensor(rows), attention_mask=torch.ones(2, 2).long(), **options)
    for index, (row, plan) in enumerate(zip(rows, plans, strict=True)):
        with core_model.editing(plan), torch.no_grad():
            alone = core_model.module.generate(torch.tensor([row]), attention_mask=torch.ones(1, 2).long(), **options)
        n = alone.shape[1]
        assert torch.equal(together[index, :n], alone[0])
    assert receipt.value.rows == 1


def test_sampling_does_not_depend_on_the_batch(core_model):
    options = {"temperature": 1.0, "seed": 7, "max_new_tokens": STEPS}
    together = core_model.generate(ROWS, an_add(core_model), **options)
    for index, row in enumerate(ROWS):
        assert core_model.generate(row, an_add(core_model), **options).ids[0] == together.ids[index]
    assert core_model.generate(ROWS, an_add(core_model), **{**options, "seed": 8}).ids != together.ids
    different = core_model.generate([ROWS[0]] * 4, row_ids=range(4), **options).ids
    assert len(set(different)) > 1


def test_an_edit_of_generated_tokens_that_are_never_fed_raises(core_model):
    with pytest.raises(rh.RheostatError, match="changed nothing"):
        core_model.generate(ROWS[0], an_add(core_model, "generated"), max_new_tokens=1)
