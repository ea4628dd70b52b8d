"""A row gets what it gets alone, whatever its neighbours' plans name; and nothing reaches what an edit holds."""

import numpy as np
import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.edit.plan import as_plan
from rheostat.engine.continuous import Lane, RunningBatch
from rheostat.engine.plain_sweep import sweep_outputs
from rheostat.engine.sweep import sweep_logits
from rheostat.engine.taps import count_hooks
from tests.contract.conftest import WAYS, dividing, load_toy

PROMPT = "w5 w6 w7"
VECTOR = torch.arange(16, dtype=torch.float64) / 8
NAMES = {
    "two named sites": ("blocks.0.resid_pre", "embed"),
    "a site and its module": ("blocks.0.mlp_out", "model.layers.0.mlp"),
}


def halved_then_moved(names: str) -> list[rh.Edit]:
    first, second = NAMES[names]
    return [rh.Zero(first, positions=1, strength=0.5), rh.Add(second, VECTOR, positions=1)]


@pytest.mark.parametrize("names", NAMES)
def test_edits_at_two_names_of_one_tensor_keep_their_rows_order_beside_any_neighbour(names):
    model, plan = load_toy("llama"), halved_then_moved(names)
    neighbour = [rh.Add(NAMES[names][1], VECTOR, positions=0)]
    alone = model.run(PROMPT, plan).logits[0]
    assert (model.run(PROMPT, plan[::-1]).logits[0] - alone).abs().max() > 0.02
    beside = model.run(["w8 w9 w10", PROMPT], plans=[neighbour, plan]).logits[1]
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-12)
    for way in WAYS:
        with dividing(way):
            swept = sweep_logits(model, PROMPT, [neighbour, plan, plan[::-1]])
        torch.testing.assert_close(swept[1, 0], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(swept[2, 0], model.run(PROMPT, plan[::-1]).logits[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("names", NAMES)
def test_edits_at_two_names_of_one_tensor_keep_their_order_while_tokens_are_written(names):
    model, plan = load_toy("llama"), [rh.Zero(NAMES[names][0], strength=0.5), rh.Add(NAMES[names][1], VECTOR)]
    others = [plan[::-1], [plan[1]]]
    batch = RunningBatch(model, max_rows=3)
    batch.join([Lane(model, model.row("w8 w9"), as_plan(other), max_new_tokens=3) for other in others])
    lane = Lane(model, model.row(PROMPT), as_plan(plan), max_new_tokens=3)
    joined = batch.join([lane])[0]
    stepped = batch.step([11, 12, 13])[2]
    batch.close()
    torch.testing.assert_close(joined, model.run(PROMPT, plan).logits[0, -1], rtol=0, atol=1e-12)
    torch.testing.assert_close(stepped, model.run(f"{PROMPT} w13", plan).logits[0, -1], rtol=0, atol=1e-12)
    alone = model.generate(PROMPT, plan, max_new_tokens=4)
    beside = model.generate([PROMPT] * 2, plans=[plan[::-1], plan], max_new_tokens=4)
    assert beside.ids[1] == alone.ids[0]
    changes = [entry.change for entry in beside.receipt.entries[1::2]]  # the first edits of both rows come first
    assert changes == pytest.approx([entry.change for entry in alone.receipt.entries])


def test_what_the_skip_path_reads_is_changed_whichever_edit_comes_first():
    model = load_toy("llama")
    plan = [rh.Add("model.layers.0.post_attention_layernorm:in", VECTOR), rh.Zero("blocks.0.resid_mid", strength=0.5)]
    reached = model.run(PROMPT, plan[::-1]).logits
    torch.testing.assert_close(model.run(PROMPT, plan).logits, reached, rtol=0, atol=0)
    batch = RunningBatch(model, max_rows=2)
    for number, one in enumerate([plan[:1], plan]):
        found = batch.join([Lane(model, model.row(PROMPT), as_plan(one), max_new_tokens=2)])
        torch.testing.assert_close(found[0], model.run(PROMPT, one).logits[0, -1], rtol=0, atol=1e-12, msg=str(number))
    batch.close()
    assert count_hooks(model.module) == 0


def test_a_module_that_writes_in_place_leaves_the_value_of_an_edit_alone():
    model, value = load_toy("falcon"), VECTOR.clone()
    edit = rh.Replace("blocks.1.mlp_out", value)
    once, again = (model.run("w5", edit).logits for _ in range(2))
    assert torch.equal(value, VECTOR)
    assert torch.equal(once, again)
    assert model.run("w5 w6", edit).logits.isfinite().all()
    plain = rh.load(nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)).eval())
    held = torch.tensor([-1.0, 2.0, -3.0, 4.0])
    (swept,) = sweep_outputs(plain, torch.ones(2, 3), [rh.Replace("0", held)])
    assert torch.equal(held, torch.tensor([-1.0, 2.0, -3.0, 4.0]))
    assert torch.equal(swept.outputs[0], plain.run_plain(torch.ones(2, 3), edits=rh.Replace("0", held)).output)


def test_an_edit_stays_what_it_was_when_its_tensor_is_written_to():
    model, vector, cells = load_toy("llama"), torch.zeros(16), []
    for unit in (3, 4, 5):
        vector.zero_()[unit] = 5
        cells.append(rh.Add("blocks.1.mlp_out", vector, positions=1))
    fresh = [rh.Add("blocks.1.mlp_out", 5 * torch.eye(16)[unit], positions=1) for unit in (3, 4, 5)]
    assert cells == fresh
    assert torch.equal(sweep_logits(model, PROMPT, cells), sweep_logits(model, PROMPT, fresh))
    shared = torch.ones(16)
    assert rh.Add("blocks.1.mlp_out", shared).vector is rh.Add("blocks.0.mlp_out", shared, strength=2.0).vector
    array = np.ones(16, dtype=np.float32)
    behind = torch.from_numpy(array)
    first = rh.Add("blocks.1.mlp_out", behind)
    array[:] = 2  # counted by no version of the tensor
    assert torch.equal(first.vector, torch.ones(16))
    assert torch.equal(rh.Add("blocks.1.mlp_out", behind).vector, torch.full((16,), 2.0))
    trained = torch.zeros(16, requires_grad=True)
    followed = rh.Add("blocks.1.mlp_out", trained)
    with torch.no_grad():
        trained += 1
    assert followed == rh.Add("blocks.1.mlp_out", torch.ones(16))
