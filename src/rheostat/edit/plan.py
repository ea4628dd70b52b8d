"""`Plan`: edits in order, as one value that can be saved and compared."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable, FileNotUsable
from rheostat.base.files import atomic_file, output_path
from rheostat.edit.edit import Edit
from rheostat.edit.registry import edit_from_dict

FORMAT = "rheostat-plan-1"
_DTYPES = {name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16", "int64")}


@dataclass(frozen=True)
class Plan:
    """Edits in the order in which they apply. The empty plan changes nothing, bit for bit."""

    edits: tuple[Edit, ...] = ()

    def __post_init__(self) -> None:
        given: object = self.edits
        edits = (given,) if isinstance(given, Edit) else tuple(self.edits)
        for edit in edits:
            if not isinstance(edit, Edit):
                rows = " One plan per row: plans=[…]." if isinstance(edit, Plan | list | tuple) else ""
                raise BadArgument(f"edits holds a {type(edit).__name__}; it takes edits such as Add(…).{rows}")
        object.__setattr__(self, "edits", edits)

    def __iter__(self) -> Iterator[Edit]:
        return iter(self.edits)

    def __len__(self) -> int:
        return len(self.edits)

    def __add__(self, other: "Plan | Edit") -> "Plan":
        return Plan((*self.edits, *as_plan(other).edits))

    def fingerprint(self) -> str:
        """Return a SHA-256 that is equal for equal plans."""
        return hashlib.sha256("".join(edit.fingerprint() for edit in self.edits).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the plan as JSON; tensors stand in it as base64 of their little-endian bytes."""
        entries = []
        for edit in self.edits:
            settings, tensors = edit.to_dict()
            entries.append({**settings, "tensors": {name: _pack(tensor) for name, tensor in tensors.items()}})
        return json.dumps({"format": FORMAT, "edits": entries}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read what `to_json` wrote.

        Raises:
            EditNotUsable: it is no plan, or holds an unknown edit or setting.
        """
        try:
            data = json.loads(text)
            entries = data["edits"] if data["format"] == FORMAT else None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EditNotUsable(
                f'this is no plan in JSON ({error}); it needs "format": "{FORMAT}" and "edits".'
            ) from error
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise EditNotUsable(f"this is no plan of the format {FORMAT}.")
        return cls(tuple(_read_entry(entry) for entry in entries))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write `.json` or `.safetensors`, whole or not at all.

        Raises:
            WouldOverwrite: the file exists and `overwrite` is false.
            BadArgument: another suffix.
        """
        path = output_path(Path(path), overwrite=overwrite)
        if path.suffix == ".json":
            with atomic_file(path) as target:
                target.write_text(self.to_json())
            return
        if path.suffix != ".safetensors":
            raise BadArgument(f"{path}: a plan is written as .json or .safetensors.")
        entries, stored = [], {}
        for number, edit in enumerate(self.edits):
            settings, tensors = edit.to_dict()
            entries.append({**settings, "tensors": list(tensors)})
            stored.update({f"{number}/{name}": tensor for name, tensor in tensors.items()})
        with atomic_file(path) as target:
            save_file(stored, target, metadata={"format": FORMAT, "edits": json.dumps(entries)})

    @classmethod
    def load(cls, path: str | Path) -> "Plan":
        """Read a plan from a `.json` or `.safetensors` file.

        Raises:
            FileNotUsable: the file is missing, damaged or of another kind.
            EditNotUsable: it holds an unknown edit or setting.
        """
        path = Path(path)
        if path.suffix == ".json":
            try:
                return cls.from_json(path.read_text())
            except (OSError, UnicodeDecodeError) as error:
                raise FileNotUsable(f"{path} cannot be read: {error}") from error
        try:
            with safe_open(path, framework="pt") as stream:
                metadata = stream.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise FileNotUsable(f"{path} is a safetensors file, but it holds no plan.")
                entries = json.loads(metadata["edits"])
                return cls(
                    tuple(
                        edit_from_dict(
                            entry, {name: stream.get_tensor(f"{number}/{name}") for name in entry.pop("tensors")}
                        )
                        for number, entry in enumerate(entries)
                    )
                )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise FileNotUsable(f"{path} holds a damaged plan ({type(error).__name__}: {error}).") from error
        except (OSError, SafetensorError) as error:
            raise FileNotUsable(f"{path} cannot be read as a plan (.json or .safetensors): {error}") from error


PlanLike: TypeAlias = "Plan | Edit | Sequence[Edit] | None"
"""A plan, one edit, several, or none."""


def as_plan(asked: PlanLike) -> Plan:
    """Make a plan of what an argument `edits` accepts."""
    if asked is None:
        return Plan()
    if isinstance(asked, Plan):
        return asked
    return Plan((asked,) if isinstance(asked, Edit) else tuple(asked))


def _pack(tensor: Tensor) -> dict[str, Any]:
    array = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    data = base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape), "data": data}


def _unpack(packed: dict[str, Any]) -> Tensor:
    if packed["dtype"] not in _DTYPES:
        raise EditNotUsable(f"a tensor has dtype {packed['dtype']!r}; plans hold {', '.join(_DTYPES)}.")
    stored = "int16" if packed["dtype"] == "bfloat16" else packed["dtype"]  # numpy has no bfloat16
    dtype = np.dtype(stored).newbyteorder("<")
    array = np.frombuffer(base64.b64decode(packed["data"], validate=True), dtype=dtype).reshape(packed["shape"])
    return torch.from_numpy(array.astype(dtype.newbyteorder("="))).view(_DTYPES[packed["dtype"]])


def _read_entry(entry: dict[str, Any]) -> Edit:
    entry = dict(entry)
    try:
        tensors = {name: _unpack(packed) for name, packed in entry.pop("tensors", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EditNotUsable(f"a tensor of the plan is damaged: {error}") from error
    return edit_from_dict(entry, tensors)
