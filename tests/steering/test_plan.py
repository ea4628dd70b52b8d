"""From directions to plans: an edit each, in order; and random plans of equal size."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, DirectionNotUsable, EditNotUsable, SiteNotFound
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.steering.plan import as_steering_plan, at_strength, random_plan, steering_plan
from rheostat.steering.select import select
from tests.contract.conftest import load_toy

SITES = [f"blocks.{block}.resid_post" for block in range(3)]


def a_direction(site: str = SITES[1], seed: int = 0, **settings: str) -> Direction:
    vector = torch.randn(16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Direction(f"concept {seed}", site, vector, "planted", "toy", **settings)


def one_per_block() -> Directions:
    return Directions({site: a_direction(site, seed) for seed, site in enumerate(SITES)})


@pytest.mark.parametrize(("operator", "edit"), [("add", rh.Add), ("project", rh.Project), ("piecewise", rh.Piecewise)])
def test_a_plan_has_an_edit_per_direction_in_order(operator, edit):
    power, morality = a_direction(seed=1), a_direction(seed=2)
    settings = {"strength": 2.0, "positions": "generated", "decay": 0.5, "keep_norm": True}
    plan = steering_plan([power, -morality], operator=operator, **settings)
    assert plan == rh.Plan((edit(SITES[1], power.vector, **settings), edit(SITES[1], -morality.vector, **settings)))
    assert [edit.site for edit in steering_plan(one_per_block(), operator=operator)] == SITES


def test_what_can_steer_becomes_a_plan():
    model, one = load_toy("llama"), a_direction()
    edit = rh.Zero("final")
    assert as_steering_plan(model, one) == steering_plan(one)
    assert as_steering_plan(model, one_per_block()) == steering_plan(one_per_block())
    assert as_steering_plan(model, edit) == as_steering_plan(model, [edit]) == rh.Plan((edit,))
    for nothing in (None, [], rh.Plan()):
        with pytest.raises(BadArgument, match="no edit"):
            as_steering_plan(model, nothing)
    with pytest.raises(BadArgument, match="no direction"):
        steering_plan([])
    with pytest.raises(BadArgument, match="no operator 'subtract'"):
        steering_plan(one, operator="subtract")
    for wrong in (a_direction(weights="another"), Directions({SITES[0]: a_direction(SITES[0], weights="another")})):
        with pytest.raises(DirectionNotUsable, match="Fit it again"):
            as_steering_plan(model, wrong)


def test_strengths_of_a_plan_are_multiplied():
    plan = rh.Plan((rh.Add("final", torch.ones(16), strength=-2.0), rh.Zero("embed")))
    assert [edit.strength for edit in at_strength(plan, 0.25)] == [-0.5, 0.25]


def test_a_random_plan_is_as_large_and_points_elsewhere():
    tokens = torch.randn(3, 16, generator=torch.Generator().manual_seed(4))
    tokens[0] = 0
    plan = rh.Plan(
        (
            rh.Add(SITES[0], tokens, positions=[0, 1, 2], strength=3.0, keep_norm=True),
            rh.Project(SITES[1], tokens[1]),
            rh.Add("blocks.0.heads", tokens[1].view(4, 4)),
            rh.Add(SITES[0], tokens, positions=[0, 1, 2]),
        )
    )
    found = random_plan(plan, seed=5)
    for own, other in zip(plan, found, strict=True):
        assert type(own) is type(other) and str(own) == str(other)
        n_axes = 2 if "heads" in own.site else 1
        rows = [edit.vector.reshape(-1, 16 if n_axes == 2 else edit.vector.shape[-1]) for edit in (own, other)]
        torch.testing.assert_close(rows[0].norm(dim=-1), rows[1].norm(dim=-1))
        assert torch.cosine_similarity(*rows).abs().max() < 0.8
    assert found == random_plan(plan, seed=5)
    assert found != random_plan(plan, seed=6)
    assert found.edits[0].vector[0].norm() == 0
    assert torch.cosine_similarity(found.edits[0].vector[1:], found.edits[3].vector[1:]).abs().max() < 0.8
    assert abs(torch.cosine_similarity(*found.edits[0].vector[1:], dim=0)) < 0.8


@pytest.mark.parametrize("edit", [rh.Zero("final"), rh.Add("final", rh.FromPrompt("w4")), rh.Mix("final", "w4")])
def test_what_has_no_vector_of_its_own_has_no_random_plan(edit):
    with pytest.raises(EditNotUsable, match="control=False"):
        random_plan(rh.Plan((edit,)))


def test_directions_are_selected_by_site_block_or_pattern():
    model, found = load_toy("llama"), one_per_block()
    assert [one.site for one in select(model, found, site="blocks.0-1.resid_post")] == SITES[:2]
    assert [one.site for one in select(model, found, block=-1)] == SITES[2:]
    assert [one.site for one in select(model, found, block=0)] == SITES[:1]
    (single,) = select(model, Directions({SITES[1]: a_direction()}))
    assert single.site == SITES[1]
    with pytest.raises(SiteNotFound, match="block 7"):
        select(model, found, block=7)
    with pytest.raises(SiteNotFound, match="mlp_out"):
        select(model, found, site="blocks.1.mlp_out")
    with pytest.raises(BadArgument, match="Give one of them"):
        select(model, found, site=SITES[0], block=0)
    with pytest.raises(BadArgument, match="name a site"):
        select(model, found)
    with pytest.raises(DirectionNotUsable, match="Fit it again"):
        select(model, Directions({SITES[0]: a_direction(SITES[0], weights="another")}))
