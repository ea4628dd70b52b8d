"""`Activations`: site → tensor with named axes, and the token positions that each row holds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rheostat.base.errors import FileNotUsable, SiteNotFound
from rheostat.base.files import atomic_file
from rheostat.base.names import did_you_mean

FORMAT = "rheostat-activations-1"


@dataclass(frozen=True, eq=False)
class Activations(Mapping[str, Tensor]):
    """What a capture returns: one tensor per site, first axes `batch` and `pos` (`pattern`: batch, head, query_pos).

    Rows with fewer positions than the longest are filled with NaN at the end, so that a filler can never pass for an
    activation; `rows` gives each row without them.
    """

    tensors: Mapping[str, Tensor]
    axes: Mapping[str, tuple[str, ...]]
    positions: tuple[tuple[int, ...], ...]
    """Per row, the captured positions in the row's own tokens."""
    model: str = ""

    def __getitem__(self, site: object) -> Tensor:
        name = str(site)
        if name not in self.tensors:
            raise SiteNotFound(
                f"{name!r} was not captured.{did_you_mean(name, self.tensors)} Here: {', '.join(self.tensors)}."
            )
        return self.tensors[name]

    def __contains__(self, site: object) -> bool:
        return str(site) in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of captured positions per row."""
        return tuple(len(row) for row in self.positions)

    @property
    def is_ragged(self) -> bool:
        """Whether rows hold different numbers of positions."""
        return len(set(self.lengths)) > 1

    def rows(self, site: object) -> list[Tensor]:
        """Return one tensor (pos, …) per row, without fillers; for `pattern` (head, query_pos, key_pos)."""
        names = self.axes[str(site)]
        if "query_pos" not in names:
            return [tensor[:length] for tensor, length in zip(self[site], self.lengths, strict=True)]
        return [
            tensor[:, :length, : int((~tensor[0, 0].isnan()).sum())]
            for tensor, length in zip(self[site], self.lengths, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        with atomic_file(Path(path)) as target:
            contiguous = {name: tensor.detach().contiguous().clone() for name, tensor in self.tensors.items()}
            save_file(contiguous, target, metadata=activations_metadata(self.axes, self.positions, self.model))

    @classmethod
    def load(cls, path: str | Path) -> "Activations":
        """Read what `save`, or a streaming capture, wrote.

        Raises:
            FileNotUsable: the file is missing, damaged or of another kind.
        """
        try:
            with safe_open(path, framework="pt") as stream:
                metadata = stream.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise FileNotUsable(f"{path} is a safetensors file, but it holds no activations of rheostat.")
                tensors = {name: stream.get_tensor(name) for name in json.loads(metadata["axes"])}
                return cls(
                    tensors=tensors,
                    axes={name: tuple(axes) for name, axes in json.loads(metadata["axes"]).items()},
                    positions=tuple(tuple(row) for row in json.loads(metadata["positions"])),
                    model=metadata["model"],
                )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise FileNotUsable(f"{path} holds damaged activations ({type(error).__name__}: {error}).") from error
        except (OSError, SafetensorError) as error:
            raise FileNotUsable(f"{path} cannot be read as activations: {error}") from error

    def __repr__(self) -> str:
        lines = [
            f"  {name}: "
            + " × ".join(f"{axis} {size}" for axis, size in zip(self.axes[name], tensor.shape, strict=False))
            for name, tensor in self.tensors.items()
        ]
        return "\n".join([f"Activations of {self.model}, {len(self.positions)} rows", *lines])


def activations_metadata(
    axes: Mapping[str, Sequence[str]], positions: Sequence[Sequence[int]], model: str
) -> dict[str, str]:
    """Return the header entries of an activations file."""
    axes_json: Any = {name: list(names) for name, names in axes.items()}
    return {
        "format": FORMAT,
        "axes": json.dumps(axes_json),
        "positions": json.dumps([list(row) for row in positions]),
        "model": model,
    }
