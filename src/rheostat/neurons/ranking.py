"""`Ranking`: how much each unit of a site matters to a topic, block by block; its highest make a `Cluster`."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, ClusterNotUsable
from rheostat.models.network import Network
from rheostat.neurons.cluster import Cluster, n_of_share


@dataclass(frozen=True, eq=False)
class Ranking:
    """A score per unit of one kind of site in some blocks. Higher matters more; orders within a block count."""

    kind: str
    """Kind of site: `neurons`, `mlp_out`, `mlp_in`, …"""
    scores: Mapping[int, Float[Tensor, " unit"]]
    """Block → score of each unit, in float64 on the CPU."""
    method: str
    """How it was made: `attribution`, `activation_difference`, …"""
    topic: str
    model: str
    weights: str
    """Hash of the weights that it was made on."""

    def __post_init__(self) -> None:
        if not self.scores:
            raise ClusterNotUsable(f"the ranking {self.method} of {self.topic} holds no block.")
        for block, scores in self.scores.items():
            if bool(torch.isnan(scores).any()):
                raise ClusterNotUsable(f"the ranking {self.method} of {self.topic} holds NaN in block {block}.")

    def top(self, share: float = 0.02) -> Cluster:
        """Return the highest units of each block, ties to the lower unit.

        Args:
            share: of each block's units, above 0, at most 1; at least one unit a block.

        Raises:
            BadArgument: the share lies outside its range.
        """
        units = {
            block: tuple(sorted(torch.argsort(-scores, stable=True)[: n_of_share(share, len(scores))].tolist()))
            for block, scores in self.scores.items()
        }
        return Cluster(self.kind, units, method=self.method, topic=self.topic, model=self.model, weights=self.weights)


def random_ranking(network: Network, kind: str, *, seed: int) -> Ranking:
    """Return a random order of the units of every block: the control of every other ranking.

    Raises:
        BadArgument: the seed is negative.
    """
    if seed < 0:
        raise BadArgument(f"seed={seed}: 0 or above.")
    n_units = network.body.shape(kind)[0]
    generator = torch.Generator().manual_seed(seed)
    scores = {block: torch.randperm(n_units, generator=generator).double() for block in range(network.n_blocks)}
    return Ranking(kind, scores, method="random", topic=f"seed {seed}", model=network.name, weights=network.weight_hash)
