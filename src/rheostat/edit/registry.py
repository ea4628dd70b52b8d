"""Every edit by the name it has in files, and how one is read back from data. The contract tests run over `EDITS`."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from rheostat.base.errors import EditNotUsable
from rheostat.base.names import did_you_mean
from rheostat.capture.activations import Activations
from rheostat.edit.arithmetic import Add, Scale, Zero
from rheostat.edit.edit import Edit
from rheostat.edit.patching import Mix, Replace
from rheostat.edit.source import FromPrompt
from rheostat.sites.positions import Positions

EDITS: Mapping[str, type[Edit]] = {edit.name: edit for edit in (Add, Scale, Zero, Replace, Mix)}


def edit_from_dict(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Edit:
    """Build an edit from what `Edit.to_dict` returned. Nothing in it is executed.

    Raises:
        EditNotUsable: an unknown edit or setting, or a missing tensor.
    """
    settings = dict(settings)
    kind = settings.pop("edit", None)
    if kind not in EDITS:
        raise EditNotUsable(f"no edit {kind!r}.{did_you_mean(str(kind), EDITS)} One of: {', '.join(EDITS)}.")
    known = sorted(one.name for one in fields(EDITS[kind]))
    if unknown := sorted(set(settings) - set(known)):
        near = did_you_mean(unknown[0], known)
        raise EditNotUsable(f"{kind} has no setting {unknown[0]!r}.{near} It has: {', '.join(known)}.")
    values = {name: _read_value(name, value, tensors) for name, value in settings.items()}
    try:
        return EDITS[kind](**values)
    except (TypeError, ValueError) as error:
        raise EditNotUsable(f"{kind}: {error}") from error


def _read_value(name: str, value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if name == "positions":
        return Positions.from_json(value)
    if not isinstance(value, dict):
        return tuple(value) if isinstance(value, list) else value
    try:
        if "tensor" in value:
            return tensors[value["tensor"]]
        if "activations" in value:
            return Activations(
                tensors={site: tensors[f"{name}/{site}"] for site in value["activations"]},
                axes={site: tuple(axes) for site, axes in value["axes"].items()},
                positions=tuple(tuple(row) for row in value["positions"]),
                model=value["model"],
            )
        return FromPrompt(value["prompt"], Positions.from_json(value["positions"]), value["kind"])
    except (KeyError, TypeError, AttributeError) as error:
        raise EditNotUsable(f"the setting {name!r} is incomplete: {error}") from error
