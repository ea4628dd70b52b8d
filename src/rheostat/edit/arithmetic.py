"""Edits that compute with the activation itself: `Add`, `Scale`, `Zero`."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rheostat.edit.along import AlongVector
from rheostat.edit.edit import Edit, finite


@dataclass(frozen=True, eq=False)
class Add(AlongVector):
    """h + strength · v: activation addition (Turner et al. 2023, arXiv 2308.10248)."""

    @property
    def is_line(self) -> bool:
        """Not where the norm is kept."""
        return not self.keep_norm

    def line(self, value: Float[Tensor, "..."] | None) -> tuple[float, Float[Tensor, "..."] | None]:
        """Return 1 and the scaled value."""
        assert value is not None
        return 1.0, value if self.strength == 1 else self.strength * value

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

    @property
    def is_line(self) -> bool:
        """Always."""
        return True

    def line(self, value: Float[Tensor, "..."] | None) -> tuple[float, Float[Tensor, "..."] | None]:
        """Return the factor, and nothing to add."""
        return 1 + self.strength * (self.factor - 1), None

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Multiply."""
        return activation * self.line(None)[0]


@dataclass(frozen=True, eq=False)
class Zero(Edit):
    """h · (1 − strength): ablation by zero."""

    @property
    def is_line(self) -> bool:
        """Always."""
        return True

    def line(self, value: Float[Tensor, "..."] | None) -> tuple[float, Float[Tensor, "..."] | None]:
        """Return 1 − strength, and nothing to add."""
        return 1 - self.strength, None

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Shrink towards zero."""
        return activation * self.line(None)[0]
