"""Means over prompts: each prompt once, intervals over prompts, and NaN never counted silently."""

import numpy as np
import pandas as pd
import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.metrics.loss import Perplexity
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.sweeps.summary import summarise
from tests.contract.conftest import load_toy

PROMPTS = [[5, 9, 30, 12, 7], [44, 8, 17], [9, 9, 8, 40], [50, 21]]
CELLS = [
    rh.Cell(rh.Zero(f"blocks.{block}.mlp_out", positions=where), {"block": block, "where": where})
    for block in range(3)
    for where in ("last", "all")
]


def planted(values: list[list[float]], **labels: list[object]) -> pd.DataFrame:
    """Return a table whose cells (rows) have these values at prompts (columns)."""
    rows = [
        {"cell": cell, "prompt": prompt, **{name: column[cell] for name, column in labels.items()}, "score": value}
        for cell, row in enumerate(values)
        for prompt, value in enumerate(row)
    ]
    return pd.DataFrame(rows)


def test_each_cell_has_the_mean_of_its_prompts_and_the_interval_of_the_bootstrap():
    model = load_toy("llama")
    metrics = [rh.Probability(7), rh.Loss()]
    table = model.sweep(PROMPTS, CELLS, metrics).sample(frac=1, random_state=0)
    found = summarise(table, metrics, seed=3)
    assert list(found.columns) == ["cell", "block", "where", "metric", "mean", "low", "high", "n", "missing"]
    assert len(found) == len(CELLS) * 2
    for row in found.itertuples():
        assert CELLS[row.cell].labels == {"block": row.block, "where": row.where}
        values = table[table["cell"] == row.cell].sort_values("prompt")[row.metric].to_numpy()
        wanted = bootstrap_mean(values, seed=3)
        assert (row.mean, row.low, row.high, row.n) == (wanted.value, wanted.low, wanted.high, 4)
        assert row.low < row.mean < row.high
    assert not found.equals(summarise(table, metrics, seed=4))


def test_a_group_of_several_cells_counts_each_prompt_once():
    table = planted([[0.0, 4.0, 5.0], [2.0, 8.0, 9.0], [7.0, 7.0, 7.0]], kind=["a", "a", "b"])
    found = summarise(table, "score", by="kind").set_index("kind")
    wanted = bootstrap_mean([1.0, 6.0, 7.0], seed=0)
    assert found.loc["a", ["mean", "low", "high", "n"]].tolist() == [wanted.value, wanted.low, wanted.high, 3]
    assert found.loc["b", ["mean", "low", "high"]].tolist() == [7.0, 7.0, 7.0]


def test_nan_is_refused_or_counted_but_never_averaged():
    table = planted([[1.0, 2.0, 4.0], [1.0, np.nan, 4.0]])
    with pytest.raises(BadArgument, match=r"score is NaN for 1 of 3 values of prompt where cell=1.*skip_missing=True"):
        summarise(table, "score")
    found = summarise(table, "score", skip_missing=True)
    assert found["n"].tolist() == [3, 2]
    assert found["missing"].tolist() == [0, 1]
    assert found["mean"].tolist() == pytest.approx([7 / 3, 2.5])
    with pytest.raises(BadArgument, match="every value is NaN"):
        summarise(planted([[np.nan, np.nan]]), "score", skip_missing=True)
    half = planted([[1.0, 2.0], [np.nan, 4.0]], kind=["a", "a"])  # one draw of a prompt lacks: the prompt lacks
    assert summarise(half, "score", by="kind", skip_missing=True).loc[0, ["mean", "n", "missing"]].tolist() == [3, 1, 1]


def test_one_prompt_has_a_mean_and_no_interval():
    (row,) = summarise(planted([[2.0]]), "score").itertuples()
    assert row.mean == 2.0 and row.n == 1
    assert np.isnan(row.low) and np.isnan(row.high)


def test_the_mean_of_perplexities_is_their_geometric_mean():
    table = planted([[2.0, 8.0]]).rename(columns={"score": "perplexity"})
    assert summarise(table, Perplexity()).loc[0, "mean"] == pytest.approx(4.0)
    assert summarise(table, "perplexity").loc[0, "mean"] == pytest.approx(5.0)
    twice = pd.concat([table, table])
    with pytest.raises(BadArgument, match="several values per prompt"):
        summarise(twice, Perplexity())


def test_labels_that_are_not_there_or_not_set_stay_groups_of_their_own():
    table = planted([[1.0, 2.0], [5.0, 6.0], [7.0, 8.0]], unit=[None, 3, 3])
    found = summarise(table, "score", by=["unit"])
    assert found["mean"].tolist() == [1.5, 6.5]
    with pytest.raises(BadArgument, match=r"no column 'untis'\. Closest: unit"):
        summarise(table, "score", by="untis")
    with pytest.raises(BadArgument, match="no column 'cell'"):
        summarise(table.drop(columns="cell"), "score")
    with pytest.raises(BadArgument, match="empty"):
        summarise(table[:0], "score", by="unit")


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=(300, 40))
    found = summarise(planted(values.tolist()), "score")
    covered = ((found["low"] < 1) & (found["high"] > 1)).mean()
    assert 0.88 < covered < 0.98
