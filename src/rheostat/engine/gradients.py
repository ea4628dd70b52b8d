"""Gradients of a number with respect to activations: what the number would gain per unit of change at each site.

At each site a tensor of zeros is added to the activation, and the gradient is taken with respect to these zeros. So it
is the gradient of exactly what an edit there would change, skip paths included, and the pass gives the same numbers as
without. Nothing is left behind: no hook, and no `.grad` on any parameter, which need no gradient themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, SiteNotOffered
from rheostat.engine.batch import Batch, build_batch
from rheostat.engine.binding import as_grid
from rheostat.engine.forward import kept_columns, passing
from rheostat.engine.taps import attach
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.site import Site, SiteLike, resolve, tap


@dataclass(frozen=True)
class SiteGradients:
    """One or several runs of a prompt: a number of each, activations, and the number's gradients with respect to them.

    Both mappings go from the site's name to a tensor (run, pos, …site), detached, at all positions of the prompt.
    """

    values: Float[Tensor, " run"]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]


def site_gradients(
    network: Network,
    prompt: Prompt,
    sites: "SiteLike | Sequence[SiteLike]",
    of: Callable[[Tensor], Tensor],
    *,
    logits_at: Sequence[int],
    moved: Float[Tensor, "run pos d_model"] | None = None,
) -> SiteGradients:
    """Run a prompt forward and backward once, and return the gradients of a number at every site.

    Args:
        network: the loaded network.
        prompt: one text or list of token ids.
        sites: named sites, or patterns; module paths and attention weights have none here.
        of: from the logits (run, pos, d_vocab) at `logits_at` to one number per run (run,).
        logits_at: positions of the prompt, counted from its beginning.
        moved: added to what enters block 0, for each run; None: one run, unmoved.

    Raises:
        SiteNotFound, SiteNotOffered: before anything is registered on the module.
        BadArgument: the number does not depend on the logits in a way that has a gradient.
    """
    found = resolve(network, sites)
    for site in found:
        if site.kind in ("module", "pattern"):
            raise SiteNotOffered(f"{site} has no gradient here: it is read, or a module path. Name another site.")
    row = network.row(prompt)
    batch = build_batch(network, [row] * (1 if moved is None else len(moved)))
    whole = any(site.kind == "logits" for site in found)
    asked = (tuple(logits_at),) * len(batch.rows)
    kept, arguments = kept_columns(network, batch, asked, whole=whole)
    with passing(network, gradients=True) as stack:
        if moved is not None:
            attach(stack, network.module, tap(network, Site("embed")), lambda tensor: tensor + moved)
        probes = Probes(network, found, batch)
        probes.attach(stack)
        logits = network.module(**batch.arguments(network), **arguments, use_cache=False).logits
        values = of(logits[:, [kept.index(position) for position in logits_at]])
    if not values.requires_grad:
        raise BadArgument("this measure has no gradient: it counts or compares. Use one such as LogitDifference.")
    gradients = torch.autograd.grad(values.sum(), list(probes.zeros.values()), allow_unused=True)
    return SiteGradients(
        values.detach(),
        {str(site): probes.shaped(site, probes.seen[site]) for site in found},
        {
            str(site): probes.shaped(site, torch.zeros_like(zeros) if gradient is None else gradient)
            for (site, zeros), gradient in zip(probes.zeros.items(), gradients, strict=True)
        },
    )


class Probes:
    """The zeros that are added at each site, and the activations that they met."""

    def __init__(self, network: Network, sites: Sequence[Site], batch: Batch) -> None:
        self._network = network
        self._columns = batch.input_ids.shape
        self._taps = {site: tap(network, site) for site in sites}
        self.seen: dict[Site, Tensor] = {}
        self.zeros: dict[Site, Tensor] = {}

    def attach(self, stack: ExitStack) -> None:
        """Add zeros at every site, until the stack closes."""
        for site, where in self._taps.items():

            def visit(tensor: Tensor, site: Site = site, shared: bool = where.side == "shared") -> Tensor | None:
                self.seen[site] = tensor.detach().clone()
                zeros = self.zeros[site] = torch.zeros_like(tensor, requires_grad=True)
                if shared:
                    tensor.add_(zeros)
                return None if shared else tensor + zeros

            attach(stack, self._network.module, where, visit)

    def shaped(self, site: Site, tensor: Tensor) -> Tensor:
        """Return a tensor of a site as (run, pos, …site)."""
        return as_grid(tensor, site, self._columns, self._network)
