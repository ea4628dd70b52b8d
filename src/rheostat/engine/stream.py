"""Capture over many prompts, batch by batch, straight into a safetensors file if asked; and its cost beforehand."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rheostat.base.errors import BadArgument, SiteNotOffered
from rheostat.base.files import output_path
from rheostat.capture.activations import Activations, activations_metadata
from rheostat.capture.writer import row_writer
from rheostat.engine.batch import as_prompts
from rheostat.engine.forward import capture
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import Site, SiteLike, axes, resolve


@dataclass(frozen=True)
class CaptureCost:
    """What a capture will store and compute, stated before it runs."""

    sites: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    """Site → (batch, pos, …)."""
    axes: dict[str, tuple[str, ...]]
    n_rows: int
    n_tokens: int
    """Tokens that pass through the network, pads not counted."""
    stored_tokens: int
    """Positions stored per site, over all rows."""
    blocks_run: int
    """The pass stops after this many blocks."""
    n_blocks: int
    bytes: int

    def __str__(self) -> str:
        size = f"{self.bytes / 1e6:.2f} MB" if self.bytes < 1e9 else f"{self.bytes / 1e9:.2f} GB"
        each = [f"  {site}: " + " × ".join(map(str, shape)) for site, shape in self.shapes.items()]
        head = (
            f"{len(self.sites)} sites, {self.n_rows} rows, {self.n_tokens} tokens through {self.blocks_run} of "
            f"{self.n_blocks} blocks; stores {self.stored_tokens} positions per site, {size}"
        )
        return "\n".join([head, *each])


def explain_capture(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    positions: PositionsLike = "all",
) -> CaptureCost:
    """State what a capture would store, without running anything.

    Raises:
        SiteNotFound, PositionNotFound
    """
    found = resolve(network, sites)
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    where = Positions.parse(positions)
    counts = [len(where.in_prompt(row)) for row in rows]
    if any(site.kind in ("module", "pattern") for site in found):
        raise SiteNotOffered("the size of module paths and patterns is known only while they run; leave them out here.")
    shapes = {str(site): (len(rows), max(counts), *network.body.shape(site.kind)) for site in found}
    per_site = {site: math.prod(shape) * network.dtype.itemsize for site, shape in shapes.items()}
    return CaptureCost(
        sites=tuple(shapes),
        shapes=shapes,
        axes={str(site): axes(site) for site in found},
        n_rows=len(rows),
        n_tokens=sum(map(len, rows)),
        stored_tokens=sum(counts),
        blocks_run=blocks_run(network, found),
        n_blocks=network.n_blocks,
        bytes=sum(per_site.values()),
    )


def capture_batches(
    network: Network,
    prompts: Sequence[Prompt],
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    positions: PositionsLike = "all",
    batch_size: int = 32,
) -> Iterator[Activations]:
    """Yield the activations of consecutive batches of prompts."""
    if batch_size < 1:
        raise BadArgument(f"batch_size={batch_size}: at least 1.")
    listed = as_prompts(prompts, network)
    for first in range(0, len(listed), batch_size):
        yield capture(network, listed[first : first + batch_size], sites, positions=positions)


def capture_to_file(
    network: Network,
    prompts: Sequence[Prompt],
    sites: "SiteLike | Sequence[SiteLike]",
    path: str | Path,
    *,
    positions: PositionsLike = "all",
    batch_size: int = 32,
    overwrite: bool = False,
) -> CaptureCost:
    """Stream activations into a safetensors file that `Activations.load` reads; memory holds one batch at a time.

    Raises:
        WouldOverwrite: the file exists and `overwrite` is false.
    """
    cost = explain_capture(network, prompts, sites, positions=positions)
    where = Positions.parse(positions)
    held = [where.in_prompt(network.row(prompt)) for prompt in as_prompts(prompts, network)]
    metadata = activations_metadata(cost.axes, held, network.name)
    first = 0
    with row_writer(output_path(Path(path), overwrite=overwrite), cost.shapes, network.dtype, metadata) as writer:
        for part in capture_batches(network, prompts, sites, positions=positions, batch_size=batch_size):
            for site, tensor in part.items():
                shape = cost.shapes[site]
                full = tensor.new_full((tensor.shape[0], *shape[1:]), float("nan"))
                full[:, : tensor.shape[1]] = tensor
                writer.write(site, first, full)
            first += len(part.positions)
    return cost


def blocks_run(network: Network, sites: Sequence[Site]) -> int:
    """Return how many blocks a pass computes, wholly or in part, until the last of some sites is known."""
    if any(site.block is None and site.kind != "embed" for site in sites):
        return network.n_blocks
    return max((site.block + (site.kind != "resid_pre") for site in sites if site.block is not None), default=0)
