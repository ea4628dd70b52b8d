"""What holds for every ranking: order and batches of items do not matter, shares are shares, saved is loaded."""

from dataclasses import replace

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.edit.arithmetic import Zero
from rheostat.metrics.loss import Loss
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.methods import indirect_effect
from rheostat.neurons.methods.registry import METHODS
from rheostat.neurons.observation import observe
from rheostat.neurons.rank import rank
from rheostat.tasks.item import Questions
from tests.contract.conftest import load_toy

KINDS = ("mlp_in", "neurons", "mlp_out")


def asked(seed: int, n: int = 6) -> Questions:
    """Return items of 4 to 9 tokens, whose answers have one token or two."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [4 + (seed + item) % 6 for item in range(n)]
    rows = tuple(tuple(torch.randint(4, 64, (length,), generator=generator).tolist()) for length in lengths)
    return Questions(rows, tuple(1 + item % 2 for item in range(n)))


def reordered(questions: Questions, order: list[int]) -> Questions:
    return Questions(
        tuple(questions.rows[one] for one in order), tuple(questions.n_answer_tokens[one] for one in order)
    )


TARGET, OTHERS = asked(1), [asked(2), asked(3, 4)]


@pytest.mark.parametrize(("family", "kind"), [("llama", "neurons"), ("gemma3", "mlp_out"), ("gpt2", "mlp_in")])
@pytest.mark.parametrize("method", METHODS)
def test_a_ranking_scores_every_unit_of_every_block(method, family, kind, tmp_path):
    model = load_toy(family)
    found = rank(model, method, TARGET, OTHERS, kind=kind, topic="t")
    width = model.anatomy.shape(kind)[0]
    assert [(block, tuple(scores.shape)) for block, scores in found.scores.items()] == [
        (block, (width,)) for block in range(model.n_blocks)
    ]
    assert all(len(set(scores.tolist())) > 4 for scores in found.scores.values())
    for share, n in ((0.01, 1), (0.25, round(0.25 * width)), (1.0, width)):
        cluster = found.top(share)
        assert all(len(units) == n for units in cluster.units.values())
    cluster = found.top(0.25)
    cluster.check(model)
    cluster.save(tmp_path / "c.json")
    assert Cluster.load(tmp_path / "c.json") == cluster
    assert (cluster.kind, cluster.method, cluster.topic) == (kind, method, "t")
    for block, units in cluster.units.items():
        rest = [unit for unit in range(width) if unit not in units]
        assert found.scores[block][list(units)].min() >= found.scores[block][rest].max()


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_items_does_not_matter(method):
    model = load_toy("llama")
    first = rank(model, method, TARGET, OTHERS)
    others = [reordered(OTHERS[1], [2, 0, 3, 1]), reordered(OTHERS[0], [5, 4, 3, 2, 1, 0])]
    second = rank(model, method, reordered(TARGET, [3, 0, 5, 1, 4, 2]), others)
    for block, scores in first.scores.items():
        torch.testing.assert_close(second.scores[block], scores, rtol=1e-9, atol=1e-9)
    changed = rank(model, method, asked(7), OTHERS)
    assert any(not torch.allclose(changed.scores[block], scores) for block, scores in first.scores.items())


@pytest.mark.parametrize("kind", KINDS)
def test_items_in_a_batch_are_observed_as_alone(core_model, kind):
    model = core_model
    together, alone = (observe(model, TARGET, kind, batch_size=size) for size in (4, 1))
    wide = model.dtype == torch.float64
    for measure in ("activation", "attribution", "gradient", "product"):
        for block, tensor in getattr(alone, measure).items():
            torch.testing.assert_close(
                getattr(together, measure)[block], tensor, rtol=1e-4, atol=1e-9 if wide else 1e-5
            )
    assert max(float(one.abs().max()) for one in alone.attribution.values()) > 1e-3


def test_an_observation_is_what_a_capture_and_a_small_edit_say():
    model = load_toy("gpt2")
    seen = observe(model, TARGET, "neurons")
    row, n = TARGET.rows[3], TARGET.n_answer_tokens[3]
    where = slice(-n - 1, -1)
    held = model.capture(list(row), "blocks.1.neurons", where)["blocks.1.neurons"][0]
    torch.testing.assert_close(seen.activation[1][3], held.mean(0))
    unit = int(seen.product[1][3].abs().argmax())
    losses = [
        model.sweep(
            list(row),
            [Zero("blocks.1.neurons", positions=where, units=(unit,), strength=strength)],
            Loss(slice(-n, None)),
        )["loss"][0]
        for strength in (1e-4, -1e-4)
    ]
    slope = (losses[0] - losses[1]) / 2e-4
    assert abs(slope) > 1e-3
    assert slope == pytest.approx(-float(seen.product[1][3, unit]), rel=1e-4)


def test_the_indirect_effect_of_a_screened_unit_is_one_run_with_it_held_at_its_mean(monkeypatch):
    model = load_toy("llama")
    monkeypatch.setattr(indirect_effect, "SCREENED", 0.2)
    monkeypatch.setattr(indirect_effect, "N_ITEMS", 50)
    found = rank(model, "indirect_effect", TARGET, OTHERS)
    parts = [observe(model, one, "neurons").activation[2] for one in (TARGET, *OTHERS)]
    means = torch.cat(parts).double().mean(0)
    unit = int(found.scores[2].argmax())
    effects = []
    for row, n in zip(TARGET.rows, TARGET.n_answer_tokens, strict=True):
        held = model.capture(list(row), "blocks.2.neurons")["blocks.2.neurons"][0].clone()
        held[-n - 1 : -1, unit] = means[unit]
        edit = rh.Replace("blocks.2.neurons", held, positions="all")
        losses = [model.sweep(list(row), [plan], Loss(slice(-n, None)))["loss"][0] for plan in (edit, ())]
        effects.append(losses[0] - losses[1])
    assert float(found.scores[2][unit]) == pytest.approx(sum(effects) / len(effects), abs=1e-9)
    assert abs(sum(effects)) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "atribution"}, "no ranking 'atribution'. Closest: attribution"),
        ({"method": "predictivity", "others": []}, "predictivity compares with other topics"),
        ({"method": "attribution", "kind": "heads"}, "units of heads are no single numbers"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments, said):
    settings = {"others": OTHERS, "kind": "neurons"} | arguments
    with pytest.raises(BadArgument) as refused:
        rank(load_toy("llama"), settings["method"], TARGET, settings["others"], kind=settings["kind"])
    assert said in str(refused.value)


def test_rankings_refuse_items_that_are_none():
    with pytest.raises(BadArgument, match="0 items"):
        rank(load_toy("llama"), "attribution", replace(TARGET, rows=(), n_answer_tokens=()))
