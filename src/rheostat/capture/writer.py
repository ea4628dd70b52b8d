"""Write a safetensors file row by row, so that a capture larger than memory goes straight to disk."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rheostat.base.files import atomic_file

_NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


class RowWriter:
    """An open safetensors file whose tensors are filled along their first axis."""

    def __init__(
        self, path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: dict[str, str]
    ) -> None:
        header: dict[str, object] = {"__metadata__": metadata}
        end = 0
        self._start: dict[str, int] = {}
        for name, shape in shapes.items():
            size = int(np.prod(shape)) * dtype.itemsize
            header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [end, end + size]}
            self._start[name] = end
            end += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._data = 8 + len(text)
        self._row_bytes = {name: int(np.prod(shape[1:])) * dtype.itemsize for name, shape in shapes.items()}
        with path.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(self._data + end)
        self._file = path.open("r+b")

    def write(self, name: str, first_row: int, rows: Tensor) -> None:
        """Put consecutive rows in their place."""
        self._file.seek(self._data + self._start[name] + first_row * self._row_bytes[name])
        self._file.write(rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


@contextmanager
def row_writer(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, metadata: dict[str, str]
) -> Iterator[RowWriter]:
    """Open a `RowWriter`; the file appears under its name only when the block ends well."""
    with atomic_file(path) as temporary:
        writer = RowWriter(temporary, shapes, dtype, metadata)
        try:
            yield writer
        finally:
            writer.close()
