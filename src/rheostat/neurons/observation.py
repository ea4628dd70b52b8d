"""`observe`: what units of one kind of site did while items were answered; all rankings but the random one read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.progress import progress as show_progress
from rheostat.engine.row_gradients import row_gradients
from rheostat.metrics.loss import Loss
from rheostat.models.network import Network
from rheostat.sites.site import resolve


@runtime_checkable
class Asked(Protocol):
    """Prompts with answers in a network's tokens, such as `tasks.item.ask` returns."""

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """Per item, the tokens of prompt and answer."""

    @property
    def n_answer_tokens(self) -> tuple[int, ...]:
        """Per item, how many of its last tokens are the answer."""


@dataclass(frozen=True, eq=False)
class Observation:
    """Activations and gradients at the tokens that predict the answers, item by item.

    With h the activation of a unit at such a token and g the gradient of the item's loss (the mean over its answer's
    tokens, in nats) with respect to it; all mappings go from block to (item, unit), on the CPU.
    """

    kind: str
    asked: Asked
    activation: Mapping[int, Float[Tensor, "item unit"]]
    """Mean h over the tokens."""
    attribution: Mapping[int, Float[Tensor, "item unit"]]
    """Mean |h·g| over the tokens."""
    gradient: Mapping[int, Float[Tensor, "item unit"]]
    """Sum of g over the tokens."""
    product: Mapping[int, Float[Tensor, "item unit"]]
    """Sum of h·g over the tokens."""

    def __len__(self) -> int:
        return len(self.asked.rows)


def observe(
    network: Network, asked: Asked, kind: str, *, batch_size: int = 16, progress: bool | None = None
) -> Observation:
    """Return what the units of every block did at the tokens that predict the answers.

    Costs one forward and one backward pass of every item.

    Args:
        network: a language model.
        asked: items in its tokens.
        kind: of a site whose units are single numbers: `neurons`, `mlp_in`, `mlp_out`, `attn_out`, `resid_post`, …
        batch_size: items per pass.
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Raises:
        BadArgument: the kind's units are no single numbers (`heads`), or there is no item.
        SiteNotFound, SiteNotOffered
    """
    sites = resolve(network, f"blocks.*.{kind}")
    if len(network.body.shape(kind)) != 1:
        raise BadArgument(f"units of {kind} are no single numbers. Rank units of neurons, mlp_in or mlp_out.")
    if not asked.rows or batch_size < 1:
        raise BadArgument(f"{len(asked.rows)} items in batches of {batch_size}: at least 1 of each.")
    found: dict[str, list[Tensor]] = {str(site): [] for site in sites}
    by_length = sorted(range(len(asked.rows)), key=lambda item: len(asked.rows[item]))
    with show_progress(f"observing {kind}", len(by_length), show=progress) as advance:
        for first in range(0, len(by_length), batch_size):
            items = by_length[first : first + batch_size]
            for name, parts in _batch(network, asked, items, list(found)).items():
                found[name] += parts
            advance(len(items))
    back = torch.tensor(by_length).argsort()
    whole = {site.block: torch.stack(found[str(site)])[back] for site in sites if site.block is not None}
    measures = [{block: tensor[:, place] for block, tensor in whole.items()} for place in range(4)]
    return Observation(kind, asked, *measures)


def _batch(network: Network, asked: Asked, items: Sequence[int], sites: list[str]) -> dict[str, list[Tensor]]:
    """Return per site, for each item, the four measures (measure, unit)."""
    bound = [
        Loss(slice(-asked.n_answer_tokens[item], None)).bind(network, [network.row(list(asked.rows[item]))])[0]
        for item in items
    ]
    rows, places = [list(asked.rows[item]) for item in items], [one.positions for one in bound]
    found = row_gradients(network, rows, sites, bound, logits_at=places, positions=places)
    return {
        site: [
            torch.stack([h.mean(0), (h * g).abs().mean(0), g.sum(0), (h * g).sum(0)]).cpu()
            for h, g in zip(found.activations[site], found.gradients[site], strict=True)
        ]
        for site in sites
    }
