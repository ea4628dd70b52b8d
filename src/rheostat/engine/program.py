"""`Program`: plans bound to a network and its rows, ready to be fired by hooks.

Binding resolves every site, position, unit and source before anything is registered on the module, so that a mistake in
the last edit leaves no trace of the first.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rheostat.base.errors import EditNotUsable
from rheostat.edit.edit import Edit
from rheostat.edit.knockout import CutAttention
from rheostat.edit.plan import Plan
from rheostat.engine.binding import (
    ReadPrompt,
    Values,
    as_grid,
    change,
    change_faded,
    check_count,
    check_units,
    edited_sites,
    gather,
)
from rheostat.engine.clock import Clock
from rheostat.engine.lines import RowEdit, Step, WrittenTokens, row_edits
from rheostat.engine.mask import Cut, cut_out, first_blind, visible
from rheostat.engine.receipt import Receipt, Tally, close
from rheostat.engine.taps import attach, attach_clock, attach_mask, in_order
from rheostat.models.anatomy import Tap
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions
from rheostat.sites.site import Site
from rheostat.sites.site import tap as tap_of


class Program:
    """Plans bound to a network.

    Args:
        network: where the sites are.
        plans: one for all rows, or one per row.
        rows: the prompts; None when they are not known beforehand (a user's own loop).
        read_prompt: reads the activations of other prompts.
        generating: whether the model will read tokens that it wrote.
    """

    def __init__(
        self,
        network: Network,
        plans: Sequence[Plan],
        rows: Sequence[Row] | None,
        read_prompt: ReadPrompt,
        *,
        generating: bool = False,
    ) -> None:
        self._network = network
        self._generating = generating
        self._rows = rows
        self._n_rows = len(plans) if len(plans) > 1 or rows is None else len(rows)
        self._tables: dict[tuple[Positions, tuple[int, ...] | None], Tensor] = {}
        self._table_lengths: Tensor | None = None
        placed = self._place(plans)
        values = Values(network, placed, read_prompt)
        self._steps = [self._bind(edit, site, members, values) for edit, site, members in placed]
        self._at: dict[Tap, list[Step]] = {}
        for step in self._steps:  # two sites may name one tensor: it gets one hook, in which each row's order is kept
            self._at.setdefault(step.tap, []).append(step)
        self.sites = tuple(dict.fromkeys(step.site for step in self._steps))
        self.taps = in_order(self._at)
        self._rows_edits: list[list[RowEdit]] | None = None

    def attach(self, stack: ExitStack, clock: Clock) -> None:
        """Register one hook per edited tensor, until the stack closes.

        The clock must hear of a pass first. Where each row has one written token, lines go the fast way.
        """
        written = self._written_tokens()
        fast = False

        def begin(_module: nn.Module, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
            nonlocal fast
            positions = clock.written() if len(clock.positions) == self._n_rows else None
            fast = positions is not None
            if positions is not None:
                written.prepare(positions)

        def visit(tap: Tap, tensor: Tensor) -> Tensor | None:
            if fast and tap in written.taps:
                new = written.change(tap, tensor)
                return None if new is tensor else new
            return self.visit(tap, tensor, clock=clock)

        if written.taps:
            attach_clock(stack, self._network.module, begin)
            stack.callback(written.settle)
        for tap in self.taps:
            if tap.side == "weights":
                attach_mask(stack, self._network.module, tap.module, partial(self.cut, tap, clock=clock))
            else:
                attach(stack, self._network.module, tap, partial(visit, tap))

    def lines(self, row: int) -> list[RowEdit]:
        """Return the edits of a row at the taps where all edits of written tokens are lines."""
        if self._rows_edits is None:
            self._rows_edits = self._find_lines()
        return self._rows_edits[row]

    @property
    def other_taps(self) -> tuple[Tap, ...]:
        """The taps where `lines` leaves edits out."""
        return tuple(tap for tap in self.taps if not all(self._is_line(step) for step in self._at[tap]))

    def _written_tokens(self) -> WrittenTokens:
        rows = [] if self._rows is None else [self.lines(row) for row in range(self._n_rows)]
        return WrittenTokens(rows, self._network.dtype, self._network.device)

    def _find_lines(self) -> list[list[RowEdit]]:
        assert self._rows is not None
        fitting = [steps for steps in self._at.values() if all(map(self._is_line, steps))]
        return [row_edits(row, len(self._rows[row]), fitting) for row in range(self._n_rows)]

    def _is_line(self, step: Step) -> bool:
        if step.site.kind in ("pattern", "module") or step.tap.side == "shared" or not step.edit.is_line:
            return False
        return step.value is None or step.value.shape[1] == 1

    def visit(self, tap: Tap, tensor: Tensor, *, clock: Clock) -> Tensor | None:
        """Return a tap's tensor under its edits; None where it is unchanged, or was changed in place."""
        return self._visit(tensor, self._at[tap], clock, in_place=tap.side == "shared")

    def cut(self, tap: Tap, mask: Tensor, *, clock: Clock) -> Tensor | None:
        """Return the attention mask of a block without the edges that are cut there; None where it is unchanged."""
        return self._cut(mask, self._at[tap], clock)

    def receipt(self) -> Receipt:
        """Say what happened.

        Raises:
            EditNotApplied: an edit reached no token.
        """
        for edits in self._rows_edits or ():
            for edit in edits:
                edit.settle()
        return close([step.tally for step in self._steps])

    def _place(self, plans: Sequence[Plan]) -> list[tuple[Edit, Site, tuple[int, ...] | None]]:
        """List every edit at every site it means, with the rows that carry it; each row's order is kept."""
        placed: list[tuple[Edit, Site, tuple[int, ...] | None]] = []
        for k in range(max((len(plan) for plan in plans), default=0)):
            carriers: dict[int, tuple[Edit, list[int]]] = {}
            for row, plan in enumerate(plans):
                if k < len(plan):
                    carriers.setdefault(id(plan.edits[k]), (plan.edits[k], []))[1].append(row)
            for edit, members in carriers.values():
                for site in edited_sites(self._network, edit):
                    placed.append((edit, site, None if len(members) == len(plans) else tuple(members)))
        return placed

    def _bind(self, edit: Edit, site: Site, members: tuple[int, ...] | None, values: "Values") -> Step:
        shape = None if site.kind == "module" else self._network.body.shape(site.kind)
        check_units(edit, site, shape)
        value = values.of(edit, site)
        if self._network.anatomy is None and (edit.where.kind != "all" or edit.decay is not None):
            raise EditNotUsable(f"{edit}: a plain module has no token positions. Leave positions and decay out.")
        if self._rows is not None:
            self._check_counts(edit, site, members, value)
        elif edit.where.kind == "substring":
            edit.where.in_length(0)
        elif isinstance(edit, CutAttention) and edit.hidden.kind == "substring":
            edit.hidden.in_length(0)
        if value is not None and value.shape[0] not in (1, self._n_rows) and self._rows is not None:
            raise EditNotUsable(f"{edit}: its value has {value.shape[0]} rows, the run has {self._n_rows}.")
        label = str(replace(edit, site=str(site)))
        return Step(edit, site, tap_of(self._network, site), value, members, shape, Tally(label, str(site)))

    def _check_counts(self, edit: Edit, site: Site, members: tuple[int, ...] | None, value: Tensor | None) -> None:
        assert self._rows is not None
        for row in members if members is not None else range(len(self._rows)):
            check_count(edit, site, self._rows[row], value, generating=self._generating)

    def _visit(self, tensor: Tensor, steps: list[Step], clock: Clock, *, in_place: bool) -> Tensor | None:
        columns = clock.positions.shape
        now, ours, changed = tensor, in_place, False  # the network's is copied before the first write, and only then
        for step in steps:
            grid = as_grid(now, step.site, columns, self._network)
            new = self._fire(step, grid, clock, ours=ours)
            if new is None:
                continue
            changed = True
            if in_place and new is not grid:
                grid.copy_(new)
            else:
                now, ours = new.reshape(tensor.shape), in_place or not self._whole(step, clock)
        return now if changed and not in_place else None

    def _whole(self, step: Step, clock: Clock) -> bool:
        """Tell whether an edit means every token of every row, and does the same to each."""
        edit, value = step.edit, step.value
        everywhere = edit.where.kind == "all" and step.members is None and clock.all_valid and edit.decay is None
        return everywhere and (value is None or value.shape[0] * value.shape[1] == 1)

    def _fire(self, step: Step, grid: Tensor, clock: Clock, *, ours: bool) -> Tensor | None:
        """Return the grid after an edit, None where unchanged; one that is `ours` is written to, unless all changes."""
        whole = self._whole(step, clock)
        positions = clock.positions[:, -grid.shape[1] :]
        if whole:
            rows = self._row_of(clock)
            old = grid.reshape(-1, *grid.shape[2:])
            value = None if step.value is None else step.value[0]
        else:
            ordinals = self._ordinals(step, clock)[:, -grid.shape[1] :]
            batch_index, column = (ordinals >= 0).nonzero(as_tuple=True)
            if len(batch_index) == 0:
                return None
            if self._rows is None and step.value is not None:
                self._check_pass(step.edit, step.value, ordinals, clock)
            rows = self._row_of(clock)[batch_index]
            value = gather(step.value, rows, ordinals[batch_index, column])
            batch_index, column = batch_index.to(grid.device), column.to(grid.device)
            old = grid[batch_index, column]
        if step.edit.strength == 0:
            step.tally.add(rows, old, old)
            return None
        tokens: list[int] = []
        if step.edit.depends_on_tokens:
            tokens = (positions.reshape(-1) if whole else positions[batch_index, column]).tolist()
        if step.edit.decay is None:
            new = change(step.edit, step.site, old, value, tokens)
        else:
            written = self._written(clock, positions)[batch_index, column]
            new = change_faded(step.edit, step.site, old, value, tokens, written)
        step.tally.add(rows, old, new)
        if whole:
            return (new.clone() if _share(new, value) else new).reshape(grid.shape)  # the network may write to it
        grid = grid if ours else grid.clone()
        grid[batch_index, column] = new
        return grid

    def _cut(self, mask: Tensor, steps: list[Step], clock: Clock) -> Tensor | None:
        """Take edges out of the attention mask of a block."""
        rows, seen = self._row_of(clock), visible(mask).any(1)
        n_queries, n_keys = mask.shape[-2:]
        positions, valid = clock.keys(n_keys)
        cuts = []
        for step in steps:
            assert isinstance(step.edit, CutAttention)
            queries = self._ordinals(step, clock)[:, -n_queries:] >= 0
            keys = self._chosen(step, step.edit.hidden, positions, valid, clock) >= 0
            cut = Cut(step.edit, queries[:, :, None] & keys[:, None, :] & seen)
            step.tally.add_edges(rows, cut.edges)
            cuts.append(cut)
        new = cut_out(mask, cuts, self._network.body.n_heads, self._network.dtype)
        if new is mask:
            return None
        if (blind := first_blind(new, cuts)) is not None:
            row, column = blind
            token = int(clock.positions[:, -n_queries:][row, column])
            raise EditNotUsable(
                f"{steps[0].tally.edit}: token {token} of prompt {int(rows[row])} would see no token at all. Leave one."
            )
        return new

    def _check_pass(self, edit: Edit, value: Tensor, ordinals: Tensor, clock: Clock) -> None:
        """Refuse a value that does not fit a pass whose prompts could not be known beforehand."""
        n_rows = self._n_rows if self._n_rows > 1 else len(ordinals)
        if value.shape[0] not in (1, n_rows):
            raise EditNotUsable(f"{edit}: its value has {value.shape[0]} rows, the pass has {n_rows}.")
        if value.shape[1] == 1:
            return
        lengths = clock.prompt_lengths()
        if ((ordinals >= 0) & (clock.positions[:, -ordinals.shape[1] :] >= lengths[:, None])).any():
            raise EditNotUsable(f"{edit}: a value per position cannot serve generated tokens; positions='prompt'?")
        for n in lengths[(ordinals >= 0).any(-1)].unique().tolist():
            edited = len(set(edit.where.in_length(n)))
            if edited != value.shape[1]:
                raise EditNotUsable(
                    f"{edit}: its value has {value.shape[1]} positions, but {edited} tokens are edited."
                )

    def _row_of(self, clock: Clock) -> Tensor:
        """Return, per row of the pass, the prompt it belongs to; where prompts are unknown, each row is one."""
        if self._rows is None and self._n_rows == 1:
            return torch.arange(clock.positions.shape[0], device=clock.positions.device)
        return clock.rows(self._n_rows)

    def _ordinals(self, step: Step, clock: Clock) -> Tensor:
        """Return, per (row, column) of the pass, which of the edit's tokens it is, or −1."""
        if step.edit.where.kind == "all" and (step.value is None or step.value.shape[1] == 1):
            chosen = torch.where(clock.valid, 0, -1)
        else:
            chosen = self._chosen(step, step.edit.where, clock.positions, clock.valid, clock)
        if step.members is None:
            return chosen
        carries = torch.zeros(self._n_rows, dtype=torch.bool, device=chosen.device)
        carries[list(step.members)] = True
        return torch.where(carries[self._row_of(clock)][:, None], chosen, -1)

    def _chosen(self, step: Step, where: Positions, positions: Tensor, valid: Tensor, clock: Clock) -> Tensor:
        """Return, per (row, column) of tokens at these positions, which of the chosen tokens it is, or −1."""
        table = self._table(where, step.members, clock)
        rows = clock.rows(table.shape[0])
        found = table[rows[:, None], positions.clamp(max=table.shape[1] - 1)]
        if where.kind == "generated" and where.value is not None:
            valid = valid & (self._written(clock, positions) < where.value)
        return torch.where(valid, found, -1)

    def _written(self, clock: Clock, positions: Tensor) -> Tensor:
        """Return, per token at these positions, how many the model wrote before it; 0 in the prompt."""
        return (positions - clock.prompt_lengths()[:, None]).clamp(min=0)

    def _table(self, where: Positions, members: tuple[int, ...] | None, clock: Clock) -> Tensor:
        """Return (row, position) → ordinal of the chosen token or −1; the last column stands for generated tokens.

        Only rows that carry the edit are asked: another prompt may have no such token.
        """
        if self._rows is None:
            clock.prompt_lengths()
        if self._table_lengths is not clock.lengths:
            self._tables.clear()
            self._table_lengths = clock.lengths
        if (where, members) not in self._tables:
            if self._rows is not None:
                asked = range(len(self._rows)) if members is None else set(members)
                chosen = [where.in_prompt(row) if k in asked else () for k, row in enumerate(self._rows)]
                lengths = [len(row) for row in self._rows]
            else:
                assert clock.lengths is not None
                lengths = clock.lengths.tolist()
                chosen = [where.in_length(n) for n in lengths]
            table = torch.full((len(lengths), max(lengths) + 1), -1)
            for row, (n, positions) in enumerate(zip(lengths, chosen, strict=True)):
                table[row, list(positions)] = torch.arange(len(positions))
                table[row, n:] = 0 if where.reaches_generated else -1
            self._tables[where, members] = table.to(clock.positions.device)
        return self._tables[where, members]


def _share(new: Tensor, value: Tensor | None) -> bool:
    """Tell whether an edit returned its value itself, as `Replace` does; where that cannot be told, suppose so."""
    if value is None:
        return False
    try:
        return new.untyped_storage().data_ptr() == value.untyped_storage().data_ptr()
    except NotImplementedError:  # of torch.func's tensors
        return True
