"""Runs of a plain module: any inputs, sites by module path, edits row by row."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rheostat.base.errors import EditNotUsable, SiteNotOffered
from rheostat.capture.activations import Activations
from rheostat.edit.plan import PlanLike
from rheostat.edit.source import FromPrompt
from rheostat.engine.clock import Clock
from rheostat.engine.forward import as_plans, passing
from rheostat.engine.program import Program
from rheostat.engine.receipt import Receipt
from rheostat.engine.taps import attach
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.site import Site, SiteLike, axes, resolve, tap


@dataclass(frozen=True)
class PlainOutput:
    """What a run of a plain module returns."""

    output: Any
    """Whatever the module returned."""
    receipt: Receipt
    activations: Activations | None


def run_plain(
    network: Network,
    inputs: Tensor,
    *,
    edits: PlanLike = None,
    plans: Sequence[PlanLike] | None = None,
    capture: "SiteLike | Sequence[SiteLike]" = (),
    gradients: bool = False,
) -> PlainOutput:
    """Run a batch (first axis: rows) through a plain module with edits at module paths.

    Raises:
        SiteNotFound, EditNotUsable: before anything is registered on the module.
        EditNotApplied: an edit was not reached.
    """
    bound = as_plans(edits, plans, len(inputs))
    rows = [Row((0,)) for _ in range(inputs.shape[0])]
    program = Program(network, bound, rows, _no_prompts)
    sites = resolve(network, capture) if capture else ()
    found: dict[str, Tensor] = {}
    with passing(network, gradients=gradients) as stack:
        clock = Clock([1] * len(rows))
        clock.positions = torch.zeros(len(rows), 1, dtype=torch.long, device=inputs.device)
        clock.valid = torch.ones_like(clock.positions, dtype=torch.bool)
        program.attach(stack, clock)
        _read(stack, network, sites, found)
        output = network.module(inputs)
    activations = None
    if sites:
        if missing := [str(site) for site in sites if str(site) not in found]:
            raise SiteNotOffered(f"{missing[0]}: the forward pass calls no such module, so there is nothing to read.")
        names = {str(site): axes(site) for site in sites}
        activations = Activations(found, names, tuple((0,) for _ in rows), network.name)
    return PlainOutput(output, program.receipt(), activations)


def _read(stack: ExitStack, network: Network, sites: Sequence[Site], found: dict[str, Tensor]) -> None:
    for site in sites:

        def visit(tensor: Tensor, name: str = str(site)) -> None:
            found[name] = tensor.clone()

        attach(stack, network.module, tap(network, site), visit)


def _no_prompts(source: FromPrompt, sites: tuple[Site, ...]) -> Activations:
    raise EditNotUsable(
        f"a plain module reads no text, so {source.prompt!r} cannot be run. Give a tensor or activations."
    )
