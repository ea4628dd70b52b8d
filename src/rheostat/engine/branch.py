"""One pass over the end of a prompt in which cells join as rows, each at the block where it leaves the shared run."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from rheostat.base.errors import EditNotApplied, EditNotUsable
from rheostat.edit.knockout import CutAttention
from rheostat.engine.binding import as_grid
from rheostat.engine.cells import BoundEdit, cut_edges
from rheostat.engine.departure import Departure, changed_tokens
from rheostat.engine.mask import Cut, cut_out, first_blind, visible
from rheostat.engine.prefix import CleanRun
from rheostat.engine.taps import attach, attach_border, attach_mask
from rheostat.models.network import Network
from rheostat.sites.site import Site, tap


@dataclass(frozen=True)
class _Write:
    """New activations of tokens of one row."""

    row: int
    columns: list[int]
    values: Tensor
    """(token, …site)"""


class Branch:
    """Rows of one pass.

    Args:
        network: the loaded network.
        clean: the shared run.
        departures: the cells, in the order of their borders.
    """

    def __init__(self, network: Network, clean: CleanRun, departures: Sequence[Departure]) -> None:
        self._network = network
        self._clean = clean
        self._departures = departures
        self._start = min(departure.place.token for departure in departures)
        self._stop = max(clean.asked) + 1  # attention is causal: no logits that were asked for depend on later tokens
        self._n_columns = self._stop - self._start
        self._n_rows = 1
        self._joining = {border: list(each) for border, each in groupby(departures, lambda one: one.place.border)}
        self._first: dict[Site, list[_Write]] = {}
        self._later: dict[Site, list[tuple[int, BoundEdit]]] = {}
        for row, departure in enumerate(departures):
            if departure.tokens and not departure.at_border:
                self._first.setdefault(departure.site, []).append(self._write(row, departure))
            for bound in departure.later:
                self._later.setdefault(bound.site, []).append((row, bound))

    def attach(self, stack: ExitStack) -> None:
        """Register the hooks that let rows in and change them, until the stack closes."""
        module, body = self._network.module, self._network.body
        for border in range(min(self._joining), body.n_blocks + 1):
            path = f"{body.blocks}.{border}" if border < body.n_blocks else body.final

            def cross(rows: Tensor, border: int = border) -> Tensor:
                return self._cross(rows, border)

            attach_border(stack, module, path, cross)
        for site in dict.fromkeys([*self._first, *self._later]):
            where = tap(self._network, site)
            if site.kind == "pattern":

                def cut(mask: Tensor, site: Site = site) -> Tensor | None:
                    return self._cut(mask, site)

                attach_mask(stack, module, where.module, cut)
                continue
            in_place = where.side == "shared"

            def visit(tensor: Tensor, site: Site = site, in_place: bool = in_place) -> Tensor | None:
                return self._visit(tensor, site, in_place=in_place)

            attach(stack, module, where, visit)

    def run(self) -> Tensor:
        """Pass the tokens from the first edited to the last asked for through the network.

        Returns the logits (row, pos, d_vocab) where asked for.

        Positions before the first edited token have the shared run's logits.
        """
        clean, network = self._clean, self._network
        n = self._stop
        device = network.device
        asked = [position - self._start for position in clean.asked if position >= self._start]
        arguments = {
            "input_ids": torch.tensor([clean.row.ids[self._start : n]], device=device),
            "attention_mask": torch.ones(1, n, dtype=torch.long, device=device),
            "past_key_values": clean.cache(self._start),
        }
        if "position_ids" in network.parameters_of_forward:
            arguments["position_ids"] = torch.arange(self._start, n, device=device)[None]
        unembeds_all = self._edits_logits or "logits_to_keep" not in network.parameters_of_forward
        if not unembeds_all:
            arguments["logits_to_keep"] = torch.tensor(asked, device=device)
        logits: Tensor = network.module(**arguments, use_cache=True).logits
        if unembeds_all:
            logits = logits[:, asked]
        n_before = len(clean.asked) - len(asked)
        if not n_before and list(clean.asked) == sorted(clean.asked):
            return logits
        return self._with_shared(logits)

    @property
    def _edits_logits(self) -> bool:
        return any(site.kind == "logits" for site in (*self._first, *self._later))

    def _with_shared(self, logits: Tensor) -> Tensor:
        full = self._clean.logits.expand(logits.shape[0], -1, -1).clone()
        full[:, [index for index, position in enumerate(self._clean.asked) if position >= self._start]] = logits
        return full

    def _write(self, row: int, departure: Departure) -> _Write:
        columns = [token - self._start for token in departure.tokens]
        reached = [index for index, column in enumerate(columns) if 0 <= column < self._n_columns]
        return _Write(row, [columns[index] for index in reached], departure.values[reached])

    def _cross(self, rows: Tensor, border: int) -> Tensor:
        """Append the rows that leave the shared run here; the first to come replace the row that carried the pass."""
        joining = self._joining.get(border)
        if joining is None:
            return rows
        first = border == min(self._joining)
        new = self._clean.borders[border][self._start : self._stop].expand(len(joining), -1, -1)
        grid = new.clone() if first else torch.cat([rows, new])
        n_before = grid.shape[0] - len(joining)
        _write_all(grid, [self._write(n_before + k, one) for k, one in enumerate(joining) if one.at_border])
        self._n_rows = grid.shape[0]
        return grid

    def _visit(self, tensor: Tensor, site: Site, *, in_place: bool) -> Tensor | None:
        grid = as_grid(tensor, site, torch.Size((self._n_rows, self._n_columns)), self._network)
        if not in_place:
            grid = grid.clone()
        _write_all(grid, self._first.get(site, ()))
        for row, bound in self._later.get(site, ()):
            self._apply(grid, row, bound)
        return None if in_place else grid.reshape(tensor.shape)

    def _cut(self, mask: Tensor, site: Site) -> Tensor | None:
        """Take edges out of the attention mask of some rows."""
        n, n_keys = self._stop, mask.shape[-1]
        seen = visible(mask).any(1)
        cuts = []
        for row, bound in self._later[site]:
            assert isinstance(bound.edit, CutAttention)
            edges = torch.zeros(self._n_rows, n, n_keys, dtype=torch.bool, device=mask.device)
            named = cut_edges(bound.edit, self._clean.row)
            within = [edge for edge in named if edge[0] < n]
            if within:
                queries, keys = zip(*within, strict=True)
                edges[row, queries, keys] = True
            cut = Cut(bound.edit, edges[:, self._start :] & seen)
            idle = bound.edit.strength == 0 or bound.of_base or len(within) < len(named)
            if not idle and not bool(cut.edges.any()):
                raise EditNotApplied(
                    f"cell {self._departures[row].place.cell}: {bound.edit} at {site}: no query token sees one of "
                    "the keys, because the block attends to a window of tokens; it would change nothing."
                )
            cuts.append(cut)
        new = cut_out(mask, cuts, self._network.body.n_heads, self._network.dtype)
        if (blind := first_blind(new, cuts)) is not None:
            cell, token = self._departures[blind[0]].place.cell, self._start + blind[1]
            raise EditNotUsable(f"cell {cell}: at {site} token {token} would see no token at all. Leave it one.")
        return None if new is mask else new

    def _apply(self, grid: Tensor, row: int, bound: BoundEdit) -> None:
        """Apply an edit to one row. Tokens outside the pass are left: there it changes nothing that counts."""
        ordinals = {
            token: ordinal
            for token, ordinal in bound.ordinals(self._clean.row).items()
            if self._start <= token < self._stop
        }
        if bound.edit.strength == 0 or not ordinals:
            return
        columns = [token - self._start for token in ordinals]
        grid[row, columns] = changed_tokens(bound, grid[row, columns], ordinals)


def _write_all(grid: Tensor, writes: Sequence[_Write]) -> None:
    """Put new activations into a (row, column, …site) grid."""
    if not writes:
        return
    rows = [write.row for write in writes for _ in write.columns]
    columns = [column for write in writes for column in write.columns]
    grid[rows, columns] = torch.cat([write.values for write in writes])
