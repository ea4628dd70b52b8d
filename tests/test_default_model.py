"""Facts of the default model, measured on it."""

import pytest
import torch

import rheostat as rh

pytestmark = pytest.mark.slow
GERMANY, FRANCE = "The capital of Germany is", "The capital of France is"


@pytest.fixture(scope="module")
def model() -> rh.Model:
    return rh.load("smollm2-135m-instruct")


def test_the_lens_reads_germany_in_block_23_and_berlin_at_the_end(model):
    rows = {(row["block"], row["point"]): row for row in model.lens(GERMANY, k=1).rows()}
    assert rows[29, "resid_post"]["token"] == " Berlin"
    assert rows[29, "resid_post"]["probability"] == pytest.approx(0.796, abs=0.002)
    assert rows[23, "attn_out"]["token"] == " Germany"
    assert rows[23, "attn_out"]["probability"] >= 0.9


def test_replacing_that_one_activation_makes_paris_the_answer(model):
    france = model.capture(FRANCE, "blocks.23.attn_out", positions="last")
    run = model.run(GERMANY, rh.Replace("blocks.23.attn_out", france, positions="last"))
    assert run.top_tokens(1)["token"][0] == "␣Paris"
    assert model.run(GERMANY).top_tokens(1)["token"][0] == "␣Berlin"
    assert (run.receipt.sites, run.receipt.rows, run.receipt.tokens) == (1, 1, 1)
    assert run.receipt.entries[0].relative_change > 0.5


def test_batches_agree_with_single_rows_within_float32_noise(model):
    prompts = [GERMANY, "Hi", "What a lovely day it is, said the old man to the sea"]
    edit = rh.Scale("blocks.10.mlp_out", 2.0, positions="last")
    together = model.run(prompts, edit).logits[:, 0]
    alone = torch.stack([model.run(prompt, edit).logits[0, 0] for prompt in prompts])
    extent = float(alone.max() - alone.min())
    assert (together - alone).abs().max() < 1e-5 * extent
    assert (together - model.run(prompts).logits[:, 0]).abs().max() > 1e-2 * extent


def test_the_parts_of_the_default_model_add_up(model):
    assert model.check().worst <= 1e-5
