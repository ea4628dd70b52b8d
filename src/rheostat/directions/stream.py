"""Activations of many texts, batch by batch in the order of their lengths: each text passes once, for all sites."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, DirectionNotUsable
from rheostat.capture.activations import Activations
from rheostat.directions.texts import Indices, LabelledTexts
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import Site


@dataclass(frozen=True, eq=False)
class Batch:
    """What some texts have at every site."""

    texts: Indices
    """Which texts; of pairs both, positive and negative in turns."""
    activations: dict[str, Float[Tensor, "text width"]]
    """Site → one row per text in float64, averaged over the tokens that were read."""
    shapes: dict[str, tuple[int, ...]]
    """Site → shape of one token."""
    embeddings: Float[Tensor, "text d_model"] | None
    """Mean over all of a text's tokens of what enters block 0, where asked for."""


def stream(
    network: Network,
    texts: LabelledTexts,
    chosen: Indices,
    sites: Sequence[Site],
    *,
    positions: PositionsLike,
    batch_size: int,
    embeddings: bool = False,
) -> Iterator[Batch]:
    """Yield the chosen texts in batches of about equal lengths, so that few pads pass through the network.

    Args:
        network: a language model.
        texts: all texts.
        chosen: indices of those to run; of pairs both.
        sites: to read.
        positions: of each text; several are averaged. `all` and `prompt` are every token but the first, whose
            activation is far larger than any other in many models, so that a mean with it would tell the text's length;
            `slice(None)` names it too.
        batch_size: texts per pass.
        embeddings: read token embeddings too; that pass ends before the first block.

    Raises:
        BadArgument: `batch_size` is below 1.
        DirectionNotUsable: the network gives NaN or infinity at a site, or a text has no token but the first.
    """
    if batch_size < 1:
        raise BadArgument(f"batch_size={batch_size}: at least 1.")
    where = Positions.parse(positions)
    if where.kind in ("all", "prompt"):
        if (short := chosen[texts.lengths[chosen] < 2]).size:
            raise DirectionNotUsable(
                f"text {short[0]} ({texts.texts[short[0]]!r:.40}) has one token, and positions={where.kind!r} leaves "
                "the first out. Read it too with slice(None), or read the last alone."
            )
        where = Positions.parse(slice(1, None))
    for batch in _batches(texts, chosen, batch_size):
        prompts = [texts.texts[index] for index in batch]
        held = capture(network, prompts, list(sites), positions=where)
        embedded = capture(network, prompts, "embed", positions="all") if embeddings else None
        yield Batch(
            texts=batch,
            activations={str(site): _rows(held, str(site)) for site in sites},
            shapes={str(site): tuple(held[site].shape[2:]) for site in sites},
            embeddings=None if embedded is None else _rows(embedded, "embed"),
        )


def _batches(texts: LabelledTexts, chosen: Indices, size: int) -> list[Indices]:
    if not texts.paired:
        order = chosen[np.argsort(texts.lengths[chosen], kind="stable")]
        return [order[first : first + size] for first in range(0, len(order), size)]
    firsts = chosen[::2]
    longest = np.maximum(texts.lengths[firsts], texts.lengths[firsts + 1])
    order = firsts[np.argsort(longest, kind="stable")]
    n = max(1, size // 2)
    return [
        np.stack([order[first : first + n], order[first : first + n] + 1], axis=1).ravel()
        for first in range(0, len(order), n)
    ]


def _rows(held: Activations, site: str) -> Float[Tensor, "text width"]:
    tensor = held[site]
    if tensor.shape[1] > 1:
        tensor = torch.stack([wide(row).mean(0, keepdim=True) for row in held.rows(site)])
    rows = wide(tensor[:, 0]).flatten(1)
    if not bool(torch.isfinite(rows).all()):
        raise DirectionNotUsable(f"{held.model} gives NaN or infinity at {site}, so no direction can be fitted there.")
    return rows


def wide(tensor: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return a tensor in float64, on the CPU where its device has none."""
    here = tensor.detach()
    return (here.cpu() if here.device.type == "mps" else here).double()
