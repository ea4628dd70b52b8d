"""One direction: scores, arithmetic, controls, and what it refuses."""

import math

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, DirectionNotUsable, EditNotUsable, SiteNotFound
from rheostat.directions.direction import Calibration
from tests.directions.conftest import load_words, some_pairs

SITE = "blocks.1.resid_post"


def a_direction(values: list[float] | None = None, **changed: object) -> rh.Direction:
    vector = torch.tensor(values or [3.0, 0.0, -4.0])
    settings = {"concept": "a", "site": SITE, "method": "m", "model": "toy", "calibration": Calibration(4.0, -2.0, 1.5)}
    return rh.Direction(vector=vector, **{**settings, **changed})


def test_scores_are_one_at_the_positive_mean_and_minus_one_at_the_negative():
    one = a_direction()
    at = torch.tensor([[4.0], [-2.0], [1.0]]) * one.unit
    torch.testing.assert_close(one.projections(at), torch.tensor([4.0, -2.0, 1.0]))
    torch.testing.assert_close(one.scores(at), torch.tensor([1.0, -1.0, 0.0]))
    assert one.calibration.effect_size == 4.0
    assert (one.length, one.calibration.midpoint, one.calibration.half_gap) == (5.0, 1.0, 3.0)


def test_the_opposite_direction_reads_and_does_the_opposite():
    one, activation = a_direction(), torch.randn(7, 3)
    torch.testing.assert_close((-one).scores(activation), -one.scores(activation))
    assert torch.equal((-one).vector, -one.vector)
    assert (-one).calibration.effect_size == one.calibration.effect_size
    assert (-one).concept == "−a"


def test_a_multiple_reads_the_same_and_does_as_much_more():
    one, activation = a_direction(), torch.randn(7, 3)
    for twice in (2 * one, one * 2.0):
        torch.testing.assert_close(twice.scores(activation), one.scores(activation))
        assert torch.equal(twice.vector, 2 * one.vector)
    assert (2 * one).concept == "2·a" and (1.0 * one).concept == "a"
    torch.testing.assert_close((-2 * one).scores(activation), -one.scores(activation))


def test_sums_add_the_vectors_and_have_no_calibration():
    a, b = a_direction(), a_direction([1.0, 1.0, 1.0], concept="b", method="other")
    mixed = a + 0.5 * b
    torch.testing.assert_close(mixed.vector, torch.tensor([3.5, 0.5, -3.5]))
    assert (mixed.concept, mixed.method, mixed.calibration) == ("a + 0.5·b", "m + other", None)
    torch.testing.assert_close((a - b).vector, torch.tensor([2.0, -1.0, -5.0]))
    assert (a - b).concept == "a − b"
    assert (-(a + b)).concept == "−(a + b)"
    assert (2 * (a + b)).concept == "2·(a + b)"
    with pytest.raises(DirectionNotUsable, match="no calibration"):
        mixed.scores(torch.zeros(3))


def test_unknown_weights_do_not_hinder_a_sum_and_other_weights_do():
    known, unknown = a_direction(weights="abc"), a_direction([1.0, 0.0, 0.0])
    assert (known + unknown).weights == (unknown + known).weights == "abc"
    with pytest.raises(BadArgument, match="different sites or models"):
        known + a_direction(weights="xyz")
    with pytest.raises(BadArgument, match="different sites or models"):
        known + a_direction(site="blocks.0.resid_post")
    with pytest.raises(BadArgument, match="different sites or models"):
        known + a_direction(model="another")
    with pytest.raises(DirectionNotUsable, match=r"shape \(3,\).*\(2,\)"):
        known + a_direction([1.0, 2.0])


@pytest.mark.parametrize("wrong", ["b", None, [1.0]])
def test_arithmetic_with_anything_else_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        a_direction() + wrong
    with pytest.raises(TypeError):
        rh.Directions.of(a_direction()) - wrong


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_vector_that_points_nowhere_is_refused(bad):
    with pytest.raises(DirectionNotUsable, match="NaN or infinity"):
        a_direction([1.0, bad, 0.0])
    with pytest.raises(DirectionNotUsable, match="points nowhere"):
        a_direction([0.0, 0.0, 0.0])
    with pytest.raises(DirectionNotUsable, match="points nowhere"):
        0.0 * a_direction()
    with pytest.raises(DirectionNotUsable, match="points nowhere"):
        a_direction() - a_direction()


def test_half_precision_vectors_keep_their_length():
    one = rh.Direction("a", SITE, torch.full((4096,), 1000.0, dtype=torch.float16), "m", "toy")
    assert one.length == pytest.approx(64_000)
    assert float(one.unit.double().norm()) == pytest.approx(1, rel=1e-3)


def test_random_controls_are_as_long_and_depend_on_seed_site_and_draw_alone():
    one = a_direction([float(k) for k in range(1, 17)])
    drawn = one.random_like(3, draw=1)
    assert torch.equal(drawn.vector, (2 * one).random_like(3, draw=1).vector / 2)
    assert drawn.length == pytest.approx(one.length)
    assert (drawn.method, drawn.calibration, drawn.site) == ("random", None, SITE)
    others = [one.random_like(4, draw=1), one.random_like(3, draw=2)]
    others.append(a_direction([float(k) for k in range(1, 17)], site="blocks.0.resid_post").random_like(3, draw=1))
    assert all(abs(torch.cosine_similarity(other.vector, drawn.vector, dim=0)) < 0.9 for other in others)


def test_activations_of_another_width_are_refused():
    with pytest.raises(DirectionNotUsable, match=r"shape \(3,\)"):
        a_direction().projections(torch.zeros(2, 4))


def test_a_direction_for_another_model_or_width_is_refused(model):
    found = rh.fit_directions(model, some_pairs(6), sites=SITE, held_out=0)[SITE]
    found.check(model)
    with pytest.raises(DirectionNotUsable, match="weights are not those of"):
        found.check(rh.load(load_words("llama", torch.float32).module, tokenizer=model.tokenizer))
    with pytest.raises(DirectionNotUsable, match=r"\(3,\).*\(16,\)"):
        a_direction().check(model)
    with pytest.raises(DirectionNotUsable, match=r"final of .* has \(16,\)"):
        a_direction(site="final").check(model)
    with pytest.raises(SiteNotFound):
        a_direction(site="blocks.7.resid_post").check(model)
    with pytest.raises(EditNotUsable, match="shape"):
        model.run("w5 w6", a_direction().add())


def test_directions_of_several_sites_add_up_site_by_site(model):
    found = rh.fit_directions(model, some_pairs(24))
    twice = found + found
    for site in found:
        torch.testing.assert_close(twice[site].vector, 2 * found[site].vector)
        torch.testing.assert_close((-found)[site].vector, -found[site].vector)
    assert twice.table.empty
    assert (-2 * found).table["length"].tolist() == pytest.approx((2 * found.table["length"]).tolist())
    assert (found - 0.5 * found).concept == "concept − 0.5·concept"
    with pytest.raises(BadArgument, match="different sites"):
        found + rh.Directions.of(found[SITE])
    with pytest.raises(BadArgument, match="lie at one site"):
        rh.Directions.of(found[SITE], found[SITE])
    with pytest.raises(SiteNotFound, match="Closest"):
        found["blocks.1.resid_pos"]
    with pytest.raises(BadArgument, match="no direction was given"):
        rh.Directions.of()
