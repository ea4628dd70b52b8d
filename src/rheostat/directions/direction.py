"""`Direction`: a vector at a site with a meaning. It reads activations, and it makes edits."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, DirectionNotUsable
from rheostat.edit.arithmetic import Add
from rheostat.models.network import Network
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import resolve_single


@dataclass(frozen=True)
class Calibration:
    """Where the two classes lie along a direction, in units of the activation: what makes scores comparable."""

    positive: float
    """Mean projection of the positive class on the unit vector."""
    negative: float
    spread: float
    """Standard deviation of projections within a class, pooled."""

    @property
    def midpoint(self) -> float:
        """Half way between the classes."""
        return (self.positive + self.negative) / 2

    @property
    def half_gap(self) -> float:
        """Half the distance between the classes."""
        return (self.positive - self.negative) / 2

    @property
    def effect_size(self) -> float:
        """Distance between the classes in standard deviations within them (Cohen's d)."""
        return (self.positive - self.negative) / self.spread if self.spread else float("nan")


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector at one site that points towards more of a concept.

    Its length matters for control alone: `strength` 1 adds `vector` as it is. Fitted directions have the length of the
    distance between the means of the two classes along them, so that strength 1 means the same for each method.

    Raises:
        DirectionNotUsable: the vector is zero, or holds NaN or infinity.
    """

    concept: str
    site: str
    vector: Float[Tensor, "*site"]
    method: str
    model: str
    """Name of the network that it was fitted on."""
    weights: str = ""
    """Hash of that network's weights; empty: unknown."""
    calibration: Calibration | None = None
    """Of the unit vector; None: unknown, as for a sum."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.vector).all()):
            raise DirectionNotUsable(f"{self.concept!r} at {self.site}: the vector holds NaN or infinity.")
        if not float(self.vector.double().norm()) > 0:
            raise DirectionNotUsable(f"{self.concept!r} at {self.site}: the vector is zero, so it points nowhere.")

    @property
    def length(self) -> float:
        """Norm of the vector, in units of the activation."""
        return float(self.vector.double().norm())

    @property
    def unit(self) -> Float[Tensor, "*site"]:
        """The vector at length 1."""
        unit: Tensor = self.vector / self.vector.norm()
        return unit

    def projections(self, activation: Float[Tensor, "*row_and_site"]) -> Float[Tensor, "*row"]:
        """Return how far activations (…row, …site) reach along the unit vector, in units of the activation."""
        unit = self.unit.to(activation)
        reached: Tensor = torch.tensordot(activation, unit, dims=unit.dim())
        return reached

    def scores(self, activation: Float[Tensor, "*row_and_site"]) -> Float[Tensor, "*row"]:
        """Return calibrated scores: +1 at the mean of the positive class, −1 at the negative one's, 0 half way.

        Raises:
            DirectionNotUsable: the direction has no calibration.
        """
        known = self.calibration
        if known is None or known.half_gap == 0:
            raise DirectionNotUsable(
                f"{self.concept!r} at {self.site} has no calibration, so its scores would mean nothing. "
                "Use projections(), or fit it from pairs."
            )
        return (self.projections(activation) - known.midpoint).div(known.half_gap)

    def add(self, strength: float = 1.0, *, positions: PositionsLike = "all") -> Add:
        """Return the edit that adds strength × vector."""
        return Add(self.site, self.vector, positions=positions, strength=strength)

    def check(self, network: Network) -> None:
        """See that the direction belongs to a network.

        Raises:
            DirectionNotUsable: it was fitted on other weights, or has another width.
            SiteNotFound, SiteNotOffered
        """
        site = resolve_single(network, self.site)
        if self.weights and self.weights != network.weight_hash:
            raise DirectionNotUsable(
                f"{self.concept!r} was fitted on {self.model}, whose weights are not those of {network.name}: the same "
                "numbers mean something else there. Fit it again on this model."
            )
        if network.anatomy is not None and site.block is not None:
            shape = network.body.shape(site.kind)
            if tuple(self.vector.shape) != shape:
                raise DirectionNotUsable(
                    f"{self.concept!r} has the shape {tuple(self.vector.shape)}; {site} of {network.name} has {shape}."
                )

    def __neg__(self) -> "Direction":
        return self * -1.0

    def __mul__(self, factor: float) -> "Direction":
        known = self.calibration
        if known is not None and factor < 0:
            known = Calibration(-known.negative, -known.positive, known.spread)  # the classes change places
        concept = f"−{self.concept}" if factor == -1 else f"{factor:g}·{self.concept}"
        return replace(self, vector=self.vector * factor, concept=concept, calibration=known)

    __rmul__ = __mul__

    def __add__(self, other: "Direction") -> "Direction":
        if (self.site, self.model, self.weights) != (other.site, other.model, other.weights):
            raise BadArgument(
                f"{self.concept!r} ({self.model}, {self.site}) and {other.concept!r} ({other.model}, {other.site}) "
                "cannot be added: they belong to different sites or models."
            )
        method = self.method if self.method == other.method else f"{self.method} + {other.method}"
        return replace(
            self,
            concept=f"{self.concept} + {other.concept}",
            vector=self.vector + other.vector.to(self.vector),
            method=method,
            calibration=None,
        )

    def __sub__(self, other: "Direction") -> "Direction":
        return self + (-other)

    def __repr__(self) -> str:
        return f"Direction({self.concept!r}, {self.site}, {self.method}, length {self.length:.3g}, {self.model})"
