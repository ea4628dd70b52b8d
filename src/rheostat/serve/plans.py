"""The plan that answers a request: the user's edits, then the impairment."""

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np

from rheostat.base.errors import EditNotUsable
from rheostat.edit.edit import Edit
from rheostat.edit.plan import FORMAT, Plan
from rheostat.impairment.dial import Dial
from rheostat.models.tokens import Row
from rheostat.serve.protocol import Dialled, EditFields, Steering


def own_plan(asked: Dialled) -> Plan:
    """Return the vectors and edits that a request brings with it. Nothing in them is executed.

    Raises:
        EditNotUsable, BadArgument
    """
    vectors = [_added(one) for one in asked.steered if isinstance(one, Steering)]
    entries = [*vectors, *map(_entry, asked.edits)]
    for entry in entries:
        entry["tensors"] = {name: _packed(value) for name, value in entry["tensors"].items()}
    try:
        text = json.dumps({"format": FORMAT, "edits": entries})
    except RecursionError as error:
        raise EditNotUsable("an edit is nested too deeply.") from error
    return Plan.from_json(text)


def served_plan(user: Plan, dial: Dial, intensity: float, seed: int, row: Row) -> Plan:
    """Return what runs: the user's edits, whose positions become indices of this prompt, then the impairment.

    Raises:
        PositionNotFound, AmbiguousPosition
    """
    edits = Plan(tuple(_placed(edit, row) for edit in user))
    return edits if intensity == 0 else edits + dial.plan(intensity, seed=seed)


def _placed(edit: Edit, row: Row) -> Edit:
    """Find a substring while the text is there: what is computed knows tokens alone."""
    return replace(edit, positions=edit.where.in_prompt(row)) if edit.where.kind == "substring" else edit


def _entry(asked: EditFields) -> dict[str, Any]:
    return {**(asked.model_extra or {}), "edit": asked.edit, "site": asked.site, "tensors": asked.tensors}


def _added(steering: Steering) -> dict[str, Any]:
    return {
        "edit": "add",
        "site": steering.site,
        "vector": {"tensor": "vector"},
        "strength": steering.strength,
        "positions": steering.positions,
        "keep_norm": steering.keep_norm,
        "tensors": {"vector": steering.vector},
    }


def _packed(value: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """Return a tensor as plans hold it; numbers in lists become float32."""
    if isinstance(value, dict):
        return value
    try:
        given = np.array(value)
    except ValueError as error:
        raise EditNotUsable("a tensor is a list of numbers, or of lists of equal length.") from error
    if given.dtype.kind not in "iuf" or not given.size:
        raise EditNotUsable("a tensor is a list of numbers, or of lists of equal length.")
    with np.errstate(over="ignore"):
        array = given.astype("<f4")
    return {"dtype": "float32", "shape": list(array.shape), "data": base64.b64encode(array.tobytes()).decode()}
