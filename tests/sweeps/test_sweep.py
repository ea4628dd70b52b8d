"""A sweep's table holds the numbers of one run per cell, and refuses what it cannot do before anything runs."""

import copy

import pandas as pd
import pytest
import torch
from tokenizers import normalizers

import rheostat as rh
from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.metrics.measure import measure
from rheostat.sweeps import question
from rheostat.sweeps import sweep as home
from rheostat.sweeps.question import Question
from tests.contract.conftest import load_toy

PROMPTS = [[5, 9, 30, 12, 7], [44, 8, 17]]
VECTOR = torch.linspace(-1, 3, 16, dtype=torch.float64)
CELLS = [
    rh.Cell(
        rh.Add(f"blocks.{block}.{kind}", VECTOR, positions=where), {"block": block, "kind": kind, "where": str(where)}
    )
    for block in range(3)
    for kind in ("resid_pre", "attn_out", "mlp_out")
    for where in ("last", 1)
]
METRICS = [rh.LogitDifference(3, 4), rh.Probability(7), rh.Rank(9), rh.KLToClean(), rh.Loss()]


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_the_table_equals_one_run_per_cell(name):
    model = load_toy(name)
    table = model.sweep(PROMPTS, CELLS, METRICS)
    assert list(table.columns[:5]) == ["cell", "prompt", "block", "kind", "where"]
    assert len(table) == len(CELLS) * len(PROMPTS)
    clean = model.run(PROMPTS, logits_at="all")
    for number, cell in enumerate(CELLS):
        output = model.run(PROMPTS, cell.plan, logits_at="all")
        mine = table[table["cell"] == number].sort_values("prompt")
        for metric in METRICS:
            wanted = measure(metric, model, PROMPTS, output, clean=clean).values
            assert mine[metric.column].tolist() == pytest.approx(wanted, abs=1e-9)
    assert table["kl_to_clean"].max() > 1e-3


def test_with_a_base_clean_still_means_the_unedited_network():
    model = load_toy("llama")
    base = rh.Add("embed", VECTOR, positions=1)
    table = model.sweep(PROMPTS, [rh.Cell(None, base=base), rh.Cell(base), rh.Cell(None)], METRICS).set_index("cell")
    assert table.loc[0, "kl_to_clean"].tolist() == pytest.approx(table.loc[1, "kl_to_clean"].tolist(), abs=1e-12)
    assert table.loc[0, "kl_to_clean"].min() > 1e-6
    assert table.loc[2, "kl_to_clean"].abs().max() < 1e-12


def test_a_stored_cell_with_a_base_is_the_plan_of_both(tmp_path, monkeypatch):
    model, base, edit = load_toy("llama"), rh.Add("embed", VECTOR, positions=1), rh.Zero("blocks.1.mlp_out")
    options = {"metrics": rh.Probability(7), "store": tmp_path / "store.sqlite"}
    alone, on_base = (
        model.sweep(PROMPTS, [cell], **options)["probability"] for cell in (edit, rh.Cell(edit, base=base))
    )
    assert (alone - on_base).abs().min() > 1e-9
    monkeypatch.setattr(question, "sweep_rows", None)
    assert model.sweep(PROMPTS, [[base, edit]], **options)["probability"].tolist() == on_base.tolist()


def test_a_wrong_cell_late_in_the_list_is_refused_before_the_first_one_runs(monkeypatch):
    model = load_toy("llama")
    ran = []
    hook = model.module.register_forward_pre_hook(lambda *_: ran.append(1))
    cells = [rh.Cell(rh.Zero("blocks.0.mlp_out"))] * 399 + [rh.Cell(rh.Zero("blocks.9.mlp_out"))]
    with pytest.raises(SiteNotFound, match="cell 399"):
        model.sweep(PROMPTS, cells, rh.Probability(7))
    hook.remove()
    assert not ran


@pytest.mark.parametrize(
    ("cells", "metrics", "says"),
    [
        ([], rh.Probability(7), "no cell"),
        (CELLS, [], "no metric"),
        (CELLS, [rh.Probability(7), rh.Probability(8)], "two metrics are called 'probability'"),
        ([rh.Cell(rh.Zero("blocks.0.mlp_out"), {"prompt": 1})], rh.Probability(7), "the label 'prompt'"),
    ],
)
def test_a_slip_is_named(cells, metrics, says):
    with pytest.raises(BadArgument, match=says):
        load_toy("llama").sweep(PROMPTS, cells, metrics)


def test_what_a_sweep_will_compute_is_stated_beforehand():
    cost = load_toy("llama").explain_sweep(PROMPTS, CELLS)
    assert (cost.n_cells, cost.n_prompts) == (len(CELLS), 2)
    assert 0 < cost.block_token_rows <= cost.plain_block_token_rows
    assert 0 < cost.passes < cost.n_cells * cost.n_prompts
    assert cost.bytes > 0


def test_a_stored_sweep_computes_nothing_twice_and_ends_with_the_same_table(tmp_path, monkeypatch):
    model = load_toy("llama")
    plain = model.sweep(PROMPTS, CELLS, METRICS)
    monkeypatch.setattr(home, "PIECE", 5)
    whole, chunks = Question.values, []

    def interrupted(question, places, advance):
        chunks.append(tuple(places))
        if len(chunks) == 4:
            raise KeyboardInterrupt
        return whole(question, places, advance)

    monkeypatch.setattr(Question, "values", interrupted)
    store = tmp_path / "store.sqlite"
    with pytest.raises(KeyboardInterrupt):
        model.sweep(PROMPTS, CELLS, METRICS, store=store)
    table = model.sweep(PROMPTS, CELLS, METRICS, store=store)
    pd.testing.assert_frame_equal(table, plain, rtol=1e-9)
    done = [place for number, chunk in enumerate(chunks) if number != 3 for place in chunk]
    assert sorted(done) == [(prompt, cell) for prompt in range(2) for cell in range(len(CELLS))]
    before = len(chunks)
    model.sweep(PROMPTS, CELLS, METRICS, store=store)
    assert len(chunks) == before


def test_a_store_knows_how_another_prompt_was_tokenized(tmp_path):
    model = load_toy("llama")
    texts = copy.deepcopy(model.tokenizer)
    texts._tokenizer.normalizer = normalizers.Replace("w7", "w8")
    other = rh.load(model.module, tokenizer=texts)
    cells = [rh.Cell(rh.Replace("blocks.1.mlp_out", rh.FromPrompt("w5 w7"), positions="last"))]
    store, metric = tmp_path / "store.sqlite", rh.Probability(9)
    first = model.sweep(PROMPTS, cells, metric, store=store)
    again = other.sweep(PROMPTS, cells, metric, store=store)
    pd.testing.assert_frame_equal(again, other.sweep(PROMPTS, cells, metric), rtol=1e-9)
    assert (first["probability"] - again["probability"]).abs().max() > 1e-6
