"""A sweep's table holds the numbers of one run per cell, and refuses what it cannot do before anything runs."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.metrics.measure import measure
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


def test_a_wrong_cell_late_in_the_list_is_refused_before_the_first_one_runs(monkeypatch):
    model = load_toy("llama")
    ran = []
    model.module.register_forward_pre_hook(lambda *_: ran.append(1))
    cells = [rh.Cell(rh.Zero("blocks.0.mlp_out"))] * 399 + [rh.Cell(rh.Zero("blocks.9.mlp_out"))]
    with pytest.raises(SiteNotFound, match="cell 399"):
        model.sweep(PROMPTS, cells, rh.Probability(7))
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
    assert 0 < cost.block_token_rows < cost.plain_block_token_rows
    assert cost.bytes > 0
