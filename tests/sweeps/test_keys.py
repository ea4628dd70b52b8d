"""What a stored number is kept under: nothing that changes it is left out, and what changes nothing is not in it."""

import copy
import math

import pytest
import torch
import transformers

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.models.toy import toy
from rheostat.sweeps.generations import sweep_generations
from tests.contract.conftest import load_toy, word_tokenizer

PROMPT = "w5 w6 w7 w8"
ANIMALS = ["zebra w5 lion w9", "lion w5 zebra w9"]
CELL = [rh.Zero("blocks.0.mlp_out", positions=1)]


def load(module):
    return rh.load(module, tokenizer=word_tokenizer())


def probability(model, *, prompts=PROMPT, cells=CELL, store=None):
    return model.sweep(prompts, cells, rh.Probability("w9"), store=store)["probability"].tolist()


@pytest.mark.parametrize(
    ("family", "setting", "value"),
    [
        ("mistral", "sliding_window", 2),
        ("llama", "hidden_act", "relu"),
        ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": 3.0}),
        ("gemma2", "final_logit_softcapping", 0.5),
    ],
)
def test_equal_weights_under_another_config_share_no_result(family, setting, value, tmp_path):
    base = toy(family)
    config = copy.deepcopy(base.config)
    setattr(config, setting, value)
    other = type(base)(config).eval()
    other.load_state_dict(base.state_dict())
    base, other = load(base), load(other)
    assert base.weight_hash == other.weight_hash
    stored = [probability(one, store=tmp_path / "store.sqlite") for one in (base, other)]
    assert stored == [probability(base), probability(other)]
    assert stored[0] != stored[1]


def test_a_module_attribute_and_a_buffer_that_no_file_holds_are_part_of_what_is_computed():
    model = load(toy("llama"))
    seen = {model.identity}
    model.module.model.norm.variance_epsilon = 0.5
    seen.add(model.identity)
    model.module.model.rotary_emb.inv_freq.mul_(2)
    assert len({model.identity, *seen}) == 3
    assert model.weight_hash == load(toy("llama")).weight_hash


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3"])
def test_running_saving_and_loading_leave_the_identity_as_it_was(name, tmp_path):
    model = load(toy(name))
    before = model.identity
    model.run(PROMPT)
    model.generate(PROMPT, max_new_tokens=2)
    model.module.save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    assert model.identity == before == rh.load(tmp_path).identity == load(toy(name)).identity


@pytest.mark.parametrize("type_", ["dynamic", "longrope"])
def test_frequencies_that_passes_set_anew_are_no_part_of_the_identity(type_):
    factors = {"short_factor": [1.0, 1.0], "long_factor": [2.0, 4.0], "original_max_position_embeddings": 8}
    rope = {"rope_type": type_, "rope_theta": 10000.0, "factor": 4.0, **(factors if type_ == "longrope" else {})}
    config = copy.deepcopy(toy("llama").config)
    config.rope_parameters, config.max_position_embeddings = rope, 8
    model = load(transformers.LlamaForCausalLM(config).eval())
    before, frequencies = model.identity, model.module.model.rotary_emb.inv_freq.clone()
    model.module(torch.arange(4, 24)[None])
    assert not torch.equal(model.module.model.rotary_emb.inv_freq, frequencies)
    assert model.identity == before


def test_a_weight_changed_in_place_gives_new_results(tmp_path):
    model, store = load(toy("llama")), tmp_path / "store.sqlite"
    before = probability(model, store=store)
    written = sweep_generations(model, PROMPT, CELL, max_new_tokens=6, store=store)["ids"].tolist()
    with torch.no_grad():
        model.module.lm_head.weight.copy_(model.module.lm_head.weight.roll(1, 0))
    after = probability(model, store=store)
    assert after == probability(model) != before
    again = sweep_generations(model, PROMPT, CELL, max_new_tokens=6, store=store)["ids"].tolist()
    assert again == sweep_generations(model, PROMPT, CELL, max_new_tokens=6)["ids"].tolist() != written


def test_a_stored_result_is_found_again_by_another_load(tmp_path, monkeypatch):
    store, cells = tmp_path / "store.sqlite", [*CELL, rh.Zero("blocks.0.mlp_out", positions="zebra")]
    found = probability(load(toy("llama")), prompts=ANIMALS, cells=cells, store=store)
    monkeypatch.setattr("rheostat.sweeps.sweep.fill_chunks", None)  # whatever computes now, fails
    assert probability(load(toy("llama")), prompts=ANIMALS, cells=cells, store=store) == found


def test_texts_of_the_same_tokens_keep_their_own_substrings(tmp_path):
    model = load_toy("llama")
    assert model.encode(ANIMALS[0]) == model.encode(ANIMALS[1])
    cut = rh.CutAttention("blocks.0.pattern", positions="last", keys="zebra")
    for number, edit in enumerate((rh.Zero("blocks.0.mlp_out", positions="zebra"), cut)):
        plain = probability(model, prompts=ANIMALS, cells=[edit])
        stored = probability(model, prompts=ANIMALS, cells=[edit], store=tmp_path / f"{number}.sqlite")
        assert stored == pytest.approx(plain, abs=1e-12)
        assert abs(plain[0] - plain[1]) > 1e-6


def test_prompts_that_edits_read_keep_their_own_substrings(tmp_path):
    model, store = load_toy("llama"), tmp_path / "store.sqlite"
    read = [rh.FromPrompt(text, positions="zebra") for text in ANIMALS]
    cells = [rh.Replace("blocks.0.mlp_out", one, positions="last") for one in read]
    assert probability(model, cells=cells, store=store) == pytest.approx(probability(model, cells=cells), abs=1e-12)


def test_results_of_a_network_with_someones_hook_are_not_kept(tmp_path):
    model, store = load(toy("llama")), tmp_path / "store.sqlite"
    before = probability(model, store=store)
    hook = model.module.model.layers[1].mlp.register_forward_hook(lambda module, args, out: out * 0)
    with pytest.raises(BadArgument, match=r"'model.layers.1.mlp' carries a forward hook .*leave store out"):
        probability(model, store=store)
    with pytest.raises(BadArgument, match="carries a forward hook"):
        sweep_generations(model, PROMPT, CELL, max_new_tokens=2, store=store)
    assert probability(model) != before
    hook.remove()
    assert probability(model, store=store) == before


def test_the_hooks_of_transformers_and_accelerate_are_part_of_the_model(tmp_path):
    from accelerate import cpu_offload

    model = load(toy("llama"))
    plain = probability(model)
    model.module.enable_input_require_grads()
    model.module(torch.tensor([[5, 6]]), output_hidden_states=True)
    assert any(part._forward_hooks for part in model.module.modules())
    cpu_offload(model.module, execution_device=torch.device("cpu"))
    identity = model.identity
    assert probability(model, store=tmp_path / "store.sqlite") == pytest.approx(plain, rel=1e-5)
    assert model.identity == identity


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_label_that_no_store_holds_is_named(number, tmp_path):
    cells = [rh.Cell(CELL[0], {"dose": number})]
    assert len(probability(load_toy("llama"), cells=cells)) == 1
    with pytest.raises(BadArgument, match=f"label 'dose' is {number}"):
        probability(load_toy("llama"), cells=cells, store=tmp_path / "store.sqlite")
