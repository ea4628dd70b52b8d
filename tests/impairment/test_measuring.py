"""Dials, scales, tasks and curves on toy models: the numbers of single runs, whatever the batch, cache or store."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, ClusterNotUsable, SiteNotFound, TaskNotUsable
from rheostat.impairment.comparison import answered
from rheostat.impairment.curve import impairment_curves
from rheostat.impairment.dial import Dial
from rheostat.impairment.scale import measure_scale
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.ranking import random_ranking
from rheostat.tasks.item import Item, Task, ask
from tests.contract.conftest import load_toy
from tests.impairment.conftest import word_task

LEVELS = (0.0, 0.2, 0.7)


def dials(model: rh.Model) -> dict[str, Dial]:
    scale = measure_scale(model, [item.prompt for item in word_task().items], "blocks.*.mlp_out")
    cluster = random_ranking(model, "neurons", seed=3).top(0.2)
    return {
        "relative": Dial(scale=scale),
        "negative": Dial("negative", "neurons", cluster, distribution="uniform"),
        "shrink": Dial("magnitude", "mlp_in"),
    }


# --- dial -------------------------------------------------------------------------------------------------------------


def test_a_turned_dial_is_a_plan_at_every_block_or_at_those_of_its_cluster():
    model = load_toy("llama")
    (everything,) = Dial("negative", "neurons").plan(0.5, seed=4, draw=2)
    assert (everything.site, everything.intensity, everything.seed, everything.draw) == ("blocks.*.neurons", 0.5, 4, 2)
    cluster = Cluster("mlp_out", {1: (2, 5)}, method="own", topic="t", model=model.name, weights=model.weight_hash)
    (chosen,) = Dial(cluster=cluster).plan(0.5)
    assert (chosen.site, chosen.units) == ("blocks.1.mlp_out", (2, 5))
    assert Dial("magnitude").most == 1.0
    assert Dial().most is None


def test_a_dial_refuses_what_does_not_fit():
    model, other = load_toy("llama"), load_toy("gpt2")
    cluster = random_ranking(model, "neurons", seed=0).top(0.1)
    with pytest.raises(BadArgument, match="holds units of neurons, the dial damages mlp_out"):
        Dial(cluster=cluster)
    with pytest.raises(ClusterNotUsable, match="was made on"):
        Dial(kind="neurons", cluster=cluster).check(other)
    with pytest.raises(SiteNotFound):
        Dial(kind="mlp_ot").check(model)
    with pytest.raises(BadArgument, match="0 \\(nothing\\) to 1"):
        Dial("magnitude").plan(1.5)
    with pytest.raises(BadArgument):
        Dial("gausian")
    partial = measure_scale(model, ["w5 w6 w7"], "blocks.0-1.mlp_out")
    with pytest.raises(SiteNotFound):
        Dial(scale=partial).check(model)


# --- scale ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_scale_is_the_spread_of_the_captured_activations_without_first_tokens_and_pads(name: str):
    model, texts = load_toy(name), ["w5 w6 w7 w8", "w9 w10", "w11 w12 w13 w14 w15 w16"]
    site = "blocks.1.mlp_out"
    held = model.capture(texts, site)
    tokens = torch.cat([row[1:] for row in held.rows(site)]).double()
    assert len(tokens) == sum(len(model.row(text)) - 1 for text in texts)
    each = measure_scale(model, texts, site, per_unit=True, batch_size=2)[site]
    assert torch.allclose(each[0, 0].double(), tokens.std(0), rtol=1e-5)
    one = measure_scale(model, texts, site)[site]
    assert torch.allclose(one[0, 0].double(), tokens.var(0).mean().sqrt().expand(16), rtol=1e-5)
    with_first = measure_scale(model, texts, site, positions="all", per_unit=True)[site]
    whole = torch.cat(list(held.rows(site))).double()
    assert torch.allclose(with_first[0, 0].double(), whole.std(0), rtol=1e-5)
    assert not torch.allclose(with_first, each, rtol=1e-2)


def test_a_scale_of_one_token_is_refused():
    with pytest.raises(BadArgument, match="1 tokens says nothing"):
        measure_scale(load_toy("llama"), ["w5 w6"], "blocks.0.mlp_out")


# --- task -------------------------------------------------------------------------------------------------------------


def test_an_answer_is_spelled_apart_and_its_tokens_alone_are_measured():
    model = load_toy("llama")
    asked = ask(model, [Item("w5 w6", " w9 w11"), Item("w7", " w9")])
    assert asked.rows == ((5, 6, 9, 11), (7, 9))
    assert asked.n_answer_tokens == (2, 1)
    logits = [model.run(list(row), logits_at="all").logits[0].log_softmax(-1) for row in asked.rows]
    table = impairment_curves(model, [Task("t", (Item("w5 w6", " w9 w11"), Item("w7", " w9")))], {}, [0.0])
    expected = [-(logits[0][1, 9] + logits[0][2, 11]).item() / 2, -logits[1][0, 9].item()]
    assert table["loss"].tolist() == pytest.approx(expected, abs=1e-9)


def test_greedy_decoding_is_right_when_it_writes_every_token():
    model = load_toy("llama")
    prompt = "w5 w6 w7"
    written = model.generate(prompt, max_new_tokens=2).ids[0]
    words = [f"w{token}" for token in written]
    right = Item(prompt, f" {words[0]} {words[1]}")
    half = Item(prompt, f" {words[0]} w{4 + (written[1] + 1) % 50}")
    table = impairment_curves(model, [Task("t", (right, half))], {}, [0.0])
    assert table["right"].tolist() == [1.0, 0.0]
    assert answered(model, Task("t", (half, right))).items == (right,)
    with pytest.raises(TaskNotUsable, match=r"of its 1 items the intact models answer rightly: .* 0"):
        answered(model, Task("t", (half,)))


def test_an_empty_answer_or_task_is_refused():
    with pytest.raises(BadArgument, match="holds no token"):
        ask(load_toy("llama"), [Item("w5", "")])
    with pytest.raises(BadArgument, match="holds no item"):
        Task("t", ())


# --- curves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_a_curve_holds_the_numbers_of_single_runs(name: str):
    model, task = load_toy(name), word_task()
    chosen = dials(model)
    table = impairment_curves(model, [task], chosen, LEVELS, draws=2, seed=5)
    assert len(table) == 5 * (1 + 2 * (2 + 2 + 1))
    rows = ask(model, task.items).rows
    for row in table.itertuples():
        plan = chosen[row.dial].plan(row.intensity, seed=5, draw=row.draw) if row.dial else None
        found = model.run(list(rows[row.item]), plan, logits_at="all").logits[0].log_softmax(-1)
        n = row.answer_tokens
        targets = torch.tensor(rows[row.item][-n:])
        each = found[-n - 1 : -1].gather(-1, targets[:, None])
        assert row.loss == pytest.approx(-each.mean().item(), abs=1e-9)
        assert row.right == float((found[-n - 1 : -1].argmax(-1) == targets).all())
    damaged = table[table["dial"] == "relative"].groupby("intensity")["loss"].mean()
    assert abs(damaged[0.7] - table[table["dial"] == ""]["loss"].mean()) > 1e-3  # the damage is no float noise


def test_the_intact_network_is_that_of_a_plain_run_bit_for_bit():
    model, task = load_toy("llama"), word_task(n=1)
    row = list(ask(model, task.items).rows[0])
    turned_off = model.run(row, Dial().plan(0.0), logits_at="all").logits
    assert torch.equal(turned_off, model.run(row, logits_at="all").logits)
    table = impairment_curves(model, [task], {"d": Dial()}, [0.0, 0.5])
    assert table["intensity"].tolist() == [0.0, 0.5]
    assert table["dial"].tolist() == ["", "d"]


def test_other_items_do_not_change_an_items_numbers():
    model, task = load_toy("gpt2"), word_task()
    together = impairment_curves(model, [task], dials(model), LEVELS, seed=1)
    alone = impairment_curves(model, [Task("words", task.items[3:4])], dials(model), LEVELS, seed=1)
    of_item = together[together["item"] == 3].reset_index(drop=True)
    assert np.allclose(of_item["loss"], alone["loss"], atol=1e-9)
    assert len(alone) == len(of_item) == 7


def test_damage_under_the_cache_is_the_damage_without_it():
    model = load_toy("llama")
    plan = Dial().plan(0.4, seed=2)
    texts = [model.generate("w5 w6 w7", plan, max_new_tokens=6, use_cache=use).ids[0] for use in (True, False)]
    assert texts[0] == texts[1]
    assert texts[0] != model.generate("w5 w6 w7", max_new_tokens=6).ids[0]


def test_a_curve_from_a_store_that_holds_a_part_of_it_is_the_whole_one(tmp_path: Path):
    model, task = load_toy("llama"), word_task()
    whole = impairment_curves(model, [task], dials(model), LEVELS, draws=2)
    part = Task("words", task.items[:2])
    impairment_curves(model, [part], dials(model), LEVELS[:2], draws=2, store=tmp_path / "curves.db")
    resumed = impairment_curves(model, [task], dials(model), LEVELS, draws=2, store=tmp_path / "curves.db")
    pd.testing.assert_frame_equal(whole, resumed, atol=1e-9)


def test_uncrossed_every_group_has_one_draw_and_groups_take_turns():
    model, task = load_toy("llama"), word_task(n=5)
    crossed = impairment_curves(model, [task], {"d": Dial()}, [0.0, 0.5], draws=3)
    table = impairment_curves(model, [task], {"d": Dial()}, [0.0, 0.5], draws=3, crossed=False)
    damaged = table[table["dial"] == "d"].sort_values("item")
    assert damaged["draw"].tolist() == [0, 0, 1, 2, 0]
    key = ["dial", "item", "draw", "intensity"]
    merged = damaged.merge(crossed, on=key, suffixes=("", "_crossed"))
    assert len(merged) == 5
    assert np.allclose(merged["loss"], merged["loss_crossed"], atol=1e-9)


def test_another_first_draw_is_other_noise():
    model, task = load_toy("llama"), word_task(n=2)
    first, other = (
        impairment_curves(model, [task], {"d": Dial()}, [0.0, 0.5], draws=2, first_draw=start) for start in (0, 1)
    )
    by_draw = [table[table["dial"] == "d"].set_index(["draw", "item"])["loss"] for table in (first, other)]
    assert sorted(set(by_draw[1].index.get_level_values(0))) == [1, 2]
    assert np.allclose(by_draw[0].loc[1], by_draw[1].loc[1], atol=1e-9)
    assert not np.allclose(by_draw[0].loc[0], by_draw[1].loc[2], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"intensities": [0.0, 0.5, 0.2]}, "ascending"),
        ({"intensities": [-0.1, 0.2]}, "ascending, from 0 on"),
        ({"draws": 0}, "at least 1 draw"),
        ({"first_draw": -1}, "numbered from 0"),
        ({"tasks": []}, "at least one"),
        ({"dials": {"m": Dial("magnitude")}, "intensities": [0.0, 1.5]}, "0 \\(nothing\\) to 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict[str, object], message: str):
    given = {"tasks": [word_task()], "dials": {"d": Dial()}, "intensities": [0.0, 0.5], **change}
    with pytest.raises(BadArgument, match=message):
        impairment_curves(load_toy("llama"), **given)
