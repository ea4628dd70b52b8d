"""Edits by an activation's component along a vector: `Project` takes it out, `Piecewise` makes it larger.

The operators of representation engineering (Zou et al. 2023, arXiv 2310.01405), section 3.2.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import EditNotUsable
from rheostat.edit.along import AlongVector, like, reach


@dataclass(frozen=True, eq=False)
class _ByComponent(AlongVector):
    """An edit that needs to know where the vector points."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.vector, Tensor) and not bool(self.vector.any()):
            raise EditNotUsable(f"{self.name} at {self.site}: its vector is zero, so it points nowhere.")


@dataclass(frozen=True, eq=False)
class Project(_ByComponent):
    """h − strength · (h·v / ‖v‖²) v: at strength 1 no component along v is left, at 2 it is mirrored.

    The length of v does not matter. Tokens whose own v is zero stay as they are.
    """

    def move(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."]
    ) -> Float[Tensor, "token *site"]:
        """Take the component out."""
        share, direction = reach(activation, value)
        return activation - like(self.strength * share * direction, activation)


@dataclass(frozen=True, eq=False)
class Piecewise(_ByComponent):
    """h + strength · sign(h·v) · v: further along v where h points that way, further against it where not.

    With a strength above 0, |h·v| never shrinks. An activation without a component along v stays as it is.
    """

    def move(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."]
    ) -> Float[Tensor, "token *site"]:
        """Add the vector with the sign of the component."""
        share, _ = reach(activation, value)
        sign = share.sign().to(activation.dtype).view(-1, *(1,) * (activation.dim() - 1))
        return activation + (self.strength * sign) * value
