"""The shared run of a sweep: one pass over a prompt, whose activations, keys and values all its cells begin from.

It is unedited, or carries the edits that cells have as their base.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import Plan, PlanLike, as_plan
from rheostat.engine.batch import as_prompts, build_batch
from rheostat.engine.clock import Clock
from rheostat.engine.forward import Reader, bind, kept_columns, passing, positions_in
from rheostat.engine.taps import attach_clock
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import Site, SiteLike, resolve

NO_EDITS = Plan()


@dataclass(frozen=True)
class CleanRun:
    """What the network computes on one prompt, unedited or under a base."""

    row: Row
    asked: tuple[int, ...]
    """The positions whose logits were asked for."""
    logits: Tensor
    """(pos, d_vocab) at the positions asked for."""
    borders: tuple[Tensor, ...]
    """The residual stream (pos, d_model) before each block, and after the last."""
    sites: dict[Site, Tensor]
    """(pos, …site) at further sites."""
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Keys and values (1, head, pos, d_head) of each block."""
    module: nn.Module = field(repr=False)
    """What computed it."""
    base: Plan = NO_EDITS
    """The edits that it carries."""
    before: dict[Site, Tensor] = field(default_factory=dict)
    """(pos, …site) at each site of the base, before its edits; in the residual stream, before those of any name."""

    def at(self, site: Site) -> Tensor:
        """Return the activation (pos, …site) at a site that was asked for, or in the residual stream."""
        if site.kind == "embed":
            return self.borders[0]
        if site.kind in ("resid_pre", "resid_post"):
            assert site.block is not None
            return self.borders[site.block + (site.kind == "resid_post")]
        return self.sites[site]

    def entering(self, site: Site) -> Tensor:
        """Return the activation (pos, …site) that edits at a site meet: `at` without those of the base there."""
        held = self.before.get(_one_name(site))
        return self.at(site) if held is None else held

    def has(self, site: Site) -> bool:
        """Tell whether `at` can return a site."""
        return site.kind in ("embed", "resid_pre", "resid_post") or site in self.sites

    def activations(self, network: Network, sites: "SiteLike | Sequence[SiteLike]") -> dict[str, Tensor]:
        """Return site → (pos, …site), as patching from this prompt takes it.

        Raises:
            BadArgument: a site was not kept.
        """
        found = resolve(network, sites)
        self.check(found)
        return {str(site): self.at(site) for site in found}

    def check(self, sites: Iterable[Site]) -> None:
        """Refuse sites that were not kept.

        Raises:
            BadArgument: one was not.
        """
        if missing := [str(site) for site in sites if not self.has(site)]:
            raise BadArgument(f"the shared run did not keep {missing[0]}; name it in share_runs(…, sites).")

    def cache(self, n_tokens: int) -> Cache:
        """Return a cache that holds the first `n_tokens` once, for however many rows arrive."""
        prefix = [(keys[:, :, :n_tokens], values[:, :, :n_tokens]) for keys, values in self.layers]
        return Cache(layers=[_SharedLayer(keys, values) for keys, values in prefix])


def _one_name(site: Site) -> Site:
    """Return one site for all names of one tensor of the residual stream: what enters block 0, or leaves a block."""
    if site.kind == "resid_pre":
        return Site("resid_post", site.block - 1) if site.block else Site("embed")
    return site


class _SharedLayer(DynamicLayer):
    """Keys and values of a prefix that all rows share; what a pass adds is not kept."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers leaves it without types
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return the prefix followed by the new tokens, for each row."""
        assert self.keys is not None
        assert self.values is not None
        return _followed(self.keys, key_states), _followed(self.values, value_states)


def _followed(prefix: Tensor, states: Tensor) -> Tensor:
    """Put (row, head, pos, d_head) behind a prefix of one row."""
    if not prefix.shape[-2]:
        return states
    return torch.cat([prefix.expand(states.shape[0], -1, -1, -1), states], dim=-2)


def share_runs(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    sites: "SiteLike | Sequence[SiteLike]" = (),
    *,
    logits_at: PositionsLike = "last",
    base: PlanLike = None,
) -> list[CleanRun]:
    """Run prompts for sweeps over them; prompts of one length, such as a clean and a corrupt one, together.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        sites: activations to keep beside the residual stream: those that cells edit or that patching reads.
        logits_at: positions that the sweeps will ask for.
        base: the cells' base; None: unedited runs, for cells without one.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: the base cannot be carried.
    """
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    asked = positions_in(rows, logits_at)
    found = resolve(network, sites) if sites else ()
    runs: dict[int, CleanRun] = {}
    for length in dict.fromkeys(map(len, rows)):
        members = [index for index, row in enumerate(rows) if len(row) == length]
        chosen = [rows[index] for index in members], found, [asked[index] for index in members]
        runs.update(zip(members, run_clean(network, *chosen, as_plan(base)), strict=True))
    ordered = [runs[index] for index in range(len(rows))]
    if not as_plan(base):  # which may treat the prompts' common beginning differently
        for other in ordered[1:]:
            _take_beginning(ordered[0], other)
    return ordered


def _take_beginning(first: CleanRun, other: CleanRun) -> None:
    """Give two runs one copy of what they compute before their prompts differ.

    Attention is causal, so it is the same; but float noise may depend on a row's place in a batch, and patching then
    finds changes where there are none.
    """
    pairs = zip(first.row.ids, other.row.ids, strict=False)
    n = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    for source, target in zip(first.borders, other.borders, strict=True):
        target[:n] = source[:n]
    for site, target in other.sites.items():
        if site.kind not in ("pattern", "module"):
            target[:n] = first.sites[site][:n]


def run_clean(
    network: Network,
    rows: Sequence[Row],
    sites: Sequence[Site],
    asked: Sequence[tuple[int, ...]],
    base: Plan = NO_EDITS,
) -> list[CleanRun]:
    """Run the network once over rows of one length, keeping what cells begin from.

    Args:
        network: the loaded network.
        rows: prompts of one length.
        sites: further sites to keep.
        asked: per row, the positions to unembed.
        base: edits that the run carries.
    """
    batch = build_batch(network, rows)
    n_blocks = network.n_blocks
    program = bind(network, rows, base, None)
    residual = [Site("resid_pre", block) for block in range(n_blocks)] + [Site("resid_post", n_blocks - 1)]
    others = [site for site in sites if site.kind not in ("embed", "resid_pre", "resid_post")]
    everywhere = tuple(tuple(range(len(row))) for row in rows)
    named = [_one_name(site) for site in program.sites if site.kind not in ("module", "pattern")]
    unedited = Reader(network, tuple(dict.fromkeys(named)), batch, everywhere)
    reader = Reader(network, [*residual, *others], batch, everywhere)
    whole = any(site.kind == "logits" for site in (*others, *program.sites))
    kept, arguments = kept_columns(network, batch, tuple(asked), whole=whole)
    layers = [DynamicLayer() for _ in range(n_blocks)]  # layers that slide would forget what later passes need
    cache = Cache(layers=list(layers))
    with passing(network, gradients=False) as stack:
        clock = Clock(batch.lengths)
        attach_clock(stack, network.module, clock.read)
        unedited.attach(stack, stop=False)
        program.attach(stack, clock)
        reader.attach(stack, stop=False)
        logits = network.module(**batch.arguments(network), **arguments, use_cache=True, past_key_values=cache).logits
    program.receipt()
    read, before = reader.activations(), unedited.activations()
    held = [_kept(layer) for layer in layers]
    return [
        CleanRun(
            row=row,
            asked=positions,
            logits=logits[index, [kept.index(position) for position in positions]],
            borders=tuple(read[site][index] for site in residual),
            sites={site: read[site][index] for site in others},
            layers=tuple((keys[index : index + 1], values[index : index + 1]) for keys, values in held),
            module=network.module,
            base=base,
            before={site: before[site][index] for site in unedited.sites},
        )
        for index, (row, positions) in enumerate(zip(rows, asked, strict=True))
    ]


def _kept(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values
