"""`RunningBatch`: rows join a batch, write a token per step, each under its own plan, and leave, while others go on.

A row is bound alone (`Lane`), so a plan that does not fit fails before it joins, and an edit that fails in a pass takes
its own row out, never another's. Rows that join are read in a pass of their own, whose keys and values are then put
behind those of the rows that write.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from rheostat.base.errors import RheostatError
from rheostat.edit.plan import Plan
from rheostat.engine.batch import build_batch
from rheostat.engine.clock import Clock
from rheostat.engine.forward import bind, eval_mode
from rheostat.engine.lines import WrittenTokens
from rheostat.engine.mask import additive
from rheostat.engine.receipt import Receipt
from rheostat.engine.row_cache import RowCache
from rheostat.engine.taps import attach, attach_mask, in_order
from rheostat.models.anatomy import Tap
from rheostat.models.network import Network, refuse_compiled
from rheostat.models.tokens import Row

Changed = TypeVar("Changed")

_FAILURES = (RheostatError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""What an edit may raise: our own refusals, and torch's where a value does not fit."""


class Lane:
    """One row with its plan, bound; it may join a running batch once.

    Args:
        network: where the plan applies.
        row: the prompt.
        plan: what is edited in this row.
        max_new_tokens: tokens that will be written at most.

    Raises:
        SiteNotFound, SiteNotOffered, PositionNotFound, EditNotUsable, PromptTooLong: the plan or the prompt do not fit.
    """

    def __init__(self, network: Network, row: Row, plan: Plan, *, max_new_tokens: int) -> None:
        network.check_length(len(row), generated=max_new_tokens, shared=True)
        self.row = row
        self.program = bind(network, [row], plan, None, generating=max_new_tokens > 1)
        self.clock = Clock([len(row)])
        self.n_read = 0
        """How many of its tokens the network has read."""
        self.error: Exception | None = None
        """Why it cannot go on."""

    def receipt(self) -> Receipt:
        """Say what its edits did.

        Raises:
            EditNotApplied: one reached no token.
        """
        return self.program.receipt()


class RunningBatch:
    """Rows that write together.

    Between passes its hooks do nothing, so the network may be used otherwise there, on the same thread. It is kept in
    eval mode until the last row has left.

    Args:
        network: a causal language model of a family that rheostat knows.
        max_rows: how many rows write at once at most.

    Raises:
        CompiledModel: its hooks would never be called.
    """

    def __init__(self, network: Network, *, max_rows: int) -> None:
        refuse_compiled(network.module, network.name)
        self._network = network
        self._cache = RowCache(network.n_blocks, max_rows, network.device)
        self.lanes: list[Lane] = []
        """The rows that write; one that leaves is replaced by the last."""
        self._mode = ExitStack()
        self._hooks = ExitStack()
        self._hooked: set[Tap] = set()
        self._written: WrittenTokens | None = None
        """The lines of the rows that write; None: not known since rows came or went."""
        self._others: dict[Tap, list[tuple[int, Lane]]] = {}
        """Rows with other edits, tap by tap."""
        self._n_passing = 0
        """Rows of the pass under way; 0 between passes, where the hooks do nothing."""
        self._lines: WrittenTokens | None = None
        """Those that hold in the pass under way."""
        self._single: dict[Tap, list[tuple[int, Lane]]] = {}
        """Tap → rows that are edited one by one in the pass under way."""

    def join(self, lanes: Sequence[Lane]) -> Float[Tensor, "row d_vocab"]:
        """Read the prompts of rows; return the logits (row, d_vocab) of their first new tokens.

        Rows whose edits failed have an `error`, and do not write on: `leave` them.
        """
        if not self.lanes:
            self._take_hooks_off()
            self._cache.clear()
            self._mode.enter_context(eval_mode(self._network.module))
        batch = build_batch(self._network, [lane.row for lane in lanes])
        cache = Cache(layers=[_layer() for _ in range(self._network.n_blocks)])
        for lane, start in zip(lanes, batch.starts, strict=True):
            columns = torch.arange(batch.n_columns, device=self._network.device)[None] - start
            valid = columns >= 0
            lane.clock.set(columns.clamp(min=0), valid, (columns.clamp(min=0), valid))
            lane.n_read = len(lane.row)
        self._hook({tap for lane in lanes for tap in lane.program.taps})
        self._lines, self._single = None, _by_tap(lanes, [lane.program.taps for lane in lanes])
        logits = self._run(len(lanes), batch.arguments(self._network), cache)
        for lane in lanes:  # what could not be computed for a written token is found before others depend on it
            _guarded(lane, partial(self._try_lines, lane))
        self._cache.add(cache, batch.lengths)
        self.lanes.extend(lanes)
        self._settle()
        return logits

    def step(self, tokens: Sequence[int]) -> Float[Tensor, "row d_vocab"]:
        """Read the token that each row wrote last; return the logits (row, d_vocab) of the next.

        Args:
            tokens: one per row, in the order of `lanes`.
        """
        cache, mask = self._cache.for_a_step()
        device = self._network.device
        places = torch.tensor([[lane.n_read] for lane in self.lanes], device=device)
        arguments: dict[str, Any] = {
            "input_ids": torch.tensor(tokens, device=device)[:, None],
            "attention_mask": mask,
        }
        if "position_ids" in self._network.parameters_of_forward:
            arguments["position_ids"] = places
        if self._written is None:
            self._written = self._lines_of(self.lanes)
            self._others = _by_tap(self.lanes, [lane.program.other_taps for lane in self.lanes])
        self._set_clocks(mask, places)
        self._written.prepare([lane.n_read for lane in self.lanes])
        self._lines, self._single = self._written, self._others
        logits = self._run(len(self.lanes), arguments, cache)
        self._cache.advance()
        for lane in self.lanes:
            lane.n_read += 1
        return logits

    def leave(self, row: int) -> None:
        """Take a row out; the last one gets its number."""
        self._settle()
        self._cache.drop(row)
        last = self.lanes.pop()
        if row < len(self.lanes):
            self.lanes[row] = last
        if not self.lanes:
            self.close()

    def close(self) -> None:
        """Take all rows and hooks away."""
        self._settle()
        self.lanes.clear()
        self._cache.clear()
        self._take_hooks_off()

    def _take_hooks_off(self) -> None:
        self._mode.close()
        self._hooks.close()
        self._hooked.clear()

    def _set_clocks(self, mask: Tensor, places: Tensor) -> None:
        needing = sorted({row for edited in self._others.values() for row, _ in edited})
        if not needing:
            return
        valid = mask.bool()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        one = torch.ones(1, 1, dtype=torch.bool, device=mask.device)
        for row in needing:
            here = slice(row, row + 1)
            self.lanes[row].clock.set(places[here], one, (positions[here], valid[here]))

    def _run(self, n_rows: int, arguments: dict[str, Any], cache: Cache) -> Tensor:
        """Pass once; return the logits of each row's last column."""
        if "logits_to_keep" in self._network.parameters_of_forward:
            arguments["logits_to_keep"] = 1
        self._n_passing = n_rows
        try:
            with torch.no_grad():
                logits: Tensor = self._network.module(**arguments, past_key_values=cache, use_cache=True).logits
        finally:
            self._n_passing = 0
        return logits[:, -1]

    def _hook(self, taps: set[Tap]) -> None:
        """See that every tap has its hook; one that lost its last edit keeps it until the batch is empty."""
        if taps <= self._hooked:
            return
        self._hooks.close()
        wanted, self._hooked = self._hooked | taps, set()
        for tap in in_order(wanted):
            if tap.side == "weights":
                attach_mask(self._hooks, self._network.module, tap.module, partial(self._cut, tap))
            else:
                attach(self._hooks, self._network.module, tap, partial(self._visit, tap))
        self._hooked = wanted

    def _lines_of(self, lanes: Sequence[Lane]) -> WrittenTokens:
        return WrittenTokens([lane.program.lines(0) for lane in lanes], self._network.dtype, self._network.device)

    def _try_lines(self, lane: Lane) -> None:
        self._lines_of([lane]).prepare([lane.n_read])

    def _settle(self) -> None:
        """Hand what was counted to the rows, before they change."""
        if self._written is not None:
            self._written.settle()
        self._written = self._lines = None

    def _visit(self, tap: Tap, tensor: Tensor) -> Tensor | None:
        if not self._n_passing:
            return None
        new = tensor
        if self._lines is not None and tap in self._lines.taps:
            new = self._lines.change(tap, tensor)
        n = tensor.shape[0] // self._n_passing  # some families flatten rows and columns
        for row, lane in self._single.get(tap, ()):
            own = slice(row * n, (row + 1) * n)
            changed = _guarded(lane, partial(lane.program.visit, tap, new[own], clock=lane.clock))
            if changed is not None:
                new = new.clone() if new is tensor else new
                new[own] = changed
        return None if tap.side == "shared" or new is tensor else new

    def _cut(self, tap: Tap, mask: Tensor) -> Tensor | None:
        rows: dict[int, Tensor] = {}
        for row, lane in self._single.get(tap, ()) if self._n_passing else ():
            own = mask[row : row + 1] if mask.shape[0] > 1 else mask
            changed = _guarded(lane, partial(lane.program.cut, tap, own, clock=lane.clock))
            if changed is not None:
                rows[row] = changed
        if not rows:
            return None
        heads = max(one.shape[1] for one in (mask, *rows.values()))
        added = any(one.dtype != torch.bool for one in (mask, *rows.values()))
        whole = mask.expand(self._n_passing, heads, -1, -1)
        whole = (additive(whole, self._network.dtype) if added else whole).clone()
        for row, one in rows.items():
            whole[row] = (additive(one, self._network.dtype) if added else one)[0]
        return whole


def _by_tap(lanes: Sequence[Lane], taps: Sequence[Sequence[Tap]]) -> dict[Tap, list[tuple[int, Lane]]]:
    """Return tap → the rows that have it, with their numbers."""
    found: dict[Tap, list[tuple[int, Lane]]] = {}
    for row, (lane, own) in enumerate(zip(lanes, taps, strict=True)):
        for tap in own:
            found.setdefault(tap, []).append((row, lane))
    return found


def _guarded(lane: Lane, change: Callable[[], Changed]) -> Changed | None:
    """Return what a row's edits change; a failure is noted, and changes nothing any more."""
    if lane.error is not None:
        return None
    try:
        return change()
    except _FAILURES as error:
        lane.error = error
        return None


def _layer() -> DynamicLayer:
    return DynamicLayer()
