"""An update says the token that a product with the unembedding puts on top, and a planted one is found in its block."""

import pytest
import torch

import rheostat as rh
from rheostat.models.toy import toy
from rheostat.tracing.extraction import extracted_tokens, said, sublayer_updates
from tests.contract.conftest import load_toy

PROMPTS = [[5, 9, 30, 12, 7], [8, 4, 11]]


@pytest.mark.parametrize("kind", ["attn_out", "mlp_out"])
def test_updates_are_read_at_the_last_token_and_decoded_without_the_final_norm(kind):
    model = load_toy("gemma3")
    updates = sublayer_updates(model, PROMPTS, kind=kind)
    table = model.part(model.body.unembed).get_parameter("weight")
    for row, prompt in enumerate(PROMPTS):
        for block in range(3):
            site = f"blocks.{block}.{kind}"
            alone = model.capture(prompt, site)[site][0, -1]
            assert torch.allclose(updates[row, block], alone, atol=1e-9)
            wanted = int((table @ alone).argmax())
            assert int(extracted_tokens(model, PROMPTS, kind=kind)[row, block]) == wanted


def test_an_answer_planted_in_one_update_is_extracted_there_alone():
    model = load_toy("llama")
    table = model.part(model.body.unembed).get_parameter("weight").detach()
    before = extracted_tokens(model, PROMPTS)
    answer = next(token for token in range(64) if token not in before and int((table @ table[token]).argmax()) == token)
    plan = rh.Add("blocks.1.attn_out", 1e3 * table[answer], positions="last")
    after = extracted_tokens(model, PROMPTS, plans=[plan, plan])
    assert after[:, 1].tolist() == [answer, answer]
    assert torch.equal(after[:, 0], before[:, 0])


def test_a_direction_is_said_whatever_its_length():
    model = load_toy("gpt2")
    updates = torch.randn(4, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(said(model, updates), said(model, 7 * updates))
    assert len(set(said(model, updates).flatten().tolist())) > 3


def test_the_final_norm_is_left_out_unless_asked_for():
    module = toy("llama", dtype=torch.float64)
    with torch.no_grad():
        module.model.norm.weight.copy_(torch.linspace(-3, 3, 16))
    model = rh.load(module)
    updates = sublayer_updates(model, PROMPTS)
    plain, normed = said(model, updates), said(model, updates, final_norm=True)
    table = model.part(model.body.unembed).get_parameter("weight")
    assert torch.equal(plain, (updates @ table.T).argmax(-1))
    assert torch.equal(normed, model.unembed(updates).argmax(-1))
    assert not torch.equal(plain, normed)
