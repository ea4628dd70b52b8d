"""How far an edit moved the next-token distribution away from the clean run's."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from rheostat.metrics.logits import kl_divergence
from rheostat.metrics.metric import Bound, Metric, identify
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True)
class KLToClean(Metric):
    """KL(clean ‖ edited) in nats, at least 0, averaged over positions; 0 where the edit changed nothing.

    Reference: as a measure of what an edit changed, Conmy et al. 2023 (arXiv:2304.14997), section 2.
    """

    at: PositionsLike = field(default="last", kw_only=True)
    """After which positions the distributions are compared."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", Positions.parse(self.at))

    @property
    def column(self) -> str:
        """Its name in tables."""
        return "kl_to_clean"

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Find the positions in every prompt; see `Metric.bind`."""
        places = [Positions.parse(self.at).in_prompt(row) for row in rows]
        return tuple(Bound(identify(self.column, at=at), at, _mean_kl, needs_clean=True) for at in places)


def _mean_kl(
    logits: Float[Tensor, "batch pos d_vocab"], clean: Float[Tensor, "pos d_vocab"]
) -> Float[Tensor, " batch"]:
    return kl_divergence(clean[None], logits).mean(-1)
