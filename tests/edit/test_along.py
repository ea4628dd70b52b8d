"""The algebra of edits along a vector: what projection leaves, what piece-wise addition keeps, and norms."""

import math

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable
from tests.contract.conftest import load_toy

ROW = [5, 9, 30, 12, 7]
SITE = "blocks.1.resid_post"
V = torch.linspace(-1, 2, 16, dtype=torch.float64)
HEADS = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def before_and_after(edit: rh.Edit) -> tuple[torch.Tensor, torch.Tensor]:
    """Return activations (pos, size) at the edit's site."""
    model = load_toy("llama")
    after = model.run(ROW, edit, capture=edit.site, capture_at="all").activations[edit.site]
    return model.capture(ROW, edit.site)[edit.site][0].flatten(1), after[0].flatten(1)


def along(activation: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    return activation @ vector.flatten() / vector.norm()


@pytest.mark.parametrize(
    ("site", "vector"), [(SITE, V), ("blocks.1.heads", HEADS), ("blocks.1.neurons", V.repeat(2)[:24])]
)
@pytest.mark.parametrize("length", [1.0, 1e-30, 1e30])
def test_nothing_along_the_vector_is_left_by_a_projection(site, vector, length):
    before, after = before_and_after(rh.Project(site, vector * length))
    assert along(before, vector).abs().min() > 1e-3
    assert along(after, vector).abs().max() < 1e-12
    removed = before - after
    torch.testing.assert_close(removed, along(before, vector)[:, None] * (vector / vector.norm()).flatten())


@pytest.mark.parametrize(("strength", "left"), [(0.25, 0.75), (2.0, -1.0), (-1.0, 2.0)])
def test_a_projection_leaves_its_share_of_the_component(strength, left):
    before, after = before_and_after(rh.Project(SITE, V, strength=strength))
    torch.testing.assert_close(along(after, V), left * along(before, V), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep_norm", [False, True])
@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_piecewise_addition_never_reduces_the_component_and_keeps_its_side(strength, keep_norm):
    before, after = before_and_after(rh.Piecewise(SITE, V, strength=strength, keep_norm=keep_norm))
    first, then = along(before, V), along(after, V)
    assert (first > 0).any() and (first < 0).any()
    assert torch.equal(first.sign(), then.sign())
    assert (then.abs() > first.abs()).all()
    if not keep_norm:
        torch.testing.assert_close(then.abs() - first.abs(), (strength * V.norm()).expand(5))


def test_piecewise_addition_leaves_what_has_no_side():
    model = load_toy("llama")
    orthogonal = rh.Project(SITE, torch.eye(16, dtype=torch.float64)[3])
    output = model.run(ROW, [orthogonal, rh.Piecewise(SITE, torch.eye(16, dtype=torch.float64)[3])])
    assert torch.equal(output.logits, model.run(ROW, orthogonal).logits)


@pytest.mark.parametrize("edit", [rh.Add, rh.Project, rh.Piecewise])
@pytest.mark.parametrize("strength", [0.3, 1.0, 7.0])
def test_a_kept_norm_is_the_norm_before(edit, strength):
    before, after = before_and_after(edit(SITE, V, strength=strength, keep_norm=True))
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1), rtol=1e-12, atol=0)
    _, free = before_and_after(edit(SITE, V, strength=strength))
    torch.testing.assert_close(torch.cosine_similarity(after, free), torch.ones(5, dtype=torch.float64))
    assert (free.norm(dim=-1) - before.norm(dim=-1)).abs().min() > 1e-4


def test_a_kept_norm_of_units_is_that_of_the_units_and_so_of_the_whole():
    units = (2, 9, 11)
    before, after = before_and_after(rh.Add(SITE, V, units=units, keep_norm=True, strength=5.0))
    others = [unit for unit in range(16) if unit not in units]
    assert torch.equal(after[:, others], before[:, others])
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [HEADS, HEADS[[2]]], ids=["all heads", "one head"])
def test_a_projection_of_one_head_empties_that_head_alone(value):
    before, after = before_and_after(rh.Project("blocks.1.heads", value, units=(2,)))
    assert torch.equal(after[:, :8], before[:, :8]) and torch.equal(after[:, 12:], before[:, 12:])
    assert along(after[:, 8:12], HEADS[2]).abs().max() < 1e-12
    assert along(after, HEADS).abs().max() > 1e-3  # what other heads hold along it is left


def test_adding_and_taking_away_is_the_identity_within_float_noise():
    model = load_toy("llama")
    there = rh.Add(SITE, V, strength=3.7)
    output = model.run(ROW, [there, rh.Add(SITE, -V, strength=3.7)])
    torch.testing.assert_close(output.logits, model.run(ROW).logits, rtol=0, atol=1e-9)
    assert (model.run(ROW, there).logits - output.logits).abs().max() > 1e-3


def test_several_edits_apply_in_the_order_of_the_plan():
    model = load_toy("llama")
    add, project = rh.Add(SITE, V.flip(0)), rh.Project(SITE, V)
    for plan, empty in (([add, project], True), ([project, add], False)):
        held = model.run(ROW, plan, capture=SITE, capture_at="all").activations[SITE][0]
        assert (float(along(held, V).abs().max()) < 1e-12) == empty


def test_each_token_has_its_own_vector_and_one_that_is_zero_leaves_its_token():
    vectors = torch.stack([V * 0, V, V.flip(0)])
    edit = rh.Project(SITE, vectors, positions=[0, 2, 4])
    before, after = before_and_after(edit)
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert along(after[2], V).abs() < 1e-12 and along(after[4], V.flip(0)).abs() < 1e-12
    assert along(before[[2, 4]], V).abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_neither_overflows_nor_loses_the_norm(dtype):
    h = torch.tensor([[3e4, -2e4, 1.0, 0.5], [0.0, 0.0, 0.0, 0.0]], dtype=dtype)
    v = torch.tensor([3e4, 1e4, 0.0, 1.0], dtype=dtype)
    left = rh.Project(SITE, v).change(h, v[None])
    assert left.dtype == dtype and torch.isfinite(left).all()
    assert abs(float(left[0].double() @ v.double()) / float(h[0].double() @ v.double())) < 0.02
    kept = rh.Project(SITE, v, keep_norm=True).change(h, v[None])
    assert float(kept[0].float().norm()) == pytest.approx(float(h[0].float().norm()), rel=0.01)
    assert torch.equal(kept[1], h[1])


def test_an_activation_that_becomes_zero_stays_zero():
    kept = rh.Project(SITE, V, keep_norm=True).change(V[None] * 2, V[None])
    assert float(kept.norm()) < 1e-12 or math.isclose(float(kept.norm()), float(V.norm()) * 2, rel_tol=1e-9)
    assert torch.isfinite(kept).all()
    exact = torch.eye(4, dtype=torch.float64)[0]
    assert torch.equal(rh.Project(SITE, exact, keep_norm=True).change(exact[None], exact[None]), exact[None] * 0)


def test_a_change_of_nothing_keeps_every_bit_of_a_kept_norm():
    h = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rh.Add(SITE, V * 0, keep_norm=True).change(h, torch.zeros(1, 16)), h)


@pytest.mark.parametrize("edit", [rh.Project, rh.Piecewise])
def test_a_vector_that_points_nowhere_is_refused(edit):
    with pytest.raises(EditNotUsable, match="points nowhere"):
        edit(SITE, torch.zeros(16))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: rh.Add(SITE, V, decay=1.5), BadArgument, "decay 1.5 is not above 0 and below 1"),
        (lambda: rh.Add(SITE, V, decay=0.0), BadArgument, "decay 0 is not above 0"),
        (lambda: rh.Add(SITE, V, decay=0.5, positions="prompt"), EditNotUsable, "writes no token there"),
        (lambda: rh.Add(SITE, V, decay=0.5, positions=3), EditNotUsable, "Give positions='generated'"),
        (
            lambda: rh.CutAttention("blocks.0.pattern", keys=0, positions="generated", decay=0.5),
            EditNotUsable,
            "does not fade",
        ),
        (lambda: rh.Positions.generated(0), BadArgument, "at least 1"),
    ],
)
def test_schedules_that_say_nothing_are_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_what_is_not_asked_for_stands_in_no_file():
    assert {"keep_norm", "decay"} & set(rh.Add(SITE, V).to_dict()[0]) == set()
    assert rh.Add(SITE, V, keep_norm=True).to_dict()[0]["keep_norm"] is True
    assert rh.Add(SITE, V, keep_norm=True) != rh.Add(SITE, V)
    assert rh.Add(SITE, V, decay=0.5) != rh.Add(SITE, V)
    assert str(rh.Add(SITE, V, decay=0.5, keep_norm=True)).endswith("positions all, decay 0.5, norm kept")
    assert str(rh.Positions.generated(3)) == "first 3 generated"
