"""One forward pass over a batch of prompts: capture, edit, and the logits that were asked for."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rheostat.base.errors import BadArgument, EditNotUsable, SiteNotOffered
from rheostat.capture.activations import Activations
from rheostat.edit.edit import Edit
from rheostat.edit.plan import Plan, PlanLike, as_plan
from rheostat.edit.source import FromPrompt
from rheostat.engine.batch import Batch, PaddingSide, as_prompts, build_batch
from rheostat.engine.binding import ReadPrompt, token_grid
from rheostat.engine.clock import Clock
from rheostat.engine.program import Program
from rheostat.engine.receipt import Receipt
from rheostat.engine.taps import attach, attach_clock
from rheostat.engine.unembedding import Gathered
from rheostat.models.network import Network, refuse_compiled
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import Site, SiteLike, axes, resolve, tap


@dataclass(frozen=True)
class Output:
    """What a run returns."""

    logits: Float[Tensor, "batch pos d_vocab"]
    """(batch, pos, d_vocab) at the positions asked for; NaN where a row has fewer than the longest."""
    positions: tuple[tuple[int, ...], ...]
    """Per row, the positions of `logits` in the row's own tokens."""
    receipt: Receipt
    activations: Activations | None = None
    _network: Network | None = field(default=None, repr=False)

    def probabilities(self) -> Float[Tensor, "batch pos d_vocab"]:
        """Return the softmax of the logits, (batch, pos, d_vocab)."""
        return self.logits.softmax(-1)

    def top_tokens(self, k: int = 5) -> pd.DataFrame:
        """Return the likeliest next tokens after the last position: columns row, rank, token, token_id, probability."""
        assert self._network is not None
        rows = []
        for row, n in enumerate(len(one) for one in self.positions):
            top = self.logits[row, n - 1].detach().float().softmax(-1).topk(k)
            for rank, (probability, token) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True), 1):
                shown = self._network.show_token(token)
                rows.append({"row": row, "rank": rank, "token": shown, "token_id": token, "probability": probability})
        return pd.DataFrame(rows)


class _Stop(Exception):
    """Raised by the last capture to leave the forward pass."""


def run(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    *,
    edits: PlanLike = None,
    plans: Sequence[PlanLike] | None = None,
    capture: "SiteLike | Sequence[SiteLike]" = (),
    capture_at: PositionsLike = "last",
    logits_at: PositionsLike = "last",
    padding_side: PaddingSide = "left",
    gradients: bool = False,
) -> Output:
    """Run prompts through the network with edits, and return logits, activations and a receipt.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids; they run as one batch.
        edits: one plan for every row.
        plans: one plan per row, instead of `edits`.
        capture: sites to read, after any edit there.
        capture_at: positions to read.
        logits_at: positions to unembed; only those are.
        padding_side: where shorter rows are padded; results do not depend on it.
        gradients: let gradients flow through the pass, the edits and their values.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable: before anything is registered on the module.
        EditNotApplied: an edit reached no token.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    program = bind(network, rows, edits, plans)
    batch = build_batch(network, rows, padding_side=padding_side)
    sites = resolve(network, capture) if capture else ()
    wanted = positions_in(rows, logits_at)
    reader = Reader(network, sites, batch, positions_in(rows, capture_at) if sites else ())
    picked = _logits(network, batch, program, reader, wanted, gradients=gradients)
    activations = reader.activations() if sites else None
    return Output(_pad(picked), wanted, program.receipt(), activations, network)


def run_rows(
    network: Network, rows: Sequence[Row], plans: Sequence[PlanLike], asked: Sequence[tuple[int, ...]]
) -> list[Float[Tensor, "pos d_vocab"]]:
    """Run one batch of rows, each with its plan and its own positions to unembed; return their logits row by row.

    Raises:
        as `run`.
    """
    program = bind(network, rows, None, plans)
    batch = build_batch(network, rows)
    if any(site.kind in ("logits", "module") for site in program.sites):  # which may lie behind the unembedding
        logits = _logits(network, batch, program, Reader(network, (), batch, ()), tuple(asked), gradients=False)
    else:
        gathered = Gathered(batch, asked)
        with passing(network, gradients=False) as stack:
            _count_and_edit(stack, network, batch, program)
            gathered.attach(stack, network)
            logits = gathered.split(network.module(**batch.arguments(network), use_cache=False).logits)
    program.receipt()  # refuses an edit that reached no token
    return logits


def _count_and_edit(stack: ExitStack, network: Network, batch: Batch, program: Program) -> None:
    """Register a clock and the edits that it tells the time, until the stack closes."""
    clock = Clock(batch.lengths)
    attach_clock(stack, network.module, clock.read)
    program.attach(stack, clock)


def _logits(
    network: Network,
    batch: Batch,
    program: Program,
    reader: "Reader",
    asked: tuple[tuple[int, ...], ...],
    *,
    gradients: bool,
) -> list[Tensor]:
    """Pass a batch through the network and return each row's logits (pos, d_vocab) where asked for."""
    whole = any(site.kind == "logits" for site in (*program.sites, *reader.sites))
    kept, arguments = kept_columns(network, batch, asked, whole=whole)
    with passing(network, gradients=gradients) as stack:
        _count_and_edit(stack, network, batch, program)
        reader.attach(stack, stop=False)
        logits = network.module(**batch.arguments(network), **arguments, use_cache=False).logits
    columns = {column: index for index, column in enumerate(kept)}
    return [
        logits[row, [columns[start + position] for position in positions]]
        for row, (start, positions) in enumerate(zip(batch.starts, asked, strict=True))
    ]


def capture(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    positions: PositionsLike = "all",
    edits: PlanLike = None,
    plans: Sequence[PlanLike] | None = None,
    padding_side: PaddingSide = "left",
    gradients: bool = False,
) -> Activations:
    """Read activations in one batch; the pass ends after the last site asked for.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable: before anything is registered on the module.
        EditNotApplied: an edit lies after the last site, so it reached no token.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    program = bind(network, rows, edits, plans)
    batch = build_batch(network, rows, padding_side=padding_side)
    reader = Reader(network, resolve(network, sites), batch, positions_in(rows, positions))
    arguments = {"logits_to_keep": 1} if "logits_to_keep" in network.parameters_of_forward else {}
    if any(site.kind == "logits" for site in (*program.sites, *reader.sites)):
        arguments = {}
    with passing(network, gradients=gradients) as stack:
        _count_and_edit(stack, network, batch, program)
        reader.attach(stack, stop=True)
        with suppress(_Stop):
            network.module(**batch.arguments(network), **arguments, use_cache=False)
    program.receipt()
    return reader.activations()


def bind(
    network: Network,
    rows: Sequence[Row] | None,
    edits: PlanLike,
    plans: Sequence[PlanLike] | None,
    *,
    generating: bool = False,
) -> Program:
    """Resolve everything in the plans, before any hook exists."""
    bound = as_plans(edits, plans, None if rows is None else len(rows))
    return Program(network, bound, rows, prompt_reader(network), generating=generating)


def as_plans(edits: PlanLike, plans: Sequence[PlanLike] | None, n_rows: int | None) -> list[Plan]:
    """Return one plan for all rows, or one per row.

    Args:
        edits: one for all.
        plans: one per row, instead of `edits`.
        n_rows: how many there are; None: not known beforehand.

    Raises:
        BadArgument: both are given, or `plans` is no list.
        EditNotUsable: there are not as many plans as rows.
    """
    if edits is not None and plans is not None:
        raise BadArgument("edits is one plan for all rows, plans one per row; give one of the two.")
    if isinstance(plans, Plan | Edit):
        raise BadArgument("plans is a list with one plan per row; one plan for all rows is edits=….")
    if plans is None:
        return [as_plan(edits)]
    if n_rows is not None and len(plans) != n_rows:
        raise EditNotUsable(f"{len(plans)} plans for {n_rows} prompts. Give one per prompt; one for all is edits=….")
    return [as_plan(plan) for plan in plans]


def prompt_reader(network: Network) -> ReadPrompt:
    """Return what captures the activations that edits take from another prompt."""

    def read_prompt(source: FromPrompt, sites: tuple[Site, ...]) -> Activations:
        return capture(network, source.prompt, sites, positions=source.positions)

    return read_prompt


@contextmanager
def passing(network: Network, *, gradients: bool) -> Iterator[ExitStack]:
    """Set the scene of a pass: eval mode, gradients off unless asked, and a stack that removes every hook."""
    refuse_compiled(network.module, network.name)
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(eval_mode(network.module))
        yield stack


class Reader:
    """Collects the asked positions of the asked sites while a batch passes."""

    def __init__(
        self, network: Network, sites: Sequence[Site], batch: Batch, positions: tuple[tuple[int, ...], ...]
    ) -> None:
        self.sites = tuple(sites)
        self._taps = [tap(network, site) for site in self.sites]
        self._network = network
        self._positions = positions
        self._batch = batch
        self._found: dict[Site, Tensor] = {}
        self._all = positions == tuple(tuple(range(batch.n_columns)) for _ in batch.rows)
        pairs = [(row, batch.starts[row] + p) for row, one in enumerate(positions) for p in one]
        device = network.device
        self._rows = torch.tensor([row for row, _ in pairs], dtype=torch.long, device=device)
        self._columns = torch.tensor([column for _, column in pairs], dtype=torch.long, device=device)

    def attach(self, stack: ExitStack, *, stop: bool) -> None:
        """Register one hook per site; with `stop`, leave the pass once every site was read."""
        for site, where in zip(self.sites, self._taps, strict=True):

            def visit(tensor: Tensor, site: Site = site) -> None:
                self._found[site] = self._take(tensor, site)
                if stop and len(self._found) == len(self.sites):
                    raise _Stop

            attach(stack, self._network.module, where, visit)

    def activations(self) -> Activations:
        """Return what was read, as (batch, pos, …) tensors."""
        tensors = {}
        for site in self.sites:
            if site not in self._found:
                raise SiteNotOffered(f"{site}: the forward pass calls no such module, so there is nothing to read.")
            taken = self._found[site]
            if not self._all and site.kind != "pattern":
                taken = _pad(list(taken.split([len(one) for one in self._positions])))
            tensors[str(site)] = taken
        names = {str(site): axes(site) for site in self.sites}
        return Activations(tensors, names, self._positions, self._network.name)

    def _take(self, tensor: Tensor, site: Site) -> Tensor:
        """Copy the asked positions: what the network does with its tensor afterwards must not reach the copy."""
        if site.kind == "pattern":
            return _own_pattern(tensor, self._batch, self._positions)
        columns = self._batch.input_ids.shape
        if site.kind == "module":
            tensor = token_grid(tensor, site, columns)
        elif site.kind != "logits":
            tensor = tensor.reshape(*columns, *self._network.body.shape(site.kind))
        return tensor.clone() if self._all else tensor[self._rows.to(tensor.device), self._columns.to(tensor.device)]


def positions_in(rows: Sequence[Row], asked: PositionsLike) -> tuple[tuple[int, ...], ...]:
    """Return the asked positions of every prompt."""
    where = Positions.parse(asked)
    if where.kind == "generated":
        raise BadArgument("positions='generated' means tokens that the model writes; a run over prompts has none.")
    return tuple(where.in_prompt(row) for row in rows)


def kept_columns(
    network: Network, batch: Batch, wanted: tuple[tuple[int, ...], ...], *, whole: bool
) -> tuple[list[int], dict[str, Any]]:
    """Return the columns whose logits the pass will compute, and the argument that says so."""
    columns = sorted({start + p for start, positions in zip(batch.starts, wanted, strict=True) for p in positions})
    n = batch.n_columns
    if whole or len(columns) == n or "logits_to_keep" not in network.parameters_of_forward:
        return list(range(n)), {}
    if columns == list(range(n - len(columns), n)):
        return columns, {"logits_to_keep": len(columns)}
    return columns, {"logits_to_keep": torch.tensor(columns, device=network.device)}


def _pad(rows: list[Tensor]) -> Tensor:
    """Stack rows of different length, filling with NaN at the end."""
    longest = max(len(row) for row in rows)
    if all(len(row) == longest for row in rows):
        return torch.stack(rows)
    filled = [torch.cat([row, row.new_full((longest - len(row), *row.shape[1:]), float("nan"))]) for row in rows]
    return torch.stack(filled)


def _own_pattern(weights: Tensor, batch: Batch, positions: Sequence[Sequence[int]]) -> Tensor:
    """Return attention weights among each row's own tokens: (batch, head, query_pos, key_pos), NaN beyond the row."""
    n_queries = max(len(row) for row in positions)
    out = weights.new_full((*weights.shape[:2], n_queries, batch.n_columns), float("nan"))
    for row, (start, n, queries) in enumerate(zip(batch.starts, batch.lengths, positions, strict=True)):
        keys = weights[row, :, :, start : start + n]
        out[row, :, : len(queries), :n] = keys[:, [start + query for query in queries]]
    return out


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Put the module in eval mode, and each part back into its own mode afterwards."""
    training = [part for part in module.modules() if part.training]
    if training:  # eval() visits every part, which sweeps with many short passes would feel
        module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
