"""Edits of written tokens, all rows and sites at once, where every edit is a line h ↦ a·h + b.

While texts are written, each row has one token per pass. What the edits of all rows do to it, at all blocks, is
computed before the pass (`Sheet`); inside it each site costs one sum or product over all rows; and the receipt is
counted after it, from the activations that were met.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from rheostat.edit.edit import Edit
from rheostat.engine.receipt import Tally
from rheostat.models.anatomy import Tap
from rheostat.sites.site import Site

Line = tuple[float, Tensor | None]
"""a, and b (site, …site) or None."""

_IDLE: Line = (1.0, None)


@dataclass(frozen=True)
class Step:
    """One edit at one site, for some rows."""

    edit: Edit
    site: Site
    tap: Tap
    """Where the site is; sites of two names may lie at one tap."""
    value: Tensor | None
    """(row or 1, pos or 1, …site)"""
    members: tuple[int, ...] | None
    """The rows that carry the edit; None: all, however many there are."""
    shape: tuple[int, ...] | None
    """Of one token's activation; None at a module path."""
    tally: Tally

    def carried_by(self, row: int) -> bool:
        """Tell whether a row carries the edit."""
        return self.members is None or row in self.members

    def value_of(self, row: int) -> Tensor | None:
        """Return a row's value (…site), zero outside the edit's units, where it has one for all positions."""
        if self.value is None:
            return None
        assert self.shape is not None
        value = self.value[row if len(self.value) > 1 else 0, 0]
        if self.edit.units is None or self.edit.depends_on_tokens or value.shape == self.shape:
            return value
        whole = value.new_zeros(self.shape)
        whole[list(self.edit.units)] = value
        return whole


@dataclass
class RowEdit:
    """One edit of one row at several sites of one shape."""

    edit: Edit
    row: int
    """The prompt's number in its own run."""
    place: int
    """How many other edits the row carries at these taps before it."""
    sites: tuple[Site, ...]
    taps: tuple[Tap, ...]
    shape: tuple[int, ...]
    """Of one token's activation."""
    values: Tensor | None
    """(site, …site), zero outside the edit's units; None without a source."""
    prompt_length: int
    tallies: tuple[Tally, ...]
    """One per site."""
    sums: Tensor | None = None
    """(4, site) what `Tally.add_sums` takes, since the last settling."""
    _names: tuple[str, ...] = field(init=False)
    _constant: Line | None = None

    def __post_init__(self) -> None:
        self._names = tuple(map(str, self.sites))

    def at(self, position: int, dtype: torch.dtype) -> Line | None:
        """Return what happens to the written token at a position of its row; None: nothing."""
        n_written, where = position - self.prompt_length, self.edit.where
        if not where.reaches_generated or (where.value is not None and n_written >= where.value):
            return None
        if self._constant is not None:
            return self._constant
        edit = self.edit.faded(n_written)
        if edit.strength == 0:
            return _IDLE
        value = edit.at_sites(self.values, self._names, position, self.shape)
        factor, shift = edit.line(value if value is None else value.to(dtype))
        if not (edit.depends_on_tokens and shift is not None) and self.edit.decay is None:
            self._constant = factor, shift
        return factor, shift

    def settle(self) -> None:
        """Hand what was counted to the tallies."""
        if self.sums is not None:
            for tally, (tokens, change, relative, zeros) in zip(self.tallies, self.sums.T.tolist(), strict=True):
                tally.add_sums(self.row, int(tokens), change, relative, zeros)
        self.sums = None


def row_edits(row: int, prompt_length: int, steps_by_tap: Sequence[Sequence[Step]]) -> list[RowEdit]:
    """Return what a row carries, equal edits at sites of one shape together.

    Args:
        row: its number in its run.
        prompt_length: tokens of its prompt.
        steps_by_tap: in the order of application.
    """
    alike: dict[tuple[int, int, tuple[int, ...]], list[Step]] = {}
    for steps in steps_by_tap:
        for place, step in enumerate(step for step in steps if step.carried_by(row)):
            assert step.shape is not None
            alike.setdefault((id(step.edit), place, step.shape), []).append(step)
    return [
        RowEdit(
            edit=steps[0].edit,
            row=row,
            place=place,
            sites=tuple(step.site for step in steps),
            taps=tuple(step.tap for step in steps),
            shape=shape,
            values=_stacked([step.value_of(row) for step in steps]),
            prompt_length=prompt_length,
            tallies=tuple(step.tally for step in steps),
        )
        for (_, place, shape), steps in alike.items()
    ]


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    found = [value for value in values if value is not None]
    return torch.stack(found) if found else None


@dataclass
class _Entry:
    """A row's edit in a sheet."""

    edit: RowEdit
    row: int
    """In the pass."""
    index: slice | Tensor
    """Its taps among the sheet's."""
    line: Line | None = None
    """What the sheet holds for it now."""


class Sheet:
    """What the edits of one place in their rows' orders do to one token per row, at all taps of one shape.

    Args:
        edits: with the row of the pass that each belongs to.
        n_rows: of the pass.
        dtype: of the activations.
        device: of the activations.
    """

    def __init__(
        self, edits: Sequence[tuple[int, RowEdit]], n_rows: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.taps = tuple(dict.fromkeys(tap for _, edit in edits for tap in edit.taps))
        place = {tap: number for number, tap in enumerate(self.taps)}
        self._entries = [
            _Entry(
                edit,
                row,
                slice(None) if edit.taps == self.taps else torch.tensor([place[tap] for tap in edit.taps]),
            )
            for row, edit in edits
        ]
        self._shape = edits[0][1].shape
        self._n_rows, self._dtype, self._device = n_rows, dtype, device
        self._shift: Tensor | None = None
        self._factor: Tensor | None = None
        self._shifts: tuple[Tensor, ...] = ()
        self._factors: tuple[Tensor, ...] = ()
        self._met: list[Tensor | None] = [None] * len(self.taps)
        """Per tap, the activations that its edits met in the pass."""
        self._sums = torch.zeros(4, len(self.taps), n_rows, dtype=torch.float64, device=device)
        """(4, tap, row) tokens, lengths of changes, relative ones, and zero activations since the last settling."""
        self._active = torch.zeros(len(self.taps), n_rows, dtype=torch.float64, device=device)
        """(tap, row) 1 where the token of the next pass is edited."""

    def prepare(self, positions: Sequence[int | None]) -> None:
        """Compute what the next pass needs.

        Args:
            positions: per row of the pass, its token's position; None where the row has ended.
        """
        stale = False
        for entry in self._entries:
            position = positions[entry.row]
            line = None if position is None else entry.edit.at(position, self._dtype)
            if line is not entry.line:
                if (line is None) != (entry.line is None):
                    self._active[entry.index, entry.row] = float(line is not None)
                self._write(entry, line)
                entry.line, stale = line, True
        if stale:
            self._shifts = () if self._shift is None else self._shift.to(self._device).unbind()
            self._factors = () if self._factor is None else self._factor.to(self._device).unbind()

    def change(self, number: int, tensor: Tensor) -> Tensor:
        """Return a tap's tensor under the edits; itself where nothing changes."""
        self._met[number] = tensor
        if self._factors:
            tensor = (tensor.reshape(self._n_rows, -1) * self._factors[number]).to(tensor.dtype).view(tensor.shape)
        if self._shifts:
            tensor = tensor + self._shifts[number].view(tensor.shape)
        return tensor

    def count(self) -> None:
        """Count what the pass did."""
        met = [number for number, one in enumerate(self._met) if one is not None]
        if not met:
            return
        some = slice(None) if len(met) == len(self.taps) else torch.tensor(met, device=self._device)
        active = self._active[some]
        self._sums[0, some] += active
        if self._shifts or self._factors:
            old = torch.stack([one.reshape(self._n_rows, -1) for one in self._met if one is not None])
            new = old if not self._factors else (old * torch.stack(self._factors)[some]).to(old.dtype)
            new = new if not self._shifts else new + torch.stack(self._shifts)[some]
            lengths = torch.linalg.vector_norm(old, dim=-1).double()
            changes = torch.linalg.vector_norm(new - old, dim=-1).double()
            relative = (changes / lengths).nan_to_num(0, posinf=0)
            self._sums[1:, some] += torch.stack([changes, relative, (lengths == 0).double()]) * active
        self._met = [None] * len(self.taps)

    def settle(self) -> None:
        """Hand what was counted to the edits."""
        sums = self._sums.to("cpu", copy=True)
        for entry in self._entries:
            own = sums[:, entry.index, entry.row]
            entry.edit.sums = own if entry.edit.sums is None else entry.edit.sums + own
        self._sums.zero_()

    def _write(self, entry: _Entry, line: Line | None) -> None:
        """Put an edit's line into the sheet."""
        factor, shift = (1.0, None) if line is None else line
        units, n = entry.edit.edit.units, len(entry.edit.sites)
        inside = None
        if units is not None:
            inside = torch.zeros(self._shape, dtype=torch.bool)
            inside[list(units)] = True
            inside = inside.view(-1)
        if shift is not None or self._shift is not None:
            if self._shift is None:
                self._shift = torch.zeros(len(self.taps), self._n_rows, prod(self._shape), dtype=self._dtype)
            own = torch.zeros(()) if shift is None else shift.reshape(n, -1).cpu()
            own = own if inside is None or shift is None else torch.where(inside, own, 0)
            self._shift[entry.index, entry.row] = own.to(self._dtype)
        if factor != 1 or self._factor is not None:
            self._write_factor(entry, factor, inside)

    def _write_factor(self, entry: _Entry, factor: float, inside: Tensor | None) -> None:
        wide = torch.float32 if self._dtype.itemsize < 4 else self._dtype
        width = prod(self._shape) if inside is not None else 1
        if self._factor is None:
            self._factor = torch.ones(len(self.taps), self._n_rows, width, dtype=wide)
        elif self._factor.shape[-1] < width:
            self._factor = self._factor.expand(-1, -1, width).clone()
        own = torch.tensor(factor, dtype=wide)
        self._factor[entry.index, entry.row] = own if inside is None else torch.where(inside, own, 1)


class WrittenTokens:
    """The lines of all rows of a batch whose rows have one written token per pass.

    Args:
        rows: per row of the pass, its edits.
        dtype: of the activations.
        device: of the activations.
    """

    def __init__(self, rows: Sequence[Sequence[RowEdit]], dtype: torch.dtype, device: torch.device) -> None:
        alike: dict[tuple[tuple[int, ...], int], list[tuple[int, RowEdit]]] = {}
        for row, edits in enumerate(rows):
            for edit in edits:
                alike.setdefault((edit.shape, edit.place), []).append((row, edit))
        ordered = [alike[key] for key in sorted(alike, key=lambda key: key[1])]
        self._sheets = [Sheet(edits, len(rows), dtype, device) for edits in ordered]
        self._at: dict[Tap, list[tuple[Sheet, int]]] = {}
        for sheet in self._sheets:
            for number, tap in enumerate(sheet.taps):
                self._at.setdefault(tap, []).append((sheet, number))

    @property
    def taps(self) -> Mapping[Tap, object]:
        """Where edits are."""
        return self._at

    def prepare(self, positions: Sequence[int | None]) -> None:
        """Compute what the next pass needs, and count what the last one did; `positions` as of `Sheet.prepare`."""
        for sheet in self._sheets:
            sheet.count()
            sheet.prepare(positions)

    def change(self, tap: Tap, tensor: Tensor) -> Tensor:
        """Return a tap's tensor under the edits; itself where nothing changes."""
        for sheet, number in self._at[tap]:
            tensor = sheet.change(number, tensor)
        return tensor

    def settle(self) -> None:
        """Count what is left to be counted, and hand it to the rows' edits."""
        for sheet in self._sheets:
            sheet.count()
            sheet.settle()
