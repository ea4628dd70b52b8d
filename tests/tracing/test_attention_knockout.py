"""Cutting attention to the last token equals leaving those keys out by hand, and cutting nothing changes nothing."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.models.toy import toy
from rheostat.sweeps.targets import block_window
from rheostat.tracing.attention_knockout import (
    attention_knockout,
    cutting,
    token_roles,
    window_width,
)
from tests.contract.conftest import load_toy, word_tokenizer

PROMPT = [5, 9, 30, 12, 7, 41]
SUBJECT, OTHERS = (1, 2), (0, 3, 4)


def recomputed(model: rh.Model, keys: tuple[int, ...]) -> torch.Tensor:
    """The last logits when the last token's attention leaves keys out in every block, by a mask of its own."""
    n = len(PROMPT)
    visible = torch.ones(n, n, dtype=torch.bool).tril()
    visible[-1, list(keys)] = False
    with torch.no_grad():
        out = model.module(
            input_ids=torch.tensor([PROMPT]),
            attention_mask=visible[None, None],
            position_ids=torch.arange(n)[None],
            use_cache=False,
        )
    return out.logits[0, -1]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_cutting_in_every_block_equals_dropping_the_keys(family):
    model = load_toy(family)
    plain = model.run(PROMPT).logits[0, -1]
    for name, keys in (("subject", SUBJECT), ("others", OTHERS)):
        cell = cutting(name, list(keys), 1, 3, model.n_blocks)
        assert (cell.labels["first"], cell.labels["last"]) == (0, 2)
        found = model.run(PROMPT, cell.plan).logits[0, -1]
        assert torch.allclose(found, recomputed(model, keys), atol=1e-9)
        assert (found - plain).abs().max() > 1e-3


def test_no_window_and_strength_zero_leave_the_logits_bit_identical():
    model = load_toy("llama")
    plain = model.run(PROMPT).logits
    idle = rh.CutAttention("blocks.0-2.pattern", positions="last", keys=list(SUBJECT), strength=0.0)
    assert torch.equal(model.run(PROMPT, []).logits, plain)
    assert torch.equal(model.run(PROMPT, idle).logits, plain)
    found = attention_knockout(model, PROMPT, {"subject": list(SUBJECT)}, width=1)
    assert found.probability == float(plain[0, -1].float().softmax(-1).max())


def test_every_row_is_the_change_that_a_run_of_its_own_gives():
    model = load_toy("llama")
    found = attention_knockout(model, PROMPT, {"subject": list(SUBJECT), "others": list(OTHERS)}, width=1)
    assert found.answer == int(model.run(PROMPT).logits[0, -1].argmax())
    assert len(found.table) == 2 * 3
    for row in found.table.to_dict("records"):
        keys = SUBJECT if row["source"] == "subject" else OTHERS
        edit = rh.CutAttention(f"blocks.{row['centre']}.pattern", positions="last", keys=list(keys))
        alone = float(model.run(PROMPT, edit).logits[0, -1].softmax(-1)[found.answer])
        assert row["probability"] == pytest.approx(alone, abs=1e-7)
        assert row["change"] == pytest.approx(100 * (alone / found.probability - 1), abs=1e-4)
    assert found.table["change"].abs().max() > 1
    assert set(found.profile().table["series"]) == {"subject", "others"}


def test_only_the_block_that_reads_the_subject_shows_in_the_profile():
    module = toy("llama", dtype=torch.float64)
    with torch.no_grad():
        for block in (0, 2):
            module.model.layers[block].self_attn.o_proj.weight.zero_()
    found = attention_knockout(rh.load(module), PROMPT, {"subject": list(SUBJECT)}, width=1)
    change = found.table.set_index("centre")["change"].abs()
    assert change[[0, 2]].max() < 1e-4
    assert change[1] > 1


@pytest.mark.parametrize(("n_blocks", "width"), [(48, 9), (30, 5), (18, 3), (3, 1), (1, 1)])
def test_a_window_is_as_large_a_part_of_the_depth_as_nine_of_forty_eight(n_blocks, width):
    assert window_width(n_blocks) == width
    assert list(block_window(0, width, n_blocks)) == list(range(min(n_blocks, width // 2 + 1)))
    assert block_window(n_blocks - 1, width, n_blocks)[-1] == n_blocks - 1


def test_roles_part_the_prompt_and_special_tokens_have_none():
    model = rh.load(toy("llama"), tokenizer=word_tokenizer())
    text = "w5 w9 w30 w12 w7"
    assert token_roles(model, text, "w9 w30") == {"subject": (1, 2), "non-subject": (0, 3), "last": (4,)}
    assert token_roles(model, [1, 5, 9, 30], [1]) == {"subject": (1,), "non-subject": (2,), "last": (3,)}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: attention_knockout(m, PROMPT, {}), "no source"),
        (lambda m: attention_knockout(m, PROMPT, {"subject": [1]}, width=0), "at least one block"),
        (lambda m: token_roles(m, PROMPT, [5]), "ends with its subject"),
        (lambda m: token_roles(m, PROMPT, [0, 1, 2, 3, 4]), "nothing but its subject"),
    ],
)
def test_what_cannot_be_cut_is_refused(call, says):
    with pytest.raises(BadArgument, match=says):
        call(load_toy("llama"))
