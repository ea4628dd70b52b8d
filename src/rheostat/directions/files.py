"""Directions as safetensors: a tensor per site, everything else as JSON in the header. Nothing in it is executed."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rheostat.base.errors import BadArgument, DirectionNotUsable, FileNotUsable
from rheostat.base.files import atomic_file, output_path
from rheostat.directions.direction import Calibration, Direction
from rheostat.directions.directions import Directions

FORMAT = "rheostat-directions-1"

_TEXTS = ("concept", "method", "model", "weights")


def save_directions(directions: Directions, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a safetensors file, whole or not at all.

    Raises:
        WouldOverwrite: the file exists and `overwrite` is false.
        FileNotUsable: it cannot be written.
    """
    described = {site: _described(one) for site, one in directions.items()}
    table = {str(name): [_plain(value) for value in column] for name, column in directions.table.items()}
    metadata = {"format": FORMAT, "directions": json.dumps(described), "table": json.dumps(table, allow_nan=False)}
    tensors = {site: one.vector.detach().cpu().contiguous().clone() for site, one in directions.items()}
    with atomic_file(output_path(Path(path), overwrite=overwrite)) as target:
        save_file(tensors, target, metadata=metadata)


def load_directions(path: str | Path) -> Directions:
    """Read what `save_directions` wrote.

    Raises:
        FileNotUsable: the file is missing, damaged or of another kind, or a vector holds NaN or is zero.
    """
    if Path(path).suffix.lower() == ".gguf":
        raise FileNotUsable(f"{path} is a control vector, which Directions.from_gguf reads; it has no calibration.")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            _check_format(metadata.get("format"), path)
            described = json.loads(metadata["directions"])
            found = {site: _direction(site, one, stream.get_tensor(site)) for site, one in described.items()}
            return Directions(found, _table(json.loads(metadata["table"]), found))
    except (DirectionNotUsable, BadArgument) as error:
        raise FileNotUsable(f"{path} holds no usable directions: {error}") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise FileNotUsable(f"{path} holds damaged directions ({type(error).__name__}: {error}).") from error
    except (OSError, SafetensorError) as error:
        raise FileNotUsable(f"{path} cannot be read as directions: {error}") from error


def _check_format(found: str | None, path: str | Path) -> None:
    if found == FORMAT:
        return
    if found is not None and found.startswith("rheostat-directions-"):
        raise FileNotUsable(f"{path} has the format {found}; this version of rheostat reads {FORMAT}.")
    raise FileNotUsable(f"{path} is a safetensors file, but it holds no directions of rheostat.")


def _described(one: Direction) -> dict[str, Any]:
    known = None if one.calibration is None else {n: _plain(v) for n, v in asdict(one.calibration).items()}
    return {**{name: getattr(one, name) for name in _TEXTS}, "calibration": known}


def _direction(site: str, described: Mapping[str, Any], vector: Tensor) -> Direction:
    texts = {name: described[name] for name in _TEXTS}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError(f"{site} is described by something else than texts")
    if not vector.dtype.is_floating_point:
        raise TypeError(f"the vector at {site} holds {str(vector.dtype).removeprefix('torch.')}")
    known = described["calibration"]
    numbers = None if known is None else {one.name: _number(known[one.name]) for one in fields(Calibration)}
    return Direction(site=site, vector=vector, calibration=None if numbers is None else Calibration(**numbers), **texts)


def _table(columns: Mapping[str, list[Any]], found: Mapping[str, Direction]) -> pd.DataFrame:
    if not columns:
        return pd.DataFrame()
    table = pd.DataFrame(
        {name: values if name == "site" else list(map(_number, values)) for name, values in columns.items()}
    )
    if list(table["site"]) != list(found):
        raise ValueError("the table's sites are not those of the directions")
    if not table["block"].isna().any():
        table["block"] = table["block"].astype(int)
    return table


def _plain(value: Any) -> Any:
    """Return a number or text as JSON holds it; NaN as null."""
    if isinstance(value, str):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
