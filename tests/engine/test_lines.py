"""Edits of written tokens, all at once, are what the edits are one by one; so are their receipts."""

from unittest.mock import patch

import pytest
import torch

import rheostat as rh
from rheostat.edit.registry import EDITS
from rheostat.engine import lines
from rheostat.engine.forward import bind
from rheostat.engine.program import Program
from rheostat.engine.receipt import Receipt
from rheostat.models.toy import toy
from rheostat.sites.site import Site, tap

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
VECTOR = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3
UNITS = (0, 3, 4, 11)


@pytest.fixture(scope="module", params=["llama", "gemma3", "gpt2", "opt"])
def model(request: pytest.FixtureRequest) -> rh.Model:
    return rh.load(toy(request.param, dtype=torch.float64))


def impair(mode: str, **options: object) -> rh.Impair:
    return rh.Impair("blocks.*.mlp_out", mode, options.pop("intensity", 0.8), **options)


PLANS = {
    "gaussian": [impair("gaussian", seed=2)],
    "negative, some units": [impair("negative", units=UNITS, draw=3)],
    "uniform, at most the bound": [impair("negative", distribution="uniform", maximum="bound")],
    "in a scale": [impair("gaussian", scale=VECTOR.abs())],
    "in a scale of its units": [impair("gaussian", scale=VECTOR.abs()[:4], units=UNITS)],
    "magnitude": [impair("magnitude")],
    "magnitude, some units": [impair("magnitude", units=UNITS)],
    "heads": [rh.Impair("blocks.1.heads", "gaussian", 0.8, units=(1, 2))],
    "logits": [rh.Impair("logits", "gaussian", 0.8)],
    "fading": [rh.Add("blocks.1.resid_post", VECTOR, positions="generated", decay=0.6)],
    "the first two": [rh.Add("blocks.1.resid_post", VECTOR, positions=rh.Positions.generated(2))],
    "units of a vector": [rh.Add("blocks.*.mlp_out", VECTOR[:4], units=UNITS)],
    "three at one site": [
        impair("gaussian"),
        rh.Scale("blocks.0-1.mlp_out", 1.7),
        rh.Add("blocks.*.mlp_out", VECTOR, strength=-0.4),
    ],
    "zero": [rh.Zero("blocks.2.attn_out", strength=0.7)],
    "nothing": [impair("gaussian", intensity=0.0)],
    "beside an edit that is no line": [impair("gaussian"), rh.Project("blocks.1.mlp_out", VECTOR)],
    "beside one at another site": [impair("negative"), rh.Add("blocks.1.resid_post", VECTOR, keep_norm=True)],
    "in the prompt alone": [impair("gaussian", positions="prompt")],
}


def slowly() -> object:
    """Edit one by one."""
    return patch.object(Program, "_is_line", return_value=False)


def numbers(receipt: Receipt) -> list[tuple[object, ...]]:
    return [(one.site, one.rows, one.tokens) for one in receipt.entries]


def sizes(receipt: Receipt) -> torch.Tensor:
    return torch.tensor([(one.change, one.relative_change) for one in receipt.entries], dtype=torch.float64)


@pytest.mark.parametrize("name", PLANS)
def test_all_at_once_is_one_by_one(model, name):
    plans = [PLANS[name], [], PLANS[name]]
    found = model.generate(ROWS, plans=plans, max_new_tokens=6)
    with slowly():
        wanted = model.generate(ROWS, plans=plans, max_new_tokens=6)
    assert found.ids == wanted.ids
    assert numbers(found.receipt) == numbers(wanted.receipt)
    torch.testing.assert_close(sizes(found.receipt), sizes(wanted.receipt), rtol=1e-9, atol=1e-12)


def test_the_comparison_would_notice_a_wrong_line(model):
    plans = [PLANS["gaussian"], [], []]
    right = model.generate(ROWS, plans=plans, max_new_tokens=6)
    with patch.object(rh.Impair, "line", lambda _edit, value: (1.0, value * 2)):
        wrong = model.generate(ROWS, plans=plans, max_new_tokens=6)
    assert (sizes(right.receipt) - sizes(wrong.receipt)).abs().max() > 0.1


def test_lines_are_used_where_they_can_be(model):
    with patch.object(lines.WrittenTokens, "change", autospec=True, side_effect=lambda _all, _site, one: one) as change:
        model.generate(ROWS[:1], plans=[PLANS["gaussian"]], max_new_tokens=4)
    assert {call.args[1] for call in change.call_args_list} == {
        tap(model, Site("mlp_out", block)) for block in range(3)
    }
    others = bind(model, [model.row(ROWS[0])], PLANS["beside an edit that is no line"], None).other_taps
    assert others == (tap(model, Site("mlp_out", 1)),)


def test_every_edit_that_says_it_is_a_line_is_one():
    h = torch.randn(5, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    given = {"add": {"vector": VECTOR}, "scale": {"factor": 0.3}, "zero": {}, "impair": {"intensity": 0.5}}
    named = {name: options for name, options in given.items() if name != "impair"}
    made = [EDITS[name]("blocks.0.mlp_out", **options, strength=0.6) for name, options in named.items()]
    made += [rh.Impair("blocks.0.mlp_out", mode, 0.5) for mode in ("gaussian", "negative", "magnitude")]
    for edit in made:
        assert edit.is_line
        value = edit.source if not isinstance(edit, rh.Impair) else torch.full((16,), 0.7, dtype=torch.float64)
        factor, shift = edit.line(value)
        torch.testing.assert_close(edit.change(h, value), factor * h + (0 if shift is None else shift))
    assert set(given) == {edit.name for edit in made}
    assert not rh.Add("blocks.0.mlp_out", VECTOR, keep_norm=True).is_line
