"""An anatomy by hand is held against the module before anything is read with it."""

from dataclasses import replace

import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument, UnknownArchitecture
from rheostat.models.toy import toy


@pytest.fixture(scope="module")
def known() -> rh.Model:
    return rh.load(toy("llama"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n_blocks": 7}, "n_blocks=7, but 'model.layers' holds 3 blocks"),
        ({"blocks": "model.norm"}, "'model.norm' holds no list of blocks"),
        ({"final": "model.nrm"}, "no module 'model.nrm'. Closest: model.norm"),
        ({"d_model": 17}, "d_model is 17, but Linear there takes 16"),
        ({"n_heads": 3}, "n_heads × d_head is 12, but Linear there takes 16"),
        ({"n_heads": 2, "d_head": 8}, "n_heads=2, but the module's config says 4"),
        ({"d_mlp": 23}, "d_mlp is 23, but Linear there takes 24"),
        ({"taps": {"mlp_owt": "mlp"}}, "no kind of site 'mlp_owt'. Closest: mlp_out"),
        ({"taps": {"mlp_out": "mpl"}}, "no module 'model.layers.0.mpl'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_anatomy_that_does_not_fit_is_refused(known: rh.Model, wrong: dict[str, object], says: str):
    with pytest.raises(UnknownArchitecture) as refused:
        rh.load(known.module, anatomy=replace(known.body, **wrong))
    assert says in str(refused.value)


def test_an_unknown_side_of_a_tap_is_refused(known: rh.Model):
    with pytest.raises(BadArgument, match="ends in ':outt'"):
        rh.load(known.module, anatomy=replace(known.body, taps={"mlp_out": "mlp:outt"}))


def test_the_anatomy_that_fits_is_taken(known: rh.Model):
    assert rh.load(known.module, anatomy=known.body).check().worst < 1e-5
