"""What would give a number of something else is refused, in one line, before anything is registered."""

import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable, SiteNotOffered
from rheostat.engine.plain_sweep import sweep_outputs
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import sweep_logits
from rheostat.engine.taps import count_hooks
from rheostat.models.toy import toy
from tests.contract.conftest import load_toy, word_tokenizer

SITE = "blocks.1.resid_post"
PROMPT = "w5 w6 w7"


@pytest.mark.parametrize("shape", [(1, 16), (3, 16), (2, 3, 16), (4, 4)])
def test_an_erasure_reads_one_token_alone(shape):
    model, vector = load_toy("llama"), torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    for prompts in (PROMPT, [PROMPT, "w9 w8"]):
        with pytest.raises(EditNotUsable, match=r"one token of this site has \(16,\)"):
            model.run(prompts, rh.Erase(SITE, vector, vector))
        with pytest.raises(EditNotUsable, match="cell 0"):
            sweep_logits(model, prompts, [rh.Erase(SITE, vector, vector)])
    with pytest.raises(EditNotUsable, match=r"has \(16,\)"):
        model.run(PROMPT, rh.Erase("model.layers.1", vector, vector))
    assert count_hooks(model.module) == 0
    one = torch.linspace(-1, 1, 16).double()
    clean, erased = (model.capture(PROMPT, SITE, edits=edits)[SITE] for edits in (None, rh.Erase(SITE, one, one)))
    torch.testing.assert_close(erased, clean - (clean @ one)[..., None] * one)


def test_a_module_whose_heads_could_be_tokens_is_refused():
    model, path = load_toy("gemma3"), "model.layers.0.self_attn.q_norm"
    with pytest.raises(SiteNotOffered, match="which axis counts the tokens"):
        model.capture("w5 w6 w7 w8", path, positions=1)  # it has four heads
    with pytest.raises(SiteNotOffered, match="which axis counts the tokens"):
        model.run("w5 w6 w7 w8", rh.Zero(path, positions=3))
    for prompt in (PROMPT, "w5 w6 w7 w8 w9"):
        with pytest.raises(SiteNotOffered, match="not one each"):
            model.capture(prompt, path)
        with pytest.raises(SiteNotOffered, match="not one each"):
            model.run(prompt, rh.Zero(path))
    tokens_first = load_toy("qwen3").capture(PROMPT, path)[path]
    assert tokens_first.shape == (1, 3, 4, 4)
    assert count_hooks(model.module) == 0


def test_one_plan_in_a_list_is_for_one_prompt():
    model, plans = load_toy("llama"), [[rh.Zero(SITE, positions=0)]]
    assert model.run(PROMPT, plans=plans).receipt.rows == 1
    for verb in (model.run, model.generate, lambda prompts, plans: model.capture(prompts, SITE, plans=plans)):
        with pytest.raises(EditNotUsable, match="1 plans for 3 prompts"):
            verb([PROMPT] * 3, plans=plans)
    plain = rh.load(nn.Linear(3, 2))
    with pytest.raises(EditNotUsable, match="1 plans for 3 prompts"):
        plain.run_plain(torch.ones(3, 3), plans=[None])


def test_rows_that_influence_each_other_at_an_early_part_are_noticed():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    plain = rh.load(nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 4), nn.Linear(4, 2)).eval())
    inputs = torch.randn(5, 3)
    cells = [rh.Scale("0", 3.0), rh.Add("0", torch.tensor([5.0, 0, 0, -5])), rh.Zero("2", strength=0.5)]
    for chunk in sweep_outputs(plain, inputs, cells):
        for cell, found in zip(chunk.cells, chunk.outputs, strict=True):
            torch.testing.assert_close(found, plain.run_plain(inputs, edits=cells[cell]).output)


def test_shared_runs_serve_their_own_network_alone():
    models = [rh.load(toy("llama", dtype=torch.float64, seed=seed), tokenizer=word_tokenizer()) for seed in (0, 1)]
    runs, cells = share_runs(models[0], PROMPT, SITE), [rh.Add(SITE, torch.ones(16), positions=1)]
    assert sweep_logits(models[0], PROMPT, cells, shared=runs).isfinite().all()
    with pytest.raises(BadArgument, match="another network"):
        sweep_logits(models[1], PROMPT, cells, shared=runs)


def test_shared_runs_of_another_text_with_the_same_tokens_serve_no_cell_that_names_words():
    model, site = load_toy("llama"), "blocks.0.mlp_out"
    texts = ["zebra w5 lion w9", "lion w5 zebra w9"]  # neither animal is in the vocabulary
    runs, cell = share_runs(model, texts[0], site), rh.Zero(site, positions="zebra")
    with pytest.raises(BadArgument, match="another text with the same tokens: 'zebra w5 lion w9'"):
        sweep_logits(model, texts[1], [cell], shared=runs)
    assert torch.equal(sweep_logits(model, texts[0], [cell], shared=runs), sweep_logits(model, texts[0], [cell]))
    assert sweep_logits(model, texts[1], [rh.Zero(site, positions=0)], shared=runs).isfinite().all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(16, dtype=torch.complex64), "complex"),
        (torch.full((16,), float("inf")), "infinite in torch.float64"),
        (torch.full((16,), float("nan")), "holds NaN"),
    ],
)
def test_a_value_that_is_no_finite_real_number_is_refused(value, said):
    model = load_toy("llama")
    with pytest.raises(EditNotUsable, match=said):
        model.run(PROMPT, rh.Add(SITE, value))


def test_a_value_too_large_for_the_models_precision_is_refused():
    model = rh.load(toy("llama", dtype=torch.float16), tokenizer=word_tokenizer())
    with pytest.raises(EditNotUsable, match="infinite in"):
        model.run(PROMPT, rh.Add(SITE, torch.full((16,), 1e5)))


def test_minus_infinity_at_the_logits_forbids_a_token():
    model, bias = load_toy("llama"), torch.zeros(64)
    bias[9] = -float("inf")
    logits = model.run(PROMPT, rh.Add("logits", bias)).logits
    assert torch.isneginf(logits[..., 9]).all() and torch.isfinite(logits[..., :9]).all()
    with pytest.raises(EditNotUsable, match="infinite in"):
        model.run(PROMPT, rh.Add("logits", -bias))


def test_gradients_of_torch_func_reach_an_edits_value():
    model = load_toy("llama")

    def answer(value):
        return model.run(PROMPT, rh.Replace(SITE, value), gradients=True).logits[0, -1, 5]

    value = torch.ones(16, dtype=torch.float64)
    assert torch.func.grad(answer)(value).abs().max() > 0
