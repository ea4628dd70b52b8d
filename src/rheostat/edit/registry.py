"""Every edit by the name it has in files, and how one is read back from data. The contract tests run over `EDITS`."""

import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from torch import Tensor

from rheostat.base.errors import EditNotUsable
from rheostat.base.names import did_you_mean
from rheostat.capture.activations import Activations
from rheostat.edit.arithmetic import Add, Scale, Zero
from rheostat.edit.edit import Edit
from rheostat.edit.erasure import Erase
from rheostat.edit.impairment import Impair
from rheostat.edit.knockout import CutAttention
from rheostat.edit.patching import Mix, Replace
from rheostat.edit.projection import Piecewise, Project
from rheostat.edit.source import FromPrompt, Source
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import SiteLike

EDITS: Mapping[str, type[Edit]] = {
    edit.name: edit for edit in (Add, Project, Piecewise, Scale, Zero, Impair, Erase, Replace, Mix, CutAttention)
}

Tensors = Mapping[str, Tensor]


def edit_from_dict(settings: Mapping[str, Any], tensors: Tensors) -> Edit:
    """Build an edit from what `Edit.to_dict` returned. Nothing in it is executed.

    Raises:
        EditNotUsable: an unknown edit or setting, one that is missing or of another type, or a missing tensor.
    """
    settings = dict(settings)
    kind = settings.pop("edit", None)
    if not isinstance(kind, str) or kind not in EDITS:
        raise EditNotUsable(f"no edit {kind!r}.{did_you_mean(str(kind), EDITS)} One of: {', '.join(EDITS)}.")
    return EDITS[kind](**_read_fields(EDITS[kind], kind, settings, tensors))


def _read_fields(made: type[Any], what: str, settings: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """Return the arguments of a dataclass from data: each known, none missing, all of the annotated types."""
    known = {one.name: one for one in fields(made)}
    if unknown := sorted(set(settings) - set(known)):
        near = did_you_mean(unknown[0], known)
        raise EditNotUsable(f"{what} has no setting {unknown[0]!r}.{near} It has: {', '.join(sorted(known))}.")
    for name, one in known.items():
        if one.default is MISSING and name not in settings:
            raise EditNotUsable(f"{what} lacks the setting {name!r}: {_READERS[one.type].words}.")
    values = {}
    for name, value in settings.items():
        reader = _READERS[known[name].type]
        if not reader.fits(value):
            shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:39] + "…"
            raise EditNotUsable(f"{what}: the setting {name!r} takes {reader.words}, not {shown}.")
        values[name] = reader.read(name, value, tensors)
    return values


def _source(name: str, value: dict[str, Any], tensors: Tensors) -> Source:
    if "tensor" in value:
        return _tensor(value["tensor"], tensors)
    if "prompt" in value:
        return FromPrompt(**_read_fields(FromPrompt, "a prompt as source", value, tensors))
    try:
        sites, rows = list(value["activations"]), tuple(tuple(map(operator.index, row)) for row in value["positions"])
        axes = {str(site): tuple(map(str, names)) for site, names in value["axes"].items()}
        model = str(value["model"])
    except (KeyError, TypeError, AttributeError) as error:
        raise EditNotUsable(
            f"the captured activations of the setting {name!r} are described wrongly. They have "
            '"activations": [site], "axes": {site: [name]}, "positions": [[index]] and "model".'
        ) from error
    return Activations({site: _tensor(f"{name}/{site}", tensors) for site in sites}, axes, rows, model)


def _tensor(name: Any, tensors: Tensors) -> Tensor:
    if not isinstance(name, str) or name not in tensors:
        raise EditNotUsable(f"the plan is incomplete: no tensor {name!r}. It holds: {', '.join(tensors) or 'none'}.")
    return tensors[name]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Tell whether a float can hold it; whether it is finite, the edit says."""
    return isinstance(value, float) or (_is_whole(value) and abs(value) <= sys.float_info.max)


def _is_source(value: Any) -> bool:
    return isinstance(value, dict) and len({"tensor", "activations", "prompt"} & set(value)) == 1


def _as_it_is(_name: str, value: Any, _tensors: Tensors) -> Any:
    return value


@dataclass(frozen=True)
class _Reader:
    """How a setting of one type stands in files."""

    words: str
    """What it takes, for messages."""
    fits: Callable[[Any], bool]
    read: Callable[[str, Any, Tensors], Any] = _as_it_is
    """From its name, the data and the plan's tensors to the value."""


_READERS: Mapping[Any, _Reader] = {
    SiteLike: _Reader("a text", _is_text),
    str: _Reader("a text", _is_text),
    str | None: _Reader("a text", lambda value: value is None or _is_text(value)),
    bool: _Reader("true or false", lambda value: isinstance(value, bool)),
    float: _Reader("a number", _is_number),
    float | None: _Reader(
        "a number",
        lambda value: value is None or _is_number(value),
        lambda _name, value, _tensors: None if value is None else float(value),
    ),
    tuple[int, ...] | None: _Reader(
        "a list of whole numbers",
        lambda value: value is None or (isinstance(value, list) and all(map(_is_whole, value))),
        lambda _name, value, _tensors: None if value is None else tuple(value),
    ),
    PositionsLike: _Reader("positions", lambda _value: True, lambda _name, value, _tensors: Positions.from_json(value)),
    int: _Reader("a whole number", _is_whole),
    Source: _Reader("a tensor, captured activations or a prompt", _is_source, _source),
    Source | None: _Reader(
        "a tensor, captured activations or a prompt",
        lambda value: value is None or _is_source(value),
        lambda name, value, tensors: None if value is None else _source(name, value, tensors),
    ),
}
"""By the annotation of the setting; an edit with a setting of another type adds a row."""
