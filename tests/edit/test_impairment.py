"""`Impair` does what its formulas say, draws what it is keyed by, and at intensity 0 does nothing."""

import math

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.edit.noise import keyed_noise
from tests.contract.conftest import load_toy

ROW = [5, 9, 30, 12, 7]
SITE = "blocks.1.mlp_out"
WIDTH = 16


def change(edit: rh.Edit, row: list[int] = ROW, site: str = SITE) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the site's activations before, and by how much they differ after: (token, width)."""
    model = load_toy("llama")
    before = model.capture(row, site)[site][0]
    return before, model.run(row, edit, capture=site, capture_at="all").activations[site][0] - before


def noise(distribution: str = "normal", *, seed: int = 0, draw: int = 0, n_tokens: int = len(ROW)) -> torch.Tensor:
    return keyed_noise(SITE, range(n_tokens), WIDTH, seed=seed, draw=draw, distribution=distribution).double()


@pytest.mark.parametrize("distribution", ["normal", "truncated", "uniform"])
def test_gaussian_adds_the_keyed_noise_times_the_intensity(distribution):
    _, moved = change(rh.Impair(SITE, "gaussian", 0.7, distribution=distribution, seed=3, draw=2))
    torch.testing.assert_close(moved, 0.7 * noise(distribution, seed=3, draw=2), rtol=0, atol=1e-9)
    assert not torch.allclose(moved, 0.7 * noise(distribution, seed=3, draw=1))


@pytest.mark.parametrize("distribution", ["normal", "truncated", "uniform"])
def test_the_largest_negative_noise_of_each_token_is_exactly_zero(distribution):
    before, moved = change(rh.Impair(SITE, "negative", 2.0, distribution=distribution))
    drawn = noise(distribution)
    torch.testing.assert_close(moved, 2 * (drawn - drawn.amax(-1, keepdim=True)), rtol=0, atol=1e-6)  # drawn in float32
    assert torch.equal(moved.amax(-1), torch.zeros(len(ROW), dtype=torch.float64))
    assert moved.min() < -1 and before.abs().max() > 0


def test_the_maximum_runs_over_the_units_that_are_impaired():
    units = (3, 8, 11)
    _, moved = change(rh.Impair(SITE, "negative", 1.0, units=units))
    assert torch.equal(moved[:, list(units)].amax(-1), torch.zeros(len(ROW), dtype=torch.float64))
    assert torch.equal(moved[:, [0, 1, 2]], torch.zeros(len(ROW), 3, dtype=torch.float64))


def test_noise_shifted_by_its_bound_stays_between_minus_two_and_zero():
    _, moved = change(rh.Impair(SITE, "negative", 1.0, distribution="uniform", maximum="bound"))
    torch.testing.assert_close(moved, noise("uniform") - 1, rtol=0, atol=1e-6)
    assert -2 <= moved.min() < -1 < moved.max() < 0


def test_magnitude_multiplies_by_one_minus_the_intensity():
    before, moved = change(rh.Impair(SITE, "magnitude", 0.25, units=(2, 5)))
    torch.testing.assert_close(moved[:, [2, 5]], -0.25 * before[:, [2, 5]], rtol=0, atol=1e-12)
    assert torch.equal(change(rh.Impair(SITE, "magnitude", 1.0))[1], change(rh.Zero(SITE))[1])


@pytest.mark.parametrize("mode", ["gaussian", "negative", "magnitude"])
def test_intensity_zero_is_the_identity_bit_for_bit(mode):
    model = load_toy("llama")
    plain = model.run(ROW, logits_at="all").logits
    for site in ("blocks.*.mlp_in", "blocks.*.neurons", "blocks.*.mlp_out"):
        assert torch.equal(model.run(ROW, rh.Impair(site, mode, 0.0), logits_at="all").logits, plain)
        assert not torch.equal(model.run(ROW, rh.Impair(site, mode, 0.1), logits_at="all").logits, plain)


def test_a_unit_gets_the_same_noise_in_whichever_cluster_it_is():
    few, many = (change(rh.Impair(SITE, "gaussian", 1.0, units=units))[1] for units in ((4,), (1, 4, 9)))
    assert torch.equal(few[:, 4], many[:, 4])


def test_the_scale_says_what_intensity_one_means():
    scale = torch.linspace(0, 3, WIDTH, dtype=torch.float64)
    for mode, shift in (("gaussian", 0), ("negative", noise().amax(-1, keepdim=True))):
        _, moved = change(rh.Impair(SITE, mode, 0.5, scale=scale))
        torch.testing.assert_close(moved, 0.5 * (noise() - shift) * scale, rtol=0, atol=1e-6)
    few = rh.Impair(SITE, "gaussian", 1.0, scale=torch.tensor([2.0, 3.0]), units=(1, 6))
    torch.testing.assert_close(
        change(few)[1][:, [1, 6]], noise()[:, [1, 6]] * torch.tensor([2.0, 3.0]), rtol=0, atol=1e-9
    )


def test_a_longer_row_keeps_the_noise_of_its_first_tokens():
    edit = rh.Impair("embed", "gaussian", 1.0)
    short, long = (change(edit, row, "embed")[1] for row in (ROW, [*ROW, 8, 44]))
    torch.testing.assert_close(long[: len(ROW)], short, rtol=0, atol=1e-12)
    assert not torch.allclose(long[-2:], short[:2])


def test_the_three_distributions_are_what_they_are_called():
    drawn = {name: keyed_noise("x", range(200), 500, seed=1, draw=0, distribution=name).double() for name in DENSITY}
    for name, (mean, variance, share) in DENSITY.items():
        values = drawn[name]
        assert abs(float(values.mean()) - mean) < 0.01
        assert abs(float(values.var()) - variance) < 0.02 * variance
        assert abs(float((values.abs() < 0.5).double().mean()) - share) < 0.01
        assert name == "normal" or float(values.abs().max()) <= 1


def _phi(x: float) -> float:
    return math.erf(x / math.sqrt(2))


_TRUNCATED_VARIANCE = 1 - 2 * math.exp(-0.5) / math.sqrt(2 * math.pi) / _phi(1)
DENSITY = {
    "normal": (0, 1, _phi(0.5)),
    "truncated": (0, _TRUNCATED_VARIANCE, _phi(0.5) / _phi(1)),
    "uniform": (0, 1 / 3, 0.5),
}
"""Mean, variance and the share within ± 0.5, from the densities."""


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        (("gausian", 1.0), {}, BadArgument, "Closest: gaussian"),
        (("gaussian", -0.1), {}, BadArgument, "0 or above; given -0.1"),
        (("gaussian", float("nan")), {}, BadArgument, "not a finite number"),
        (("magnitude", 1.5), {}, BadArgument, "to 1 .all of it.; given 1.5"),
        (("magnitude", 0.5), {"strength": 2.0}, BadArgument, "strength of 0 to 1"),
        (("gaussian", 1.0), {"distribution": "gamma"}, BadArgument, "no distribution 'gamma'"),
        (("negative", 1.0), {"maximum": "bound"}, EditNotUsable, "distribution='uniform' or 'truncated'"),
        (("magnitude", 0.5), {"distribution": "uniform"}, EditNotUsable, "draws no noise"),
        (("gaussian", 1.0), {"scale": -torch.ones(WIDTH)}, BadArgument, "0 or above"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments, options, error, words):
    with pytest.raises(error, match=words) as caught:
        rh.Impair(SITE, *arguments, **options)
    assert "\n" not in str(caught.value)


def test_units_that_the_site_lacks_are_refused_before_anything_runs():
    with pytest.raises(EditNotUsable, match="units go from 0 to 15"):
        load_toy("llama").run(ROW, rh.Impair(SITE, "gaussian", 1.0, units=(16,)))
