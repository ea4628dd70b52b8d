"""Indirect effect, the causal way: what the answer's loss gains when one unit alone is held at its mean.

Held at the tokens that predict the answer, at the mean over all items that are given (the topic's and, where there
are any, the others'). Measuring every unit of every block would cost units × blocks × items runs. So all units are
screened by the first-order estimate Σ (mean − h) · g of that very effect (attribution patching, Nanda 2023), and the
best `SCREENED` share of each block is measured exactly, one unit at a time, on `N_ITEMS` items. Measured units are
scored by their mean effect in nats; the others stand below all measured, in the order of their estimates: a unit with
an effect that its gradient does not show is missed. Costs units × SCREENED × N_ITEMS short runs per block, which
share all that comes before the unit.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rheostat.edit.patching import Replace
from rheostat.engine.cells import Cell
from rheostat.metrics.loss import Loss
from rheostat.models.network import Network
from rheostat.neurons.cluster import n_of_share
from rheostat.neurons.methods.method import Method, Scores
from rheostat.neurons.observation import Asked, Observation
from rheostat.sweeps.sweep import sweep

SCREENED = 0.03
N_ITEMS = 5


def score(network: Network, target: Observation, others: Sequence[Observation]) -> Scores:
    """Return measured effects of the screened units, and for the rest what orders them below."""
    means = _means([target, *others])
    estimates = estimated_effects(target, means)
    screened = {
        block: each.argsort(descending=True, stable=True)[: n_of_share(SCREENED, len(each))].sort().values
        for block, each in estimates.items()
    }
    measured = measured_effects(network, target.asked, target.kind, screened, means, n_items=N_ITEMS)
    found = {}
    for block, each in estimates.items():
        below = each - each.max() + measured[block].min() - each.abs().max().clamp(min=1e-12)
        found[block] = below.index_copy(0, screened[block], measured[block])
    return found


def estimated_effects(target: Observation, means: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Return, block by block, the first-order estimate of every unit's effect (unit,) in nats."""
    return {
        block: (means[block] * target.gradient[block].double() - target.product[block].double()).mean(0)
        for block in target.gradient
    }


def measured_effects(
    network: Network,
    asked: Asked,
    kind: str,
    units: Mapping[int, Tensor],
    means: Mapping[int, Tensor],
    *,
    n_items: int,
) -> dict[int, Tensor]:
    """Return, block by block, what holding each of some units at its mean adds to the loss (unit,), in nats.

    Args:
        network: a language model.
        asked: items, of which `n_items` are measured, chosen by their tokens alone.
        kind: of the sites.
        units: block → units.
        means: block → mean of every unit.
        n_items: how many items.
    """
    chosen = sorted(range(len(asked.rows)), key=lambda item: _key(asked.rows[item]))[:n_items]
    labels = [(block, unit) for block, some in units.items() for unit in some.tolist()]
    total = torch.zeros(len(labels), dtype=torch.float64)
    for length in sorted({asked.n_answer_tokens[item] for item in chosen}):
        rows = [asked.rows[item] for item in chosen if asked.n_answer_tokens[item] == length]
        where = slice(-length - 1, -1)
        cells = [Cell(())] + [
            Cell(Replace(f"blocks.{block}.{kind}", means[block][[unit]], positions=where, units=(unit,)))
            for block, unit in labels
        ]
        table = sweep(network, rows, cells, Loss(slice(-length, None)), name="indirect effect")
        loss = torch.from_numpy(table["loss"].to_numpy().reshape(len(rows), len(cells)).copy())
        total += (loss[:, 1:] - loss[:, :1]).sum(0)
    parts = (total / len(chosen)).split([len(some) for some in units.values()])
    return dict(zip(units, parts, strict=True))


def _means(observations: Sequence[Observation]) -> dict[int, Tensor]:
    return {
        block: torch.cat([one.activation[block] for one in observations]).double().mean(0)
        for block in observations[0].activation
    }


def _key(row: Sequence[int]) -> str:
    return hashlib.sha256(repr(tuple(row)).encode()).hexdigest()


INDIRECT_EFFECT = Method("indirect_effect", score)
