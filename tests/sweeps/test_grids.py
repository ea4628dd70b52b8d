"""A grid's plans do what its labels say, and its controls are as large as what they control."""

import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.models.toy import N_BLOCKS
from rheostat.sites.site import resolve
from rheostat.sweeps.grids import adding_cells, combined_cells, random_direction, scaling_cells
from rheostat.sweeps.targets import block_window, targets, windows
from tests.contract.conftest import load_toy

ROW = [5, 9, 30, 12, 7]
GLAD, SAD = (torch.randn(16, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (1, 2))


@pytest.fixture
def model() -> rh.Model:
    return load_toy("llama")


def after(model: rh.Model, cell: rh.Cell, site: str) -> torch.Tensor:
    """Return the activation (pos, …site) after the cell's edits there."""
    return model.run(ROW, cell.plan, capture=site, capture_at="all").activations[site][0]


def tokens(position: object) -> list[int]:
    return {"last": [4], "[1:3]": [1, 2], "(0, 2)": [0, 2]}.get(position, [position])


def test_adding_adds_the_labelled_vector_at_the_labelled_place_and_nowhere_else(model):
    where = targets(model, ["blocks.0-1.attn_out", "blocks.1.resid_pre"], positions=["last", slice(1, 3), [0, 2]])
    cells = adding_cells(where, {"glad": GLAD, "sad": SAD}, strengths=(1.0, -2.0))
    assert len(cells) == 3 * 3 * 2 * 2 * 2
    assert len({tuple(cell.labels.items()) for cell in cells}) == len(cells)
    unedited = {cell.labels["site"]: after(model, rh.Cell(None), cell.labels["site"]) for cell in cells}
    for cell in cells:
        said = cell.labels
        clean = unedited[said["site"]]
        moved = after(model, cell, said["site"]) - clean
        assert resolve(model, said["site"])[0].block == said["block"]
        vector = {"glad": GLAD, "sad": SAD}[said["direction"]]
        if said["control"]:
            drawn = moved[tokens(said["position"])[0]] / said["strength"]
            assert float(drawn.norm()) == pytest.approx(float(vector.norm()), rel=1e-9)
            assert abs(float(torch.cosine_similarity(drawn, vector, dim=0))) < 0.9
            vector = drawn
        wanted = torch.zeros_like(clean)
        wanted[tokens(said["position"])] = said["strength"] * vector
        torch.testing.assert_close(moved, wanted, rtol=0, atol=1e-9)
        assert (said["control_draw"] > 0) == said["control"]


def test_scaling_multiplies_the_labelled_units_and_factor_0_erases_them(model):
    for cell in scaling_cells(targets(model, "blocks.*.heads", units=1), factors=(0.0, 3.0)):
        clean = after(model, rh.Cell(None), cell.labels["site"])
        clean[:, cell.labels["unit"]] *= cell.labels["factor"]
        torch.testing.assert_close(after(model, cell, cell.labels["site"]), clean, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("units", "named"),
    [
        (10, {"0-9": range(10), "10-19": range(10, 20), "20-23": range(20, 24)}),
        ([[3], [0, 7]], {"3": [3], "0,7": [0, 7]}),
        ({"months": [2, 5]}, {"months": [2, 5]}),
    ],
)
def test_groups_of_neurons_are_those_of_their_label_and_controls_are_other_units_of_the_same_number(
    model, units, named
):
    cells = scaling_cells(targets(model, "blocks.1.neurons", units=units), controls=2)
    own, drawn = ([cell for cell in cells if cell.labels["control"] is control] for control in (False, True))
    assert [cell.labels["units"] for cell in own] == list(named)
    clean = after(model, rh.Cell(None), "blocks.1.neurons")
    for cell in cells:
        group = list(named[cell.labels["units"]])
        erased = (after(model, cell, "blocks.1.neurons") == 0).all(0).nonzero().flatten().tolist()
        assert not (clean == 0).all(0).any()
        assert len(erased) == len(group)
        assert (set(erased) == set(group)) is (not cell.labels["control"])
        assert cell.labels["control"] is (not set(erased) & set(group))
    assert len({cell.plan.fingerprint() for cell in drawn}) > len(own)


def test_a_window_erases_the_blocks_that_its_labels_name(model):
    for cell in scaling_cells(windows(model, "mlp_out", 2, positions=1)):
        for block in range(N_BLOCKS):
            erased = bool((after(model, cell, f"blocks.{block}.mlp_out")[1] == 0).all())
            assert erased is (cell.labels["first"] <= block <= cell.labels["last"])
        assert cell.labels["first"] <= cell.labels["block"] <= cell.labels["last"]
        patterned = resolve(model, cell.labels["site"])
        assert [site.block for site in patterned] == list(range(cell.labels["first"], cell.labels["last"] + 1))


@pytest.mark.parametrize(
    ("block", "width", "centred", "blocks"),
    [
        (0, 3, True, [0, 1]),
        (5, 3, True, [4, 5, 6]),
        (5, 4, True, [3, 4, 5, 6]),
        (9, 4, True, [7, 8, 9]),
        (5, 1, True, [5]),
        (5, 99, True, list(range(10))),
        (5, 3, False, [5, 6, 7]),
        (9, 3, False, [9]),
    ],
)
def test_windows_lie_where_they_are_said_to(block, width, centred, blocks):
    assert list(block_window(block, width, 10, centred=centred)) == blocks


def test_directions_may_differ_by_site_and_cover_units_alone(model):
    by_site = {f"blocks.{block}.neurons": torch.full((24,), float(block + 1)).double() for block in range(N_BLOCKS)}
    cells = adding_cells(targets(model, "blocks.*.neurons", units=[[2, 5]]), {"up": by_site})
    for cell in cells:
        site = cell.labels["site"]
        moved = after(model, cell, site) - after(model, rh.Cell(None), site)
        assert float(moved[0].norm()) == pytest.approx((cell.labels["block"] + 1) * 2**0.5)
        assert set(moved[0].nonzero().flatten().tolist()) == {2, 5}
    with pytest.raises(BadArgument, match=r"no vector for blocks\.0\.mlp_out; it has: blocks\.0\.neurons"):
        adding_cells(targets(model, "blocks.0.mlp_out"), {"up": by_site})


def test_a_random_direction_depends_on_what_it_is_for_and_on_nothing_else(model):
    def drawn(sites: str, names: list[str], **options: int) -> dict[tuple[object, ...], tuple[float, ...]]:
        cells = adding_cells(targets(model, sites), dict.fromkeys(names, GLAD), **options)
        return {
            tuple(cell.labels[label] for label in ("site", "direction", "control_draw")): tuple(
                cell.plan.edits[0].source.tolist()
            )
            for cell in cells
            if cell.labels["control"]
        }

    many = drawn("blocks.*.mlp_out", ["a", "b"], controls=3)
    few = drawn("blocks.2.mlp_out", ["b"], controls=2)
    assert few == {key: many[key] for key in few}
    assert len(set(many.values())) == len(many)
    assert not set(drawn("blocks.*.mlp_out", ["a", "b"], controls=3, seed=1).values()) & set(many.values())
    directions = torch.stack([random_direction(GLAD, site="x", draw=draw) for draw in range(400)])
    assert float(directions.mean(0).norm() / GLAD.norm()) < 0.1  # 400 draws: 0.05 on average


def test_a_combination_holds_the_edits_and_the_labels_of_both(model):
    steer = adding_cells(targets(model, "blocks.1.resid_pre"), {"glad": GLAD}, strengths=(1.0, 2.0), controls=0)
    ablate = scaling_cells(targets(model, "blocks.*.mlp_out", positions="last"))
    cells = combined_cells({"steer": steer, "ablate": ablate})
    assert len(cells) == 2 * N_BLOCKS
    for cell in cells:
        parts = [
            next(one for one in ablate if one.labels["block"] == cell.labels["ablate_block"]),
            next(one for one in steer if one.labels["strength"] == cell.labels["steer_strength"]),
        ]
        assert set(cell.plan) == {edit for part in parts for edit in part.plan}
        moved = after(model, cell, "blocks.1.resid_pre") - after(model, parts[0], "blocks.1.resid_pre")
        torch.testing.assert_close(moved[2], cell.labels["steer_strength"] * GLAD, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda m: targets(m, "blocks.0.mlp_out", positions=[]), "names no token"),
        (lambda m: targets(m, "blocks.0.mlp_out", units=0), "at least 1 unit"),
        (lambda m: targets(m, "blocks.0.mlp_out", units=[[]]), "empty group"),
        (lambda m: targets(m, "model.layers.0", units=1), "module path"),
        (lambda m: windows(m, "mlp_out", 0), "at least 1 block"),
        (lambda m: adding_cells([], {"a": GLAD}), "targets is empty"),
        (lambda m: adding_cells(targets(m, "final"), {}), "directions is empty"),
        (lambda m: adding_cells(targets(m, "final"), {"a": GLAD}, controls=-1), "controls=-1"),
        (lambda m: scaling_cells(targets(m, "final"), factors=()), "factors is empty"),
        (lambda m: scaling_cells(targets(m, "final"), controls=1), "controls=0"),
        (lambda m: scaling_cells(targets(m, "final", units=[range(9)]), controls=1), "no 9 units"),
        (lambda m: combined_cells({"a": [], "b": [rh.Cell(None)]}), "grid 'a' is empty"),
        (lambda m: block_window(7, 2, 7), "blocks 0 to 6"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(model, make, says):
    with pytest.raises(BadArgument, match=says):
        make(model)
