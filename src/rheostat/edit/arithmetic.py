"""Edits that compute with the activation itself: `Add`, `Scale`, `Zero`."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rheostat.edit.along import AlongVector
from rheostat.edit.edit import Edit, finite


@dataclass(frozen=True, eq=False)
class Add(AlongVector):
    """h + strength · v: activation addition (Turner et al. 2023, arXiv 2308.10248)."""

    def move(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."]
    ) -> Float[Tensor, "token *site"]:
        """Add the scaled value."""
        return activation + (value if self.strength == 1 else self.strength * value)


@dataclass(frozen=True, eq=False)
class Scale(Edit):
    """h · (1 + strength · (factor − 1)): at strength 1 the activation times the factor."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", finite(self, "factor"))

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Multiply."""
        return activation * (1 + self.strength * (self.factor - 1))


@dataclass(frozen=True, eq=False)
class Zero(Edit):
    """h · (1 − strength): ablation by zero."""

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Shrink towards zero."""
        return activation * 0 if self.strength == 1 else activation * (1 - self.strength)
