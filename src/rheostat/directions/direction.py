"""`Direction`: a vector at a site with a meaning. It reads activations, and it makes edits."""

from dataclasses import dataclass, replace
from numbers import Real

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, DirectionNotUsable
from rheostat.edit.arithmetic import Add
from rheostat.edit.patching import Replace
from rheostat.models.network import Network
from rheostat.sites.positions import PositionsLike
from rheostat.sites.site import resolve_single
from rheostat.sweeps.grids import random_direction


@dataclass(frozen=True)
class Calibration:
    """Where the two classes lie along a direction, in units of the activation: what makes scores comparable."""

    positive: float
    """Mean projection of the positive class on the unit vector."""
    negative: float
    spread: float
    """Standard deviation of projections within a class, pooled, of texts that nothing was fitted on; NaN: unknown."""

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
        """Distance between these means in spreads; NaN without one. A table's effect size is that of held-out texts."""
        return (self.positive - self.negative) / self.spread if self.spread else float("nan")

    def __neg__(self) -> "Calibration":
        """Return where the classes lie along the opposite direction, on which they change places."""
        return Calibration(-self.negative, -self.positive, self.spread)


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
        if not self.length > 0:
            raise DirectionNotUsable(f"{self.concept!r} at {self.site}: the vector is zero, so it points nowhere.")

    @property
    def length(self) -> float:
        """Norm of the vector, in units of the activation."""
        return float(_wide(self.vector).norm())

    @property
    def unit(self) -> Float[Tensor, "*site"]:
        """The vector at length 1."""
        wide = _wide(self.vector)
        unit: Tensor = (wide / wide.norm()).to(self.vector)
        return unit

    def projections(self, activation: Float[Tensor, "*row_and_site"]) -> Float[Tensor, "*row"]:
        """Return how far activations (…row, …site) reach along the unit vector, in units of the activation.

        Raises:
            DirectionNotUsable: their last axes are not those of the vector.
        """
        unit = self.unit.to(activation)
        if activation.shape[-unit.dim() :] != unit.shape:
            raise DirectionNotUsable(
                f"{self.concept!r} has the shape {tuple(unit.shape)}; the activations have {tuple(activation.shape)}."
            )
        reached: Tensor = torch.tensordot(activation, unit, dims=unit.dim())
        return reached

    def scores(self, activation: Float[Tensor, "*row_and_site"]) -> Float[Tensor, "*row"]:
        """Return calibrated scores: +1 at the mean of the positive class, −1 at the negative one's, 0 half way.

        Raises:
            DirectionNotUsable: the direction has no calibration, or the activations have another shape.
        """
        known = self.calibration
        if known is None or not known.half_gap > 0:
            raise DirectionNotUsable(
                f"{self.concept!r} at {self.site} has no calibration, so its scores would mean nothing. "
                "Use projections(), or fit it from pairs; where it was, the classes lie the other way round along it."
            )
        return (self.projections(activation) - known.midpoint).div(known.half_gap)

    def add(self, strength: float = 1.0, *, positions: PositionsLike = "all") -> Add:
        """Return the edit that adds strength × vector."""
        return Add(self.site, self.vector, positions=positions, strength=strength)

    def put(self, *, positions: PositionsLike = "last") -> Replace:
        """Return the edit that puts the vector in the place of the activation, as a task vector is used."""
        return Replace(self.site, self.vector, positions=positions)

    def random_like(self, seed: int = 0, *, draw: int = 0) -> "Direction":
        """Return a random direction of equal length at the same site: the control of every effect.

        It depends on (seed, site, draw) alone.

        Args:
            seed: of the whole experiment.
            draw: which one, for several.
        """
        vector = random_direction(self.vector, site=self.site, seed=seed, draw=draw)
        return replace(self, concept=f"random {draw}", vector=vector, method="random", calibration=None)

    def check(self, network: Network) -> None:
        """See that the direction belongs to a network, at whatever precision its weights are loaded.

        Raises:
            DirectionNotUsable: it was fitted on other weights, or has another width.
            SiteNotFound, SiteNotOffered
        """
        site = resolve_single(network, self.site)
        if network.anatomy is not None and site.kind not in ("module", "pattern"):
            shape = network.body.shape(site.kind)
            if tuple(self.vector.shape) != shape:
                raise DirectionNotUsable(
                    f"{self.concept!r} has the shape {tuple(self.vector.shape)}; {site} of {network.name} has {shape}."
                )
        if self.weights and not network.has_weights(self.weights):
            dtype = str(network.dtype).removeprefix("torch.")
            raise DirectionNotUsable(
                f"{self.concept!r} was fitted on {self.model}, whose weights are not those of {network.name} as it is "
                f"loaded, in {dtype}: the same numbers mean something else there. Fit it again on this model; if it is "
                "the same model at less precision, load it as it was for fitting, or use .without_weights() (rheostat "
                "steer --any-weights)."
            )

    def without_weights(self) -> "Direction":
        """Return the direction without the hash of the weights, so that `check` looks at its site and width alone."""
        return replace(self, weights="")

    def __neg__(self) -> "Direction":
        return self * -1.0

    def __mul__(self, factor: int | float) -> "Direction":
        if not isinstance(factor, Real):
            return NotImplemented
        known = self.calibration
        if known is not None and factor < 0:
            known = -known
        return replace(self, vector=self.vector * factor, concept=_times(factor, self.concept), calibration=known)

    __rmul__ = __mul__

    def __add__(self, other: "Direction") -> "Direction":
        if not isinstance(other, Direction):
            return NotImplemented
        return self._plus(other, f"{self.concept} + {other.concept}")

    def __sub__(self, other: "Direction") -> "Direction":
        if not isinstance(other, Direction):
            return NotImplemented
        return self._plus(-other, f"{self.concept} − {other.concept}")

    def _plus(self, other: "Direction", concept: str) -> "Direction":
        differs = self.weights and other.weights and self.weights != other.weights
        if (self.site, self.model) != (other.site, other.model) or differs:
            raise BadArgument(
                f"{self.concept!r} ({self.model}, {self.site}) and {other.concept!r} ({other.model}, {other.site}) "
                "cannot be added: they belong to different sites or models."
            )
        if self.vector.shape != other.vector.shape:
            raise DirectionNotUsable(
                f"{self.concept!r} has the shape {tuple(self.vector.shape)}, {other.concept!r} "
                f"{tuple(other.vector.shape)}: they cannot be added."
            )
        return replace(
            self,
            concept=concept,
            vector=self.vector + other.vector.to(self.vector),
            method=self.method if self.method == other.method else f"{self.method} + {other.method}",
            weights=self.weights or other.weights,
            calibration=None,
        )

    def __repr__(self) -> str:
        return f"Direction({self.concept!r}, {self.site}, {self.method}, length {self.length:.3g}, {self.model})"


def _wide(vector: Tensor) -> Tensor:
    """Return a vector whose norm neither overflows nor loses digits: in float64, on the CPU."""
    return vector.detach().cpu().double()


def _times(factor: int | float, concept: str) -> str:
    """Return the name of a multiple; a sum or a multiple is put in brackets."""
    inside = f"({concept})" if any(sign in concept for sign in (" + ", " − ", "·")) or concept[:1] == "−" else concept
    if factor == -1:
        return f"−{inside}"
    return concept if factor == 1 else f"{factor:g}·{inside}"
