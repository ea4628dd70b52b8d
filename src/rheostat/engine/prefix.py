"""The shared run of a sweep: one clean pass over a prompt, whose activations, keys and values all cells begin from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from rheostat.engine.batch import build_batch
from rheostat.engine.forward import Reader, kept_columns, passing
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.site import Site


@dataclass(frozen=True)
class CleanRun:
    """What the unedited network computes on one prompt."""

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

    def at(self, site: Site) -> Tensor:
        """Return the activation (pos, …site) at a site that was asked for, or in the residual stream."""
        if site.kind == "embed":
            return self.borders[0]
        if site.kind in ("resid_pre", "resid_post"):
            assert site.block is not None
            return self.borders[site.block + (site.kind == "resid_post")]
        return self.sites[site]

    def cache(self, n_tokens: int) -> Cache:
        """Return a cache that holds the first `n_tokens` once, for however many rows arrive."""
        prefix = [(keys[:, :, :n_tokens], values[:, :, :n_tokens]) for keys, values in self.layers]
        return Cache(layers=[_SharedLayer(keys, values) for keys, values in prefix])


class _SharedLayer(DynamicLayer):
    """Keys and values of a prefix that all rows share; what a pass adds is not kept."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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


def run_clean(network: Network, row: Row, sites: Sequence[Site], asked: tuple[int, ...]) -> CleanRun:
    """Run the unedited network once, keeping the residual stream, keys and values of every block.

    Args:
        network: the loaded network.
        row: the prompt.
        sites: further sites to keep.
        asked: positions to unembed.
    """
    batch = build_batch(network, [row])
    body = network.body
    residual = [Site("resid_pre", block) for block in range(body.n_blocks)] + [Site("resid_post", body.n_blocks - 1)]
    others = [site for site in sites if site.kind not in ("embed", "resid_pre", "resid_post")]
    reader = Reader(network, [*residual, *others], batch, (tuple(range(len(row))),))
    kept, arguments = kept_columns(network, batch, (asked,), whole=any(site.kind == "logits" for site in others))
    layers = [DynamicLayer() for _ in range(body.n_blocks)]  # layers that slide would forget what later passes need
    cache = Cache(layers=list(layers))
    with passing(network, gradients=False) as stack:
        reader.attach(stack, stop=False)
        logits = network.module(**batch.arguments(network), **arguments, use_cache=True, past_key_values=cache).logits
    read = reader.activations()
    return CleanRun(
        row=row,
        asked=asked,
        logits=logits[0, [kept.index(position) for position in asked]],
        borders=tuple(read[site][0] for site in residual),
        sites={site: read[site][0] for site in others},
        layers=tuple(_kept(layer) for layer in layers),
    )


def _kept(layer: DynamicLayer) -> tuple[Tensor, Tensor]:
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values
