"""What surrounds a run must not change what it means: a checkpoint's defaults, packing, training mode, odd prompts."""

import gc
import math
import weakref

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import EditNotUsable
from rheostat.models.toy import toy

PROMPT = [5, 9, 30, 12, 7]
SITE = "blocks.1.mlp_out"


@pytest.fixture
def model() -> rh.Model:
    return rh.load(toy("llama", dtype=torch.float64))


@pytest.mark.parametrize(
    "default",
    [
        {"repetition_penalty": 50.0},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(3, 60))},
        {"do_sample": True, "temperature": 9.0},
    ],
    ids=lambda default: next(iter(default)),
)
def test_a_checkpoints_own_generation_settings_change_nothing(model: rh.Model, default: dict[str, object]):
    wanted = model.generate(PROMPT, max_new_tokens=10).ids
    settings = model.module.generation_config
    for name, value in default.items():
        setattr(settings, name, value)
    assert model.generate(PROMPT, max_new_tokens=10).ids == wanted
    assert model.module.generation_config is settings
    with torch.no_grad():
        own = model.module.generate(torch.tensor([PROMPT]), max_new_tokens=10)[0, len(PROMPT) :].tolist()
    assert default.get("do_sample") or tuple(own) != wanted[0], "the setting has no effect, so this shows nothing"


@pytest.mark.parametrize("training", [False, True])
def test_generation_without_cache_inside_editing_asks_for_the_prompts_length(model: rh.Model, training: bool):
    model.module.train(training)
    settings = {"max_new_tokens": 4, "use_cache": False, "do_sample": False}
    edit = rh.Scale(SITE, 30.0, positions="last")
    with pytest.raises(EditNotUsable, match="prompt_lengths"), model.editing(edit):
        model.module.generate(torch.tensor([PROMPT]), **settings)
    with model.editing(edit, prompt_lengths=[len(PROMPT)]):
        written = model.module.generate(torch.tensor([PROMPT]), **settings)[0, len(PROMPT) :]
    assert tuple(written.tolist()) == model.generate(PROMPT, edit, max_new_tokens=4).ids[0]


def test_packed_sequences_are_refused_and_left_padding_is_not(model: rh.Model):
    ids = torch.tensor([[*PROMPT, 8]])
    for packed in ([0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 2, 3]):
        with pytest.raises(EditNotUsable, match="packed"), model.editing(rh.Zero(SITE)):
            model.module(input_ids=ids, position_ids=torch.tensor([packed]))
    for padded in ([0, 0, 0, 1, 2, 3], [1, 1, 0, 1, 2, 3]):
        with model.editing(rh.Zero(SITE)) as receipt:
            model.module(input_ids=ids, position_ids=torch.tensor([padded]))
        assert receipt.value.tokens == 4


def test_attention_weights_are_cut_to_the_positions_and_to_each_row():
    model = rh.load(toy("llama", attention="eager"))
    rows = [[5, 9, 30, 12], [44, 8]]
    whole = model.capture(rows, "blocks.1.pattern")
    assert [tuple(row.shape) for row in whole.rows("blocks.1.pattern")] == [(4, 4, 4), (4, 2, 2)]
    last = model.capture(rows, "blocks.1.pattern", positions="last")
    assert last.positions == ((3,), (1,))
    for row, (one, every) in enumerate(zip(last.rows("blocks.1.pattern"), whole.rows("blocks.1.pattern"), strict=True)):
        torch.testing.assert_close(one, every[:, -1:])
        alone = model.capture([rows[row]], "blocks.1.pattern", positions="last")["blocks.1.pattern"][0]
        torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-6)


def test_a_zero_activation_is_left_out_of_the_relative_change(model: rh.Model):
    add = rh.Add(SITE, torch.ones(16, dtype=torch.float64))
    after = model.run(PROMPT, [rh.Zero(SITE), add]).receipt.entries[1]
    assert math.isnan(after.relative_change)
    assert after.change == pytest.approx(4.0)
    before = model.run(PROMPT, add).receipt.entries[0].relative_change
    half = model.run(PROMPT, [rh.Zero(SITE, positions="last"), add]).receipt
    assert 0 < half.entries[1].relative_change < math.inf
    assert half.entries[1].relative_change != pytest.approx(before * 4 / 5)
    assert model.run(PROMPT, [rh.Zero(SITE), add]).receipt.to_dict()["entries"][1]["relative_change"] is None


def test_a_model_is_freed_when_its_last_name_goes():
    model = rh.load(toy("llama"))
    model.capture(PROMPT, "model.layers.0")
    gone = weakref.ref(model.module)
    del model
    gc.collect()
    assert gone() is None
