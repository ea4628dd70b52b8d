"""Gradients of a number of each of several prompts, in one padded pass: every prompt as if alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, SiteNotOffered
from rheostat.engine.batch import as_prompts, build_batch
from rheostat.engine.forward import kept_columns, passing
from rheostat.engine.gradients import Probes
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.site import SiteLike, resolve


@dataclass(frozen=True)
class RowGradients:
    """A number of each prompt, and what it would gain per unit of change at each site, at chosen tokens.

    Both mappings go from the site's name to one tensor (pos, …site) per prompt, detached.
    """

    values: Float[Tensor, " row"]
    activations: Mapping[str, tuple[Tensor, ...]]
    gradients: Mapping[str, tuple[Tensor, ...]]


def row_gradients(
    network: Network,
    prompts: Sequence[Prompt],
    sites: "SiteLike | Sequence[SiteLike]",
    of: Sequence[Callable[[Tensor], Tensor]],
    *,
    logits_at: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
) -> RowGradients:
    """Run several prompts forward and backward once; the numbers are those of `site_gradients` prompt by prompt.

    Args:
        network: the loaded network.
        prompts: texts or lists of token ids; memory grows with their number times the longest.
        sites: named sites, or patterns; module paths, attention weights and logits have none here.
        of: per prompt, from its logits (1, pos, d_vocab) at `logits_at` to a number (1,).
        logits_at: per prompt, positions counted from its beginning.
        positions: per prompt, the tokens whose activations and gradients are returned.

    Raises:
        SiteNotFound, SiteNotOffered: before anything is registered on the module.
        BadArgument: a number does not depend on the logits in a way that has a gradient, or a list has another length.
    """
    found = resolve(network, sites)
    for site in found:
        if site.kind in ("module", "pattern", "logits"):
            raise SiteNotOffered(f"{site} has no gradient of several prompts here. Name another site.")
    rows = [network.row(prompt) for prompt in as_prompts(prompts, network)]
    if not len(rows) == len(of) == len(logits_at) == len(positions):
        raise BadArgument(f"{len(rows)} prompts need as many numbers, logits_at and positions.")
    batch = build_batch(network, rows)
    wanted = tuple(map(tuple, logits_at))
    kept, arguments = kept_columns(network, batch, wanted, whole=False)
    with passing(network, gradients=True) as stack:
        probes = Probes(network, found, batch)
        probes.attach(stack)
        logits = network.module(**batch.arguments(network), **arguments, use_cache=False).logits
        values = [
            number(logits[row : row + 1, [kept.index(start + position) for position in asked]])
            for row, (number, start, asked) in enumerate(zip(of, batch.starts, wanted, strict=True))
        ]
    if not all(value.requires_grad for value in values):
        raise BadArgument("this measure has no gradient: it counts or compares. Use one such as Loss.")
    total = torch.cat(values)
    gradients = torch.autograd.grad(total.sum(), list(probes.zeros.values()), allow_unused=True)
    columns = [[start + one for one in asked] for start, asked in zip(batch.starts, positions, strict=True)]
    return RowGradients(
        total.detach(),
        {str(site): _rows(probes.shaped(site, probes.seen[site]), columns) for site in found},
        {
            str(site): _rows(probes.shaped(site, torch.zeros_like(zeros) if one is None else one), columns)
            for (site, zeros), one in zip(probes.zeros.items(), gradients, strict=True)
        },
    )


def _rows(tensor: Tensor, columns: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    return tuple(row[list(where)].clone() for row, where in zip(tensor, columns, strict=True))
