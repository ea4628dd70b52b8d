"""`RowCache`: keys and values of rows that come and go while others go on, padded on the left.

All rows end at one column, so a step writes one column of every row in place, a row that leaves is replaced by the last
one, and a row that joins is copied behind the others. What lies before a row's first token is always zero: what a row
left behind, NaN even, never reaches another.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from rheostat.base.errors import InternalError

_MORE_COLUMNS = 64


class RowCache:
    """The cache of a running batch.

    Args:
        n_layers: blocks of the network.
        max_rows: how many rows it holds at most.
        device: of the attention mask.
    """

    def __init__(self, n_layers: int, max_rows: int, device: torch.device) -> None:
        self.max_rows = max_rows
        self.n_columns = 0
        """Columns that the buffers have."""
        self._layers = [_Layer(self) for _ in range(n_layers)]
        self._mask = torch.zeros(max_rows, 0, dtype=torch.long, device=device)
        self._starts: list[int] = []
        self.begin = 0
        """The first column that any row uses."""
        self.end = 0
        """The column of the next token."""
        self._half_done = False
        """Whether rows were being moved or added when something failed: blocks then hold different columns."""

    @property
    def n_rows(self) -> int:
        """Rows that it holds."""
        return len(self._starts)

    def for_a_step(self) -> tuple[Cache, Tensor]:
        """Return the cache for a pass of one new token per row, and the attention mask (row, column) of that pass.

        Raises:
            InternalError: an earlier change failed half way, as when memory ran out.
        """
        self._check()
        if self.end == self.n_columns:
            self._move(self.begin, self.end - self.begin + 1 + _MORE_COLUMNS)
        return Cache(layers=[*self._layers]), self._mask[: self.n_rows, self.begin : self.end + 1]

    def advance(self) -> None:
        """Take the column that the pass wrote as read."""
        self.end += 1

    def add(self, filled: Cache, lengths: Sequence[int]) -> None:
        """Take over the rows of a cache that was filled from a batch padded on the left.

        Args:
            filled: keys and values (row, head, column, d_head) per layer.
            lengths: tokens per row.

        Raises:
            InternalError: an earlier change failed half way, as when memory ran out.
        """
        self._check()
        longest = max(lengths)
        if not self._starts:
            self.begin = self.end = 0
        if longest > self.end or self.n_columns == 0:
            more = max(0, longest - (self.end - self.begin))  # room on the left
            self._move(self.begin - more, self.end - self.begin + more + _MORE_COLUMNS)
        first, n = self.n_rows, len(lengths)
        self._half_done = True
        for layer, one in zip(self._layers, filled.layers, strict=True):
            assert isinstance(one, DynamicLayer)
            layer.add(one.keys, one.values, lengths)
        self._mask[first : first + n] = 0
        for row, length in enumerate(lengths, first):
            self._starts.append(self.end - length)
            self._mask[row, self.end - length :] = 1
        self.begin = min(self._starts)
        self._half_done = False

    def drop(self, row: int) -> None:
        """Let a row go; the last row takes its place."""
        last = self.n_rows - 1
        if row != last:
            for layer in self._layers:
                layer.replace(row, last)
            self._mask[row] = self._mask[last]
            self._starts[row] = self._starts[last]
        self._starts.pop()
        self.begin = min(self._starts, default=self.end)

    def clear(self) -> None:
        """Let all rows go, and their memory."""
        self._starts.clear()
        self._half_done = False
        self.begin = self.end = self.n_columns = 0
        self._mask = self._mask[:, :0]
        for layer in self._layers:
            layer.keys = layer.values = None

    def _move(self, start: int, n_columns: int) -> None:
        """Put columns from `start` on (below 0: with room before them) at the beginning of buffers of another size."""
        shift = -start
        self._half_done = True
        for layer in self._layers:
            layer.move(self.begin, self.end, shift, n_columns)
        mask = self._mask.new_zeros(self.max_rows, n_columns)
        self._starts = [one + shift for one in self._starts]
        for row, one in enumerate(self._starts):
            mask[row, one:] = 1
        self._mask, self.n_columns = mask, n_columns
        self.begin, self.end = self.begin + shift, self.end + shift
        self._half_done = False

    def _check(self) -> None:
        if self._half_done:
            raise InternalError("the keys and values of the running rows were lost; they cannot go on.")


class _Layer(DynamicLayer):
    """Keys and values (row, head, column, d_head) of one block, in buffers with room for more rows and columns."""

    def __init__(self, whole: RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers leaves it without types
        self._whole = whole

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the new column of every row; return all columns in use."""
        whole = self._whole
        n_rows, begin, end = whole.n_rows, whole.begin, whole.end
        keys, values = self._buffers(key_states, value_states)
        keys[:n_rows, :, end] = key_states[:, :, 0]
        values[:n_rows, :, end] = value_states[:, :, 0]
        return keys[:n_rows, :, begin : end + 1], values[:n_rows, :, begin : end + 1]

    def get_seq_length(self) -> int:
        """Return the columns in use before the pass."""
        return self._whole.end - self._whole.begin

    def add(self, keys: Any, values: Any, lengths: Sequence[int]) -> None:
        """Copy rows that join behind the others, to end where those end."""
        first, end = self._whole.n_rows, self._whole.end
        for buffer, given in zip(self._buffers(keys, values), (keys, values), strict=True):
            buffer[first : first + len(lengths)] = 0
            for row, length in enumerate(lengths):
                buffer[first + row, :, end - length : end] = given[row, :, given.shape[2] - length :]

    def replace(self, row: int, by: int) -> None:
        """Copy one row over another."""
        assert self.keys is not None
        assert self.values is not None
        self.keys[row], self.values[row] = self.keys[by], self.values[by]

    def move(self, begin: int, end: int, shift: int, n_columns: int) -> None:
        """Copy the columns in use to buffers of another size, `shift` columns further right."""
        if self.keys is None or self.values is None:
            return
        moved = []
        for old in (self.keys, self.values):
            new = old.new_zeros(*old.shape[:2], n_columns, old.shape[3])
            new[:, :, begin + shift : end + shift] = old[:, :, begin:end]
            moved.append(new)
        self.keys, self.values = moved

    def _buffers(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the buffers, made on first use: only then head count and width are known."""
        if self.keys is None or self.values is None:
            whole = self._whole
            self.lazy_initialization(keys, values)
            self.keys, self.values = (
                one.new_zeros(whole.max_rows, one.shape[1], whole.n_columns, one.shape[3]) for one in (keys, values)
            )
        return self.keys, self.values
