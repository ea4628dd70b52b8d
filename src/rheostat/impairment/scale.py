"""`measure_scale`: the standard deviation of activations at each site, so that an intensity can be relative to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.capture.activations import Activations
from rheostat.engine.stream import capture_batches
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import SiteLike, axes, resolve


def measure_scale(
    network: Network,
    prompts: Sequence[Prompt],
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    per_unit: bool = False,
    positions: PositionsLike = slice(1, None),
    batch_size: int = 16,
) -> Activations:
    """Return the standard deviation at each site, shaped as the activation of one token: (1, 1, …site).

    Args:
        network: a language model.
        prompts: texts to measure on; some hundred tokens in all.
        sites: names or patterns, such as `blocks.*.mlp_out`.
        per_unit: of each unit over tokens; else one number for the site, over tokens and units: the root of the mean
            variance of its units.
        positions: of each text. By default not the first token, at which many networks have activations hundreds of
            times larger than anywhere else.
        batch_size: texts per pass.

    Raises:
        BadArgument: fewer than two tokens are read.
        SiteNotFound, PositionNotFound
    """
    named = resolve(network, sites)
    n_tokens = 0
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    for held in capture_batches(network, prompts, list(named), positions=positions, batch_size=batch_size):
        n_tokens += sum(held.lengths)
        for site in map(str, named):
            for row in held.rows(site):
                values = row.detach().cpu().double()
                sums[site] = sums.get(site, torch.zeros(())) + values.sum(0)
                squares[site] = squares.get(site, torch.zeros(())) + values.square().sum(0)
    if n_tokens < 2:
        raise BadArgument(f"a spread over {n_tokens} tokens says nothing. Give longer or more texts.")
    tensors = {}
    for site in map(str, named):
        variance = ((squares[site] - sums[site].square() / n_tokens) / (n_tokens - 1)).clamp(min=0)
        spread = variance if per_unit else variance.mean().expand_as(variance)
        tensors[site] = spread.sqrt()[None, None].float()
    return Activations(tensors, {str(site): axes(site) for site in named}, ((0,),), network.name)
