"""Rotary frequencies that depend on the longest row of a pass: such rows share none, and nobody gets other numbers."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import rheostat as rh
from rheostat.base.errors import PromptTooLong
from rheostat.engine.continuous import Lane
from rheostat.models.toy import toy
from rheostat.serve.batcher import Batcher
from rheostat.serve.job import Job

ORIGINAL = 16
SHORT, LONG = list(range(5, 13)), list(range(5, 35))
KINDS = {
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "longrope": {
        "rope_type": "longrope",
        "factor": 4.0,
        "short_factor": [1.0, 1.0],
        "long_factor": [4.0, 8.0],
        "original_max_position_embeddings": ORIGINAL,
    },
}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> rh.Model:
    """A toy whose anatomy takes longer rows than its frequencies are steady for."""
    config = LlamaConfig(**toy("llama").config.to_dict())
    config.rope_parameters = {"rope_theta": 1e4, **KINDS[request.param]}
    config.max_position_embeddings = ORIGINAL if request.param == "dynamic" else 64
    module = AutoModelForCausalLM.from_config(config).double().eval()
    module.load_state_dict(toy("llama", dtype=torch.float64).state_dict())
    known = rh.load(module)
    return rh.load(module, anatomy=replace(known.body, n_context=64))


def logits(model: rh.Model, rows: list[list[int]]) -> torch.Tensor:
    """Return the last logits of rows in one batch, by the module itself."""
    n = max(map(len, rows))
    ids = torch.tensor([[0] * (n - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (n - len(row)) + [1] * len(row) for row in rows])
    with torch.no_grad():
        given = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
        return model.module(input_ids=ids, **given).logits[:, -1]


def test_the_module_gives_a_short_row_other_numbers_beside_a_long_one(model):
    """Why anything is refused here; rows of up to the steady length do nothing to each other."""
    alone = logits(model, [SHORT])[0]
    steady = model.steady_length
    assert steady == model.shared_context and steady in (ORIGINAL - 1, ORIGINAL)
    assert float((logits(model, [SHORT, LONG])[0] - alone).abs().max()) > 1e-4
    assert torch.allclose(logits(model, [SHORT, LONG[:steady]])[0], alone, atol=1e-9)


def test_a_running_batch_takes_no_row_that_may_grow_beyond_the_steady_length(model):
    row = model.row(SHORT)
    Lane(model, row, rh.Plan(), max_new_tokens=model.steady_length - len(SHORT))
    with pytest.raises(PromptTooLong, match=r"8 tokens and 9 to generate.*Beyond 1[56] tokens the rotary"):
        Lane(model, row, rh.Plan(), max_new_tokens=9)
    batcher = Batcher(model)
    try:
        with pytest.raises(PromptTooLong, match=r"Beyond 1[56] tokens"):
            batcher.submit(Job(tuple(LONG), max_new_tokens=1), print)
    finally:
        batcher.close()


def test_rows_of_different_length_are_refused_and_those_of_one_length_are_not(model):
    for run in (
        lambda: model.run([SHORT, LONG]),
        lambda: model.capture([SHORT, LONG], "blocks.0.mlp_out"),
        lambda: model.generate([SHORT, SHORT[:5]], max_new_tokens=9),
    ):
        with pytest.raises(PromptTooLong, match=r"Beyond 1[56] tokens"):
            run()
    found = model.run([LONG, LONG[::-1]]).logits[:, -1]
    assert torch.allclose(found[0], logits(model, [LONG])[0], atol=1e-9)
    model.generate([SHORT, SHORT[:5]], max_new_tokens=7)
    assert (
        model.generate([SHORT, SHORT[::-1]], max_new_tokens=12).ids[0]
        == model.generate(SHORT, max_new_tokens=12).ids[0]
    )


def test_a_sweep_shares_passes_and_so_takes_no_such_row(model):
    cells = [rh.Cell(rh.Zero(f"blocks.{block}.mlp_out")) for block in range(model.n_blocks)]
    metric = rh.LogitDifference(7, 9)
    assert len(model.sweep([SHORT], cells, [metric])) == len(cells)
    for prompts in ([LONG], [SHORT, LONG]):
        with pytest.raises(PromptTooLong, match=r"Beyond 1[56] tokens"):
            model.sweep(prompts, cells, [metric])


def test_other_rotary_positions_set_no_such_limit():
    for name in ("llama", "gemma3", "gpt_neox", "gpt2"):
        model = rh.load(toy(name, dtype=torch.float64))
        assert model.steady_length is None and model.shared_context == model.body.n_context
        assert torch.allclose(logits(model, [SHORT, LONG])[0], logits(model, [SHORT])[0], atol=1e-9)
