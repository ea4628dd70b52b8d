"""Cells are measured with the numbers of patching, and agreement is judged on planted answers."""

import numpy as np
import pandas as pd
import pytest

import rheostat as rh
from rheostat.data.relations import PromptPair
from rheostat.studies.attribution_patching import measuring, study
from rheostat.studies.attribution_patching.agreement import Agreement, pearson
from rheostat.studies.attribution_patching.measuring import GUESSES, measure_pair
from rheostat.studies.attribution_patching.pairs import Job
from tests.contract.conftest import load_toy


def a_pair(relation: str, clean: str, corrupt: str) -> PromptPair:
    return PromptPair(relation, clean, corrupt, "w6", "w8", "", "", ())


def test_cells_of_a_pair_have_the_effects_of_patching_and_a_small_step_is_estimated_well(monkeypatch):
    monkeypatch.setattr(measuring, "N_NEURONS", 10)
    model = load_toy("gpt2")
    pair, other = a_pair("a", "w5 w9 w30 w12", "w5 w9 w41 w12"), a_pair("b", "w7 w11 w33 w20", "w7 w11 w40 w20")
    job = Job(pair, other, (model.row(pair.clean_prompt), model.row(pair.corrupt_prompt)))
    table = measure_pair(model, job, seed=0)
    assert table["position"].min() == job.first == 2
    assert table.groupby("group").size().to_dict() == {
        "resid_pre": 6, "attn_out": 6, "mlp_out": 6, "heads": 24, "neurons, top": 10, "neurons, random": 10,
        "resid_pre, small step": 6,
    }  # fmt: skip
    for kind in ("mlp_out", "heads"):
        asked = {"answer": "w6", "versus": "w8", "kind": kind, "by_unit": kind == "heads"}
        true = rh.patch_activations(model, pair.clean_prompt, pair.corrupt_prompt, **asked)
        names = ["site", "position", *(["unit"] if kind == "heads" else [])]
        mine = table[table["group"] == kind].merge(true.table, on=names)
        assert len(mine) == (table["group"] == kind).sum()
        np.testing.assert_allclose(mine["effect"], mine["logit_difference"] - true.corrupted, rtol=0, atol=1e-9)
    small = table[table["group"] == "resid_pre, small step"]
    assert pearson(small["estimate"].to_numpy(), small["effect"].to_numpy()) > 0.99
    assert not set(small.columns) ^ {"group", "site", "block", "position", "unit", "effect", *GUESSES}


def planted(early_error: float, seed: int = 0) -> Agreement:
    """Return cells whose estimates are exact but for the early residual stream and some noise."""
    rng = np.random.default_rng(seed)
    parts = []
    for pair in range(12):
        for group in ("resid_pre", "attn_out", "mlp_out", "heads", "neurons, top", "neurons, random", study.PLANTED):
            effect = rng.normal(size=40)
            block = np.arange(40) % 10
            wrong = early_error * ((block < 5) & (group == "resid_pre")) + 0.1 * (group == "resid_pre")
            guesses = {"estimate": effect + wrong * rng.normal(size=40), "path": effect}
            guesses |= {name: rng.normal(size=40) for name in ("other", "random")}
            parts.append(pd.DataFrame({"pair": str(pair), "group": group, "block": block, "effect": effect, **guesses}))
    return Agreement(pd.concat(parts, ignore_index=True), 10)


@pytest.mark.parametrize(("early_error", "verdict"), [(2.0, "reproduced"), (0.0, "partly")])
def test_a_planted_failure_of_the_early_stream_is_what_the_verdict_hangs_on(early_error: float, verdict: str):
    deciding = study.compare("toy", planted(early_error), 0)
    assert study.judge(deciding, planted_found=True) == verdict
    assert [one.n for one in deciding] == [12] * 6
    assert ("not:" in study.reason(deciding, {"toy": 1.0})) == (verdict == "partly")


def test_estimates_that_mean_nothing_are_not_reproduced_and_untestable_without_the_small_step():
    cells = planted(0.0).cells
    rng = np.random.default_rng(1)
    deciding = study.compare("toy", Agreement(cells.assign(estimate=rng.normal(size=len(cells))), 10), 0)
    assert study.judge(deciding, planted_found=True) == "not"
    assert study.judge(deciding, planted_found=False) == "not testable here"


def test_tables_and_figures_say_what_was_planted():
    found = planted(2.0)
    table = found.table(0).set_index("group")
    assert table.loc["heads", "Pearson"] == "1.00 [1.00, 1.00]"
    assert table.loc["heads", "relative error"] == "0.00 [0.00, 0.00]"
    assert float(table.loc["resid_pre, early half", "relative error"].split()[0]) > 1.5
    errors = found.errors_by_block(["resid_pre"], 0).set_index("x")["value"]
    assert errors[:5].min() > 1
    assert errors[5:].max() < 0.3
    assert {figure.kind for figure in study.draw("toy", found, 0)} == {"scatter", "profile"}
