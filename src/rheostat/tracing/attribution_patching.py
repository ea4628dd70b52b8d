"""Attribution patching: the first-order estimate of activation patching, from one gradient instead of a run per place.

To first order, putting the source prompt's activation a′ in the place of a moves the metric by (a′ − a) · ∂metric/∂a,
where the gradient is that of the target prompt's own run (Nanda 2023, Attribution patching; Syed et al. 2023,
arXiv:2310.10348). One forward pass of the source and one forward and backward pass of the target give this for every
site, token and unit at once. With several steps the gradient is averaged along the straight path between the two
prompts' embeddings (Hanna et al. 2024, arXiv:2403.17806). An estimate is no measurement: `docs/sweeps.md` says how well
it agrees with patching, and where it does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.engine.forward import capture
from rheostat.engine.gradients import site_gradients
from rheostat.metrics.metric import Metric
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import SiteLike, resolve
from rheostat.tracing.patching import Direction, Pair, Patching, check_lengths, shared_positions, site_pattern


@dataclass(frozen=True)
class Attribution:
    """The estimated effects of patching one prompt's activations into another's run, coordinate by coordinate."""

    value: float
    """The metric of the target's unpatched run."""
    positions: tuple[int, ...]
    differences: Mapping[str, Tensor]
    """Site → (pos, …site): the source's activation minus the target's."""
    gradients: Mapping[str, Tensor]
    """Site → (pos, …site): of the metric, in the target's run."""

    def effects(self, site: str) -> Float[Tensor, "pos *site"]:
        """Return the estimated change of the metric (pos, …site); sums over coordinates estimate joint patches."""
        return self.differences[site] * self.gradients[site]

    def table(self, *, by_unit: bool = False) -> pd.DataFrame:
        """Return rows {site, position, [unit], effect}: one per site and position, or per head, neuron or dimension."""
        parts = []
        for site in self.differences:
            effects = self.effects(site)
            each = effects.reshape(*effects.shape[: 1 + by_unit], -1).sum(-1).double().cpu()
            n_units = each.shape[1] if by_unit else 1
            labels = {"position": np.repeat(self.positions, n_units)}
            if by_unit:
                labels["unit"] = np.tile(np.arange(n_units), len(self.positions))
            parts.append(pd.DataFrame({"site": site, **labels, "effect": each.flatten().numpy()}))
        return pd.concat(parts, ignore_index=True)


def attributions(
    network: Network,
    source: Prompt,
    target: Prompt,
    metric: Metric,
    sites: "SiteLike | Sequence[SiteLike]",
    *,
    positions: PositionsLike = "all",
    steps: int = 1,
) -> Attribution:
    """Estimate what putting the source's activations into the target's run would do to a metric.

    Args:
        network: the loaded network.
        source: the prompt whose activations would be put in.
        target: a prompt with as many tokens, into whose run they would be put.
        metric: any that has a gradient; it is measured on the target.
        sites: named sites or patterns.
        positions: tokens to patch, the same in both prompts; a substring may stand in either.
        steps: of the gradient's average: 1 for that of the target's run itself; m > 1 for the mean over the middles of
            m equal parts of the path from the target's embeddings to the source's.

    Raises:
        BadArgument: the prompts differ in length, a substring covers other tokens in one than in the other, `steps` is
            below 1, or the metric has no gradient.
        SiteNotFound, SiteNotOffered, PositionNotFound, NotOneToken
    """
    if steps < 1:
        raise BadArgument(f"steps={steps}: at least 1.")
    rows = [network.row(prompt) for prompt in (source, target)]
    check_lengths(network, *rows)
    (bound,) = metric.bind(network, [rows[1]])
    if bound.needs_clean:
        raise BadArgument(f"{metric.column} is smallest at the unpatched run, where its gradient is 0: no estimate.")
    names = [str(site) for site in resolve(network, sites)]
    asked = shared_positions(rows[0], rows[1], positions)
    theirs = capture(network, [source], list(dict.fromkeys([*names, *(["embed"] if steps > 1 else [])])))
    own = site_gradients(network, target, [*names, "embed"] if steps > 1 else names, bound, logits_at=bound.positions)
    gradients = own.gradients
    if steps > 1:
        path = theirs["embed"][0] - own.activations["embed"][0]
        middles = (torch.arange(steps, device=path.device, dtype=path.dtype) + 0.5) / steps
        moved = middles[:, None, None] * path
        gradients = site_gradients(network, target, names, bound, logits_at=bound.positions, moved=moved).gradients
    where = list(asked)
    return Attribution(
        value=float(own.values[0]),
        positions=asked,
        differences={name: (theirs[name][0] - own.activations[name][0])[where] for name in names},
        gradients={name: gradients[name].mean(0)[where] for name in names},
    )


def attribute_patching(
    network: Network,
    clean: Prompt,
    corrupt: Prompt,
    *,
    answer: str | int,
    versus: str | int,
    kind: str = "resid_pre",
    positions: PositionsLike = "all",
    direction: Direction = "denoise",
    by_unit: bool = False,
    top: int | None = None,
    steps: int = 1,
) -> Patching:
    """Estimate what `patch_activations` would measure, by attribution patching.

    The arguments are those of `patch_activations`. Logit differences and scores are those of the unpatched run plus
    the estimated change.

    Args:
        network: the loaded network.
        clean: the prompt whose answer is `answer`.
        corrupt: a prompt with as many tokens whose answer is `versus`.
        answer: one token, such as `" Berlin"`.
        versus: the token that it is compared with.
        kind: of the sites: `resid_pre`, `attn_out`, `mlp_out`, `heads`, `neurons`, …, or `embed`, `final`, `logits`.
        positions: tokens to patch, the same in both prompts; a substring may stand in either.
        direction: `denoise`: clean activations into the corrupted run; `noise`: the reverse.
        by_unit: estimate each head (of `heads`), neuron or dimension alone.
        top: return only so many rows: those of the largest estimated change, the largest first; None: all.
        steps: see `attributions`.

    Raises:
        BadArgument: the prompts differ in length, a substring covers other tokens in one than in the other, the two
            runs prefer the answer equally, an unknown direction, or `top` or `steps` is below 1.
        NotOneToken, SiteNotOffered, PositionNotFound
    """
    sites = site_pattern(network, kind)
    check_top(top)
    pair = Pair.of(network, clean, corrupt, answer=answer, versus=versus, direction=direction)
    found = attributions(network, pair.source, pair.target, pair.metric, sites, positions=positions, steps=steps)
    table = found.table(by_unit=by_unit)
    if top is not None:
        table = table.loc[table["effect"].abs().sort_values(ascending=False, kind="stable").index[:top]]
    table = table.assign(logit_difference=pair.unchanged + table["effect"]).drop(columns="effect")
    return pair.patching(network, kind, table, estimated=True, top=top)


def check_top(top: int | None) -> None:
    """Refuse to keep fewer places than one.

    Raises:
        BadArgument: `top` is below 1.
    """
    if top is not None and top < 1:
        raise BadArgument(f"top={top}: at least 1, or leave it out for all.")
