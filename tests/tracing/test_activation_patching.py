"""Patching equals one run per place, scores from 0 (corrupted) to 1 (clean), in both directions."""

import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument, PositionNotFound
from rheostat.tracing.activation_patching import patch_activations
from rheostat.tracing.attribution_patching import attribute_patching
from tests.contract.conftest import load_toy

CLEAN, CORRUPT = [5, 9, 30, 12, 7], [5, 9, 41, 12, 7]


def difference(model: rh.Model, prompt: list[int], edit: rh.Edit | None = None) -> float:
    logits = model.run(prompt, edit).logits[0, -1]
    return float(logits[3] - logits[4])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", ["resid_pre", "attn_out", "mlp_out"])
def test_every_place_equals_a_run_of_its_own(direction, kind):
    model = load_toy("llama")
    found = patch_activations(model, CLEAN, CORRUPT, answer=3, versus=4, kind=kind, direction=direction)
    source, target = (CLEAN, CORRUPT) if direction == "denoise" else (CORRUPT, CLEAN)
    acts = model.capture(source, f"blocks.*.{kind}")
    clean, corrupted = difference(model, CLEAN), difference(model, CORRUPT)
    assert (found.clean, found.corrupted) == pytest.approx((clean, corrupted), abs=1e-9)
    assert len(found.table) == 3 * 5
    for row in found.table.to_dict("records"):
        edit = rh.Replace(row["site"], acts[row["site"]][0, row["position"]], positions=row["position"])
        wanted = difference(model, target, edit)
        assert row["logit_difference"] == pytest.approx(wanted, abs=1e-9)
        assert row["score"] == pytest.approx((wanted - corrupted) / (clean - corrupted), abs=1e-9)
    assert found.table["score"].abs().max() > 0.05


def test_the_first_stream_of_the_changed_token_carries_everything_and_the_others_nothing():
    found = patch_activations(load_toy("gemma3"), CLEAN, CORRUPT, answer=3, versus=4)
    first = found.table[found.table["block"] == 0].set_index("position")["score"]
    assert first[2] == pytest.approx(1, abs=1e-9)
    assert first.drop(2).tolist() == pytest.approx([0] * 4, abs=1e-9)


def test_heads_are_patched_one_by_one_and_shown_beside_each_other():
    model = load_toy("gpt2")
    found = patch_activations(model, CLEAN, CORRUPT, answer=3, versus=4, kind="heads", positions="last", by_unit=True)
    assert len(found.table) == 3 * 4
    acts = model.capture(CLEAN, "blocks.1.heads", positions="last")
    edit = rh.Replace("blocks.1.heads", acts, positions="last", units=(2,))
    row = found.table[(found.table["block"] == 1) & (found.table["unit"] == 2)].iloc[0]
    assert row["logit_difference"] == pytest.approx(difference(model, CORRUPT, edit), abs=1e-9)
    assert set(found.grid().table["x"]) == {f"head {head}" for head in range(4)}
    assert set(found.rows()[0]) == {"block", "position", "token", "unit", "logit_difference", "score"}


def test_the_picture_has_a_cell_per_block_and_token():
    grid = patch_activations(load_toy("llama"), CLEAN, CORRUPT, answer=3, versus=4).grid()
    assert len(grid.table) == 15
    assert grid.centre == 0
    assert grid.table["y"].tolist()[:5] == [2] * 5


@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("way", [patch_activations, attribute_patching])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_substring_means_the_same_tokens_in_both_prompts_or_is_refused(direction, way, top):
    asked = {"answer": 3, "versus": 4, "direction": direction, "top": top}
    model = load_toy("llama")
    with pytest.raises(BadArgument, match=r"'w5' covers the tokens \[[02]\] of .* and \[[02]\] of"):
        way(model, "w5 w6 w7", "w7 w6 w5", positions="w5", **asked)
    for only_in_one in ("w5", "w8"):
        found = way(model, "w5 w6 w7", "w8 w6 w7", positions=only_in_one, **asked)
        assert set(found.table["position"]) == {0}
    assert set(way(model, "w5 w6 w7", "w8 w6 w7", positions="w6 w7", **asked | {"top": None}).table["position"]) == {
        1,
        2,
    }
    with pytest.raises(PositionNotFound, match="does not contain 'w9'"):
        way(model, "w5 w6 w7", "w8 w6 w7", positions="w9", **asked)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"corrupt": [5, 9]}, "equally many tokens"),
        ({"corrupt": CLEAN}, "same value"),
    ],
)
def test_a_pair_that_cannot_be_patched_is_refused(change, says):
    given = {"corrupt": CORRUPT, "answer": 3, "versus": 4} | change
    with pytest.raises(BadArgument, match=says):
        patch_activations(load_toy("llama"), CLEAN, **given)
