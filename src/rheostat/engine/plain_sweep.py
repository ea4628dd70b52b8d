"""Sweeps of a plain module: many cells over one batch of inputs, sharing what they have in common.

The inputs of each cell stand as rows of one batch, and an edit changes the rows of its own cell. In an `nn.Sequential`
a cell joins where it first differs, so that what comes before runs once for all: before the part that it edits, or
behind it, where it edits what the part returns.

This believes that rows do not influence one another, which no module says of itself. So it is tried: the cell of the
first pass that joins first, which meets the others everywhere, and the one that joins last also run alone. Where one
differs, every cell runs alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotApplied, EditNotUsable
from rheostat.edit.plan import PlanLike
from rheostat.edit.source import FromPrompt
from rheostat.engine.binding import change
from rheostat.engine.cells import BoundCell, BoundEdit, Cell, as_cells, bind_cells
from rheostat.engine.chain import Chain, chain_of
from rheostat.engine.forward import passing
from rheostat.engine.plain import run_plain
from rheostat.engine.taps import attach
from rheostat.models.network import Network
from rheostat.sites.site import Site, tap

MAX_ROWS = 4096


@dataclass(frozen=True)
class PlainChunk:
    """Outputs of some cells."""

    cells: tuple[int, ...]
    outputs: Float[Tensor, "cell row *out"]


def sweep_outputs(
    network: Network, inputs: Tensor, cells: "Sequence[Cell | PlanLike]", *, max_rows: int = MAX_ROWS
) -> Iterator[PlainChunk]:
    """Yield the outputs of every cell, as `run_plain` gives them one by one, in an order of its own.

    Args:
        network: a plain module that returns a tensor.
        inputs: (row, …), what every cell runs on.
        cells: cells, or bare plans.
        max_rows: cells × inputs of one pass; memory grows with it.

    Raises:
        SiteNotFound, EditNotUsable, EditNotApplied: before any cell runs; the message names the cell.
        BadArgument: there is no cell or no input, or the module returns no tensor with a row per input.
    """
    if max_rows < 1 or not len(inputs):
        raise BadArgument(f"{len(inputs)} inputs and max_rows={max_rows}: at least 1 of each.")
    listed = as_cells(cells)
    if network.anatomy is not None:
        raise BadArgument(f"{network.name} is a language model, which takes prompts: use sweep(prompts, cells, …).")
    _check(listed)
    bound = bind_cells(network, listed)
    _check_values(bound, len(inputs))
    clean = _run_clean(network, inputs, bound)
    acting = [cell for cell in bound if any(edit.edit.strength != 0 for edit in cell.edits)]
    if idle := tuple(cell.index for cell in bound if cell not in acting):
        yield PlainChunk(idle, clean.output.expand(len(idle), *clean.output.shape))
    acting.sort(key=clean.first)
    size, together = max(1, max_rows // len(inputs)), True
    for first in range(0, len(acting), size):
        members = acting[first : first + size]
        found = _Pass(network, clean, members).outputs() if together else None
        if first == 0 and found is not None and len(members) > 1:
            together = all(_agree(found[n], _alone(network, inputs, listed[members[n].index])) for n in (0, -1))
        if found is None or not together:
            found = torch.stack([_alone(network, inputs, listed[cell.index]) for cell in members])
        yield PlainChunk(tuple(cell.index for cell in members), found)


def _check(cells: Sequence[Cell]) -> None:
    for index, cell in enumerate(cells):
        for edit in cell.plan:
            if edit.where.kind != "all" or edit.decay is not None:
                raise EditNotUsable(
                    f"cell {index}: {edit}: a plain module has no token positions. Leave positions and decay out."
                )
            if isinstance(edit.source, FromPrompt):
                raise EditNotUsable(f"cell {index}: {edit}: a plain module reads no text. Give a tensor.")


def _check_values(cells: Sequence[BoundCell], n_inputs: int) -> None:
    for cell in cells:
        for bound in cell.edits:
            if bound.value is not None and bound.value.shape[0] not in (1, n_inputs):
                raise EditNotUsable(
                    f"cell {cell.index}: {bound.edit}: its value has {bound.value.shape[0]} rows for {n_inputs} inputs."
                )


@dataclass(frozen=True)
class _Clean:
    """What the unedited module computes."""

    inputs: Tensor
    output: Tensor
    chain: Chain | None
    before: dict[int, Tensor]
    """Part of the chain → what enters it."""

    def first(self, cell: BoundCell) -> int:
        """Return the part that a cell joins at."""
        return _first(self.chain, cell)

    def on_joining(self, cell: BoundCell, bound: BoundEdit) -> bool:
        """Tell whether an edit changes the rows with which its cell joins: the part that it edits ran without it."""
        if self.chain is None:
            return False
        joins = self.chain.joins(bound.site)
        return joins == self.first(cell) and joins > self.chain.part_of(bound.site)


def _first(chain: Chain | None, cell: BoundCell) -> int:
    return 0 if chain is None else min(chain.joins(bound.site) for bound in cell.edits)


def _run_clean(network: Network, inputs: Tensor, cells: Sequence[BoundCell]) -> _Clean:
    """Run the unedited module once, and see that every edited module is called.

    Raises:
        EditNotApplied: one is not.
        BadArgument: it returns no tensor with a row per input.
    """
    sites = list(dict.fromkeys(bound.site for cell in cells for bound in cell.edits))
    chain, called, before = chain_of(network.module, sites), set[Site](), dict[int, Tensor]()
    wanted = {_first(chain, cell) for cell in cells if cell.edits}

    def enter(part: int, rows: Tensor) -> Tensor:
        if part in wanted and isinstance(rows, Tensor) and rows.shape[:1] == inputs.shape[:1]:
            before[part] = rows.clone()  # a part may change what it reads in place
        return rows

    with passing(network, gradients=False) as stack:
        for site in sites:

            def visit(_tensor: Tensor, site: Site = site) -> None:
                called.add(site)

            attach(stack, network.module, tap(network, site), visit)
        output = network.module(inputs.clone()) if chain is None else chain.run(inputs.clone(), enter)
    for cell in cells:
        for bound in cell.edits:
            if bound.site not in called:
                raise EditNotApplied(f"cell {cell.index}: no forward pass reached {bound.edit}; it changed nothing.")
    if not isinstance(output, Tensor) or output.shape[:1] != inputs.shape[:1]:
        raise BadArgument(f"{network.name} returns no tensor with one row for each of {len(inputs)} inputs.")
    return _Clean(inputs, output, chain if wanted <= set(before) else None, before)


class _Pass:
    """Cells in one batch; each has as many rows as there are inputs, those of the first cell first.

    Args:
        network: the plain module.
        clean: its unedited run.
        cells: in the order of the parts that they join at.
    """

    def __init__(self, network: Network, clean: _Clean, cells: Sequence[BoundCell]) -> None:
        self._network, self._clean, self._cells = network, clean, cells
        self._n_inputs = len(clean.inputs)
        self._n_rows = 0
        self._edits: dict[Site, list[tuple[int, BoundEdit]]] = {}
        self._joining: dict[int, list[BoundEdit]] = {}
        for number, cell in enumerate(cells):
            for bound in cell.edits:
                if clean.on_joining(cell, bound):
                    self._joining.setdefault(number, []).append(bound)
                else:
                    self._edits.setdefault(bound.site, []).append((number, bound))

    def outputs(self) -> Tensor | None:
        """Return (cell, row, …); None where the module takes no such batch."""
        try:
            with passing(self._network, gradients=False) as stack:
                self._attach(stack)
                rows = self._run()
        except RuntimeError:  # a module that is made for one number of rows; alone it may run
            return None
        return rows.unflatten(0, (len(self._cells), self._n_inputs)) if len(rows) == self._n_rows else None

    def _attach(self, stack: ExitStack) -> None:
        for site in self._edits:

            def visit(tensor: Tensor, site: Site = site) -> Tensor:
                return self._visit(tensor, site)

            attach(stack, self._network.module, tap(self._network, site), visit)

    def _run(self) -> Tensor:
        chain = self._clean.chain
        if chain is None:
            self._n_rows = len(self._cells) * self._n_inputs
            output: Tensor = self._network.module(_repeated(self._clean.inputs, len(self._cells)))
            return output
        first = self._clean.first(self._cells[0])
        return chain.run(self._clean.before[first][:0], self._enter, first=first)

    def _enter(self, part: int, rows: Tensor) -> Tensor:
        """Append the rows of the cells that join at this part."""
        joining = [number for number, cell in enumerate(self._cells) if self._clean.first(cell) == part]
        if not joining:
            return rows
        self._n_rows += len(joining) * self._n_inputs
        before = self._clean.before[part]
        return torch.cat([rows, *(_changed(before, self._joining.get(number, ())) for number in joining)])

    def _visit(self, tensor: Tensor, site: Site) -> Tensor:
        if len(tensor) != self._n_rows:
            raise RuntimeError(f"{site} holds {len(tensor)} rows in a pass of {self._n_rows}")
        new = tensor.clone()
        for number, bound in self._edits[site]:
            own = slice(number * self._n_inputs, (number + 1) * self._n_inputs)
            new[own] = _changed(new[own], (bound,))
        return new


def _changed(rows: Tensor, edits: Sequence[BoundEdit]) -> Tensor:
    for bound in edits:
        if bound.edit.strength != 0:
            value = None if bound.value is None else bound.value[:, 0]
            rows = change(bound.edit, bound.site, rows, value, [0] * len(rows))  # an input is a row of one token
    return rows


def _repeated(rows: Tensor, times: int) -> Tensor:
    return rows.repeat(times, *(1,) * (rows.dim() - 1))


def _alone(network: Network, inputs: Tensor, cell: Cell) -> Tensor:
    output: Tensor = run_plain(network, inputs.clone(), edits=cell.plan).output
    return output


def _agree(found: Tensor, alone: Tensor) -> bool:
    """Tell whether two outputs differ by no more than float noise.

    That is 2e-5 of the largest value in float32, 4e-11 in float64.
    """
    if found.shape != alone.shape or not alone.is_floating_point():
        return torch.equal(found, alone)
    noise = torch.finfo(alone.dtype).eps ** (2 / 3) * float(alone.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(found, alone, rtol=0, atol=noise, equal_nan=True)
