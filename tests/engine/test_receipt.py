"""A receipt's counts and norms are those of a computation by hand; an edit that changed nothing by mistake raises."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotApplied
from tests.contract.conftest import load_toy

ROWS = [[5, 9, 30, 12, 7], [44, 8], [17, 21, 60]]
SITE = "blocks.1.mlp_out"
V = torch.linspace(-1, 3, 16, dtype=torch.float64)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("positions", "rows", "chosen"),
    [
        ("all", ROWS, [range(5), range(2), range(3)]),
        (slice(1, None), ROWS, [range(1, 5), [1], [1, 2]]),
        (0, ROWS[:1], [[0]]),
    ],
)
def test_counts_and_norms_are_those_of_a_computation_by_hand(positions, rows, chosen, side):
    model = load_toy("llama")
    before = model.capture(rows, SITE).rows(SITE)
    tokens = torch.cat([held[list(where)] for held, where in zip(before, chosen, strict=True)])
    receipt = model.run(rows, rh.Replace(SITE, V, positions=positions, strength=0.5), padding_side=side).receipt
    (entry,) = receipt.entries
    change = (0.5 * (V - tokens)).norm(dim=-1)
    assert (entry.rows, entry.tokens) == (len(rows), len(tokens))
    assert entry.change == pytest.approx(float(change.mean()), rel=1e-12)
    assert entry.relative_change == pytest.approx(float((change / tokens.norm(dim=-1)).mean()), rel=1e-12)


def test_each_edit_is_measured_against_what_the_edits_before_it_left():
    receipt = load_toy("llama").run(ROWS, [rh.Replace(SITE, V), rh.Scale(SITE, 3.0), rh.Zero(SITE)]).receipt
    sizes = [(entry.change / float(V.norm()), entry.relative_change) for entry in receipt.entries[1:]]
    assert sizes == [(pytest.approx(2), pytest.approx(2)), (pytest.approx(3), pytest.approx(1))]


def test_a_receipt_counts_sites_rows_and_tokens_over_all_entries():
    plans = [[rh.Zero("blocks.*.mlp_out")], [], [rh.Zero(SITE, positions="last"), rh.Scale("final", 2.0)]]
    receipt = load_toy("llama").run(ROWS, plans=plans).receipt
    assert (receipt.sites, receipt.rows, receipt.tokens) == (4, 1, 3 * 5 + 1 + 3)
    assert str(receipt).splitlines()[0] == "4 sites, 1 row, 19 tokens"
    assert receipt.to_dict()["tokens"] == 19


@pytest.mark.parametrize(("positions", "expected"), [("all", 5 + 3), ("generated", 3), ("prompt", 5), ("last", 1)])
def test_in_generation_every_token_that_was_fed_is_counted_once(positions, expected):
    written = load_toy("gpt2").generate(ROWS[0], rh.Scale(SITE, 1.1, positions=positions), max_new_tokens=4)
    assert len(written.ids[0]) == 4
    assert written.receipt.tokens == expected


def test_an_edit_that_reached_no_token_raises_even_when_another_one_did():
    model = load_toy("llama")
    with pytest.raises(EditNotApplied, match=r"zero at blocks\.2\.mlp_out"):
        model.capture(ROWS, "blocks.1.resid_post", edits=[rh.Zero("blocks.0.mlp_out"), rh.Zero("blocks.2.mlp_out")])
    with pytest.raises(EditNotApplied, match="positions generated"):
        model.run(ROWS, [rh.Zero(SITE), rh.Zero(SITE, positions="generated")])


def test_an_open_receipt_is_complete_only_after_its_block():
    model = load_toy("llama")
    with model.editing(rh.Zero(SITE)) as receipt:
        assert str(receipt) == "not complete yet"
        with pytest.raises(BadArgument):
            _ = receipt.value
        model.module(torch.tensor([ROWS[0]]))
        model.module(torch.tensor([ROWS[0], ROWS[0]]))
    assert (receipt.value.rows, receipt.value.tokens) == (2, 15)
