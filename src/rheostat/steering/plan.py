"""From directions to the plan that steers along them, and the plan of the same size that points anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.base.names import did_you_mean
from rheostat.directions.direction import Direction
from rheostat.directions.directions import Directions
from rheostat.edit.along import AlongVector
from rheostat.edit.arithmetic import Add
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Replace
from rheostat.edit.plan import Plan, PlanLike, as_plan
from rheostat.edit.projection import Piecewise, Project
from rheostat.models.network import Network
from rheostat.sites.positions import PositionsLike
from rheostat.sweeps.grids import random_direction

OPERATORS: Mapping[str, type[AlongVector] | type[Replace]] = {
    edit.name: edit for edit in (Add, Project, Piecewise, Replace)
}

Steering: TypeAlias = "Direction | Directions | PlanLike"
"""What can steer: a direction, directions (an edit at each of their sites), or a plan."""


def steering_plan(
    directions: "Direction | Directions | Sequence[Direction]",
    *,
    operator: str = "add",
    strength: float = 1.0,
    positions: PositionsLike = "all",
    decay: float | None = None,
    keep_norm: bool = False,
) -> Plan:
    """Return one edit per direction, in the order given; at one site each works on what the one before it left.

    Args:
        directions: one; one per site; or several, such as `[power, -morality]`.
        operator: `add` (h + s·v), `project` (takes the component along v out; its length does not matter),
            `piecewise` (adds v on the side where h already lies) or `replace` (h + s·(v − h), for task vectors, whose
            place is the last token).
        strength: s, in lengths of each direction; for `project` the share that is taken out.
        positions: which tokens: `all`, `prompt`, `generated`, `Positions.generated(5)`, …
        decay: factor of the strength per token that the model has written.
        keep_norm: scale each activation back to the norm it had.

    Raises:
        BadArgument: no such operator, or there is no direction, or `replace` is to keep the norm.
        EditNotUsable: `decay` at positions that the model does not write.
    """
    if operator not in OPERATORS:
        raise BadArgument(
            f"no operator {operator!r}.{did_you_mean(operator, OPERATORS)} One of: {', '.join(OPERATORS)}."
        )
    edit = OPERATORS[operator]
    if issubclass(edit, Replace):
        if keep_norm:
            raise BadArgument("operator 'replace' puts another vector there, so it keeps no norm. Leave keep_norm out.")
        return Plan(
            tuple(
                edit(one.site, one.vector, strength=strength, positions=positions, decay=decay)
                for one in _listed(directions)
            )
        )
    return Plan(
        tuple(
            edit(one.site, one.vector, strength=strength, positions=positions, decay=decay, keep_norm=keep_norm)
            for one in _listed(directions)
        )
    )


def as_steering_plan(network: Network, asked: Steering) -> Plan:
    """Return the plan of what can steer; directions are added to every token.

    Raises:
        BadArgument: the plan holds no edit.
        DirectionNotUsable: a direction belongs to another network.
    """
    if isinstance(asked, Direction | Directions):
        for one in _listed(asked):
            one.check(network)
        return steering_plan(asked)
    plan = as_plan(asked)
    if not plan:
        raise BadArgument("there is nothing to steer by: the plan holds no edit.")
    return plan


def at_strength(plan: Plan, factor: float) -> Plan:
    """Return the plan with the strength of every edit times a factor."""
    return Plan(tuple(replace(edit, strength=edit.strength * factor) for edit in plan))


def random_plan(plan: Plan, *, seed: int = 0) -> Plan:
    """Return the control of a plan: random directions of equal length in the place of its own.

    Each token's vector has its own length kept. The vectors depend on (seed, site, place in the plan) alone.

    Raises:
        EditNotUsable: an edit has no vector of its own, so that nothing is as large as it.
    """
    return Plan(tuple(_random(edit, f"edit {number}", seed) for number, edit in enumerate(plan)))


def _random(edit: Edit, name: str, seed: int) -> Edit:
    if isinstance(edit, Replace) and isinstance(edit.value, Tensor):
        return replace(edit, value=_of_equal_length(edit.value.detach(), str(edit.site), name, seed))
    if not isinstance(edit, AlongVector) or not isinstance(edit.vector, Tensor):
        raise EditNotUsable(
            f"{edit}: it holds no vector that is given as a tensor, so there is no random one of equal length. "
            "Leave the control out (control=False)."
        )
    return replace(edit, vector=_of_equal_length(edit.vector.detach(), str(edit.site), name, seed))


def _of_equal_length(vector: Tensor, site: str, name: str, seed: int) -> Tensor:
    """Return a random vector, or one per token, each as long as the one in its place."""
    n_axes = 2 if site.endswith(".heads") else 1
    if vector.dim() <= n_axes:
        return random_direction(vector, site=site, name=name, seed=seed)
    tokens = vector.flatten(0, -n_axes - 1)
    drawn = [random_direction(one, site=site, name=f"{name}, {number}", seed=seed) for number, one in enumerate(tokens)]
    return torch.stack(drawn).view_as(vector)


def _listed(directions: "Direction | Directions | Sequence[Direction]") -> list[Direction]:
    if isinstance(directions, Direction):
        return [directions]
    listed = list(directions.values()) if isinstance(directions, Directions) else list(directions)
    if not listed:
        raise BadArgument("there is no direction. Give one, such as fit_directions(…).best.")
    return listed
