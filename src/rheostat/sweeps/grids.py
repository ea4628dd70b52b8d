"""The usual grids of a sweep as cells with tidy labels: adding directions, scaling and erasing, and combinations.

A grid is targets (`rheostat.sweeps.targets`) × what is done there. Its controls stand in the same table, with `control`
true: random directions of equal length beside a direction, random groups of equally many units beside a group.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.arithmetic import Add, Scale, Zero
from rheostat.edit.plan import Plan
from rheostat.engine.cells import Cell
from rheostat.store.key import digest
from rheostat.sweeps.targets import Target

Direction: TypeAlias = Tensor | Mapping[str, Tensor]
"""One token's vector for every site, or one per site, by the site's name."""


def adding_cells(
    targets: Sequence[Target],
    directions: Mapping[str, Direction],
    *,
    strengths: Sequence[float] = (1.0,),
    controls: int = 1,
    seed: int = 0,
) -> list[Cell]:
    """Return one cell per target, direction and strength, and the same with random directions of equal length.

    Labels: those of the target, and direction (its name), strength, control, control_draw (0 for the direction itself,
    1 to `controls` for the random ones).

    Args:
        targets: where; see `targets` and `windows`.
        directions: by name. At a target with `units`, whole vectors or just these coordinates.
        strengths: factors of the direction.
        controls: how many random directions stand beside each one.
        seed: of the random directions, see `random_direction`.

    Raises:
        BadArgument: an axis of the grid is empty, or a direction has no vector for a site.
    """
    _check_axes(targets=targets, directions=directions, strengths=strengths)
    cells = []
    for target, (name, direction) in product(targets, directions.items()):
        own = {site: _acting(_at(direction, name, site), target) for site in target.sites}
        for draw in range(_not_negative(controls) + 1):
            vectors = own if not draw else _drawn(own, name, seed=seed, draw=draw)
            for strength in strengths:
                plan = Plan(
                    tuple(
                        Add(site, vector, positions=target.positions, units=target.units, strength=strength)
                        for site, vector in vectors.items()
                    )
                )
                labels = {"direction": name, "strength": strength, "control": draw > 0, "control_draw": draw}
                cells.append(Cell(plan, {**target.labels, **labels}))
    return cells


def scaling_cells(
    targets: Sequence[Target], *, factors: Sequence[float] = (0.0,), controls: int = 0, seed: int = 0
) -> list[Cell]:
    """Return one cell per target and factor: activations times the factor, 0 erases them.

    Labels: those of the target, and factor, control, control_draw (0 for the target itself, 1 to `controls` for random
    units).

    Args:
        targets: where; see `targets` and `windows`.
        factors: what activations are multiplied by.
        controls: how many random groups of equally many other units stand beside each group. Where units are taken one
            by one, or not at all, the grid's other cells are the comparison.
        seed: of the random groups, which depend on nothing but it, the site, the group and the draw.

    Raises:
        BadArgument: an axis is empty, or `controls` are asked for where no as large group of other units is left.
    """
    _check_axes(targets=targets, factors=factors)
    cells = []
    for target, draw in product(targets, range(_not_negative(controls) + 1)):
        units = target.units if not draw else _other_units(target, seed=seed, draw=draw)
        for factor in factors:
            edits = [
                Zero(site, positions=target.positions, units=units)
                if factor == 0
                else Scale(site, factor, positions=target.positions, units=units)
                for site in target.sites
            ]
            labels = {"factor": factor, "control": draw > 0, "control_draw": draw}
            cells.append(Cell(Plan(tuple(edits)), {**target.labels, **labels}))
    return cells


def combined_cells(grids: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """Return the product of grids: one cell per choice of a cell from each, whose plans follow one another.

    Labels: those of every grid with the grid's name before them, such as `steer_block` and `ablate_site`.

    Args:
        grids: cells by a name of their grid, in the order in which their edits apply.

    Raises:
        BadArgument: there is no grid, or one is empty.
    """
    _check_axes(grids=grids, **{f"grid {name!r}": cells for name, cells in grids.items()})
    combined = []
    for chosen in product(*grids.values()):
        plan = Plan(tuple(edit for cell in chosen for edit in cell.plan))
        named = zip(grids, chosen, strict=True)
        labels = {f"{name}_{label}": value for name, cell in named for label, value in cell.labels.items()}
        combined.append(Cell(plan, labels))
    return combined


def random_direction(
    like: Float[Tensor, "*site"], *, site: str, name: str = "", seed: int = 0, draw: int = 1
) -> Float[Tensor, "*site"]:
    """Return a vector of the shape, length (L2) and dtype of `like` that points anywhere, uniformly on the sphere.

    It depends on (seed, site, name, draw) alone: not on what else is drawn, in whatever order.

    Args:
        like: the direction that it is the control of.
        site: where both are added.
        name: of the direction.
        seed: of a whole experiment.
        draw: which of several.
    """
    number = int(digest(["random direction", seed, site, name, draw])[:15], 16)
    drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    length = like.detach().double().norm().cpu()
    found: Tensor = drawn * (length / drawn.norm())
    return found.to(like)


def _at(direction: Direction, name: str, site: str) -> Tensor:
    if isinstance(direction, Tensor):
        return direction
    if site not in direction:
        raise BadArgument(f"the direction {name!r} has no vector for {site}; it has: {', '.join(direction) or 'none'}.")
    return direction[site]


def _acting(vector: Tensor, target: Target) -> Tensor:
    """Return the coordinates that a target's units take of a vector; the others add nothing to its length."""
    whole = vector.shape[:1] == (target.n_units,)
    if target.units is None or not whole or len(target.units) == target.n_units:
        return vector
    return vector[list(target.units)]


def _drawn(own: Mapping[str, Tensor], name: str, *, seed: int, draw: int) -> dict[str, Tensor]:
    return {site: random_direction(vector, site=site, name=name, seed=seed, draw=draw) for site, vector in own.items()}


def _other_units(target: Target, *, seed: int, draw: int) -> tuple[int, ...]:
    own = set(target.units or ())
    others = [unit for unit in range(target.n_units or 0) if unit not in own]
    if not own or len(others) < len(own):
        raise BadArgument(
            f"controls={draw}: at {target.labels.get('site')} there are no {len(own) or 'other'} units beside those of "
            "the target to draw from. Give targets with groups of at most half the units, or controls=0."
        )
    key = digest(["random units", seed, list(target.sites), sorted(own), draw])
    return tuple(sorted(random.Random(key).sample(others, len(own))))  # noqa: S311  # no secret


def _check_axes(**axes: Sequence[object] | Mapping[str, object]) -> None:
    for name, axis in axes.items():
        if not len(axis):
            raise BadArgument(f"{name} is empty, so the grid has no cell.")


def _not_negative(controls: int) -> int:
    if controls < 0:
        raise BadArgument(f"controls={controls}: 0 or more.")
    return controls
