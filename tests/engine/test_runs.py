"""Runs leave the module as it was, pass mask and positions always, and let gradients through only when asked."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable, PromptTooLong
from rheostat.engine.generate import KeyedGumbel
from rheostat.engine.taps import count_hooks
from rheostat.models.identity import hash_weights
from rheostat.models.toy import toy
from tests.contract.conftest import load_toy

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
SITE = "blocks.1.mlp_out"
V = torch.linspace(-1, 3, 16, dtype=torch.float64)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_module_that_runs_is_the_users_own_bit_for_bit(name):
    module = toy(name, dtype=torch.float64)
    kept = [(path, id(part)) for path, part in module.named_modules()]
    before, logits = hash_weights(module), module(torch.tensor([ROWS[0]])).logits
    model = rh.load(module)
    model.run(ROWS, rh.Add("blocks.*.resid_mid", V), capture="blocks.*.heads")
    model.generate(ROWS, rh.Zero(SITE), max_new_tokens=3)
    model.lens(ROWS[0])
    with model.editing(rh.Zero(SITE)):
        module(torch.tensor([ROWS[0]]))
    assert model.module is module
    assert [(path, id(part)) for path, part in module.named_modules()] == kept
    assert hash_weights(module) == before
    assert count_hooks(module) == 0
    assert torch.equal(module(torch.tensor([ROWS[0]])).logits, logits)


@pytest.mark.parametrize("name", ["llama", "gpt2", "opt", "bloom"])
def test_attention_mask_and_position_ids_are_always_passed(name, monkeypatch):
    model = load_toy(name)
    forward, seen = model.module.forward, []
    positions = "position_ids" in model.parameters_of_forward
    monkeypatch.setattr(model.module, "forward", lambda **named: (seen.append(named), forward(**named))[1])
    for side, mask in (("left", [0, 0, 0, 1, 1]), ("right", [1, 1, 0, 0, 0])):
        model.run(ROWS[:2], padding_side=side)
        model.capture(ROWS[:2], "final", padding_side=side)
        for named in seen[-2:]:
            assert named["attention_mask"].tolist() == [[1] * 5, mask]
            if positions:
                ids = named["position_ids"]
                assert ids[0].tolist() == [0, 1, 2, 3, 4]
                assert ids[1][torch.tensor(mask).bool()].tolist() == [0, 1]
    seen.clear()
    model.generate(ROWS[:2], max_new_tokens=2)
    assert all(named["attention_mask"][1, :3].tolist() == [0, 0, 0] for named in seen)
    assert len(seen) == 2


def test_rows_with_plans_of_their_own_equal_separate_runs_in_every_output():
    model = load_toy("gemma3")
    shared = rh.Add(SITE, V)
    plans = [[shared, rh.Zero("blocks.2.heads", units=(1,))], [], [shared, rh.Mix("blocks.0.attn_out", "w9 w4", 1.5)]]
    sites = ["blocks.*.resid_post"]
    together = model.run(ROWS, plans=plans, capture=sites, capture_at="all", logits_at="all")
    written = model.generate(ROWS, plans=plans, max_new_tokens=4)
    for index, (row, plan) in enumerate(zip(ROWS, plans, strict=True)):
        alone = model.run(row, plan, capture=sites, capture_at="all", logits_at="all")
        torch.testing.assert_close(together.logits[index, : len(row)], alone.logits[0], rtol=0, atol=1e-9)
        for site, tensor in alone.activations.items():
            torch.testing.assert_close(together.activations.rows(site)[index], tensor[0], rtol=0, atol=1e-9)
        assert model.generate(row, plan, max_new_tokens=4).ids[0] == written.ids[index]
    assert [entry.rows for entry in together.receipt.entries] == [2, 1, 1]


def test_a_value_per_row_and_position_reaches_exactly_its_token():
    model = load_toy("llama")
    rows, values = [ROWS[0], ROWS[0][::-1]], torch.arange(2 * 2 * 16, dtype=torch.float64).reshape(2, 2, 16)
    acts = model.run(rows, rh.Replace(SITE, values, positions=[3, 1]), capture=SITE, capture_at=[3, 1]).activations
    assert torch.equal(acts[SITE], values)


@pytest.mark.parametrize("positions", ["all", "generated"])
def test_a_value_per_position_is_refused_where_tokens_will_be_written(positions):
    with pytest.raises(EditNotUsable, match="cannot serve generated tokens"):
        load_toy("llama").generate(ROWS[0], rh.Replace(SITE, torch.ones(5, 16), positions=positions), max_new_tokens=3)


@pytest.mark.parametrize("values", [torch.ones(7, 16), torch.ones(2, 16), torch.ones(3, 1, 16)])
def test_inside_editing_a_value_that_does_not_fit_the_pass_is_refused(values):
    model = load_toy("llama")
    with pytest.raises(EditNotUsable), model.editing(rh.Replace(SITE, values)):
        model.module(torch.tensor([ROWS[0]]))
    assert count_hooks(model.module) == 0


@pytest.mark.parametrize("plans", [[[rh.Zero(SITE)], []], [[rh.Zero(SITE)]] * 4], ids=["too few", "too many"])
def test_as_many_plans_as_prompts_are_needed(plans):
    model = load_toy("llama")
    with pytest.raises(EditNotUsable, match=f"{len(plans)} plans for 3 prompts"):
        model.run(ROWS, plans=plans)
    with pytest.raises(BadArgument, match="one of the two"):
        model.run(ROWS, rh.Zero(SITE), plans=plans)


@pytest.mark.parametrize("site", [SITE, "blocks.1.resid_mid", "blocks.0.heads", "embed"])
def test_gradients_reach_value_and_weights_only_when_asked(site):
    model = load_toy("gpt2")
    vector = torch.zeros(model.anatomy.shape(site.rpartition(".")[2]), dtype=torch.float64, requires_grad=True)
    weight = model.module.transformer.h[0].mlp.c_fc.weight

    def logit(v: torch.Tensor) -> torch.Tensor:
        return model.run(ROWS, rh.Add(site, v, positions="last"), gradients=True).logits[1, 0, 3]

    assert torch.autograd.gradcheck(logit, (vector,), fast_mode=True)
    to_vector, to_weight = torch.autograd.grad(logit(vector), (vector, weight))
    assert to_vector.abs().max() > 1e-6 and to_weight.abs().max() > 1e-6
    assert not model.run(ROWS, rh.Add(site, vector), capture=site).logits.requires_grad


def test_a_steering_vector_is_trained_inside_editing():
    module = toy("llama")
    module.requires_grad_(False)
    model = rh.load(module.train())
    vector = torch.zeros(16, requires_grad=True)
    optimizer, losses = torch.optim.Adam([vector], lr=0.1), []
    for _ in range(15):
        with model.editing(rh.Add("blocks.1.resid_post", vector)) as receipt:
            loss = -module(torch.tensor([ROWS[0]])).logits[0, -1].log_softmax(-1)[33]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert receipt.value.tokens == 5
    assert losses[-1] < losses[0] - 1
    assert module.training
    assert count_hooks(module) == 0


def test_hooks_exist_inside_editing_and_none_afterwards_whatever_happens():
    model = load_toy("llama")
    before = model.module(torch.tensor([ROWS[0]])).logits
    with model.editing(rh.Zero(SITE)):
        assert count_hooks(model.module) == 2
        assert not torch.allclose(model.module(torch.tensor([ROWS[0]])).logits, before)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), model.editing(rh.Zero(SITE)):
            raise error
        assert count_hooks(model.module) == 0
    assert torch.equal(model.module(torch.tensor([ROWS[0]])).logits, before)


@pytest.mark.parametrize("asked", ["last", "all", [1, -1], slice(None, 2)])
def test_logits_at_gives_the_logits_of_these_tokens(asked):
    model = load_toy("gpt_neox")
    rows = [ROWS[0], ROWS[2]]
    found = model.run(rows, logits_at=asked)
    for index, row in enumerate(rows):
        with torch.no_grad():
            whole = model.module(torch.tensor([row])).logits[0]
        n = len(found.positions[index])
        torch.testing.assert_close(found.logits[index, :n], whole[list(found.positions[index])], rtol=0, atol=1e-9)
        assert found.logits[index, n:].isnan().all()


def test_top_tokens_are_the_likeliest_after_each_rows_own_last_position():
    model = load_toy("llama")
    table = model.run(ROWS, logits_at="all").top_tokens(3)
    for index, row in enumerate(ROWS):
        with torch.no_grad():
            expected = model.module(torch.tensor([row])).logits[0, -1].softmax(-1).sort(descending=True)
        found = table[table["row"] == index]
        assert list(found["token_id"]) == expected.indices[:3].tolist()
        assert list(found["probability"]) == pytest.approx(expected.values[:3].tolist(), rel=1e-5)
        assert list(found["token"]) == [f"w{token}" for token in found["token_id"]]


def test_a_prompt_longer_than_the_context_is_refused():
    model = load_toy("gpt2")
    with pytest.raises(PromptTooLong, match=r"65 tokens; .* takes 64"):
        model.run([4] * 65)
    with pytest.raises(PromptTooLong, match="60 tokens and 5 to generate"):
        model.generate([4] * 60, max_new_tokens=5)


def test_sampled_tokens_have_the_probabilities_of_the_softmax():
    scores, n = torch.tensor([0.0, 1.0, 2.0, -1.0]), 20_000
    options = {"top_k": None, "top_p": None, "seed": 3, "row_ids": range(n)}
    drawn = KeyedGumbel(temperature=0.7, **options)(torch.empty(n, 0, dtype=torch.long), scores.expand(n, 4)).argmax(-1)
    expected = (scores / 0.7).softmax(-1)
    found = drawn.bincount(minlength=4) / n
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / n).sqrt()).all()


@pytest.mark.parametrize(("options", "kept"), [({"top_k": 2}, {1, 2}), ({"top_p": 0.9}, {1, 2}), ({"top_p": 0.5}, {2})])
def test_only_the_likeliest_tokens_are_sampled_when_asked(options, kept):
    scores = torch.tensor([0.0, 2.0, 3.0, -1.0])
    sampler = KeyedGumbel(temperature=1.0, seed=0, row_ids=range(2000), **{"top_k": None, "top_p": None, **options})
    assert set(sampler(torch.empty(2000, 0, dtype=torch.long), scores.expand(2000, 4)).argmax(-1).tolist()) == kept


def test_noise_is_keyed_by_seed_row_and_step_alone():
    def noise(seed: int, row_ids: list[int], steps: int) -> torch.Tensor:
        sampler = KeyedGumbel(temperature=1.0, top_k=None, top_p=None, seed=seed, row_ids=row_ids)
        zeros = torch.zeros(len(row_ids), 8)
        return torch.stack([sampler(torch.empty(len(row_ids), 0, dtype=torch.long), zeros) for _ in range(steps)], 1)

    together = noise(7, [4, 9, 4], 3)
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[1], noise(7, [9], 3)[0])
    different = [together[0, 0], together[0, 1], together[1, 0], noise(8, [4], 1)[0, 0]]
    assert len({tuple(one.tolist()) for one in different}) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"top_k": 3},
        {"temperature": 1.0, "top_k": 0},
        {"temperature": 1.0, "top_p": 1.5},
        {"temperature": 1.0, "row_ids": [1, 2]},
        {"max_new_tokens": 0},
    ],
)
def test_sampling_options_outside_their_range_are_refused(options):
    with pytest.raises(BadArgument):
        load_toy("llama").generate(ROWS[0], **options)
