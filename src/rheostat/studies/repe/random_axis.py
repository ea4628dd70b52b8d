"""A random direction as a method of fitting: only its sign is learned."""

from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.directions.methods.method import ClassMeans, Method, Seen


class RandomAxis(Method):
    """A direction drawn from a normal distribution, turned towards the positive class of the fitted texts."""

    name: ClassVar[str] = "random"

    def __init__(self, means: ClassMeans, seed: int = 0) -> None:
        super().__init__(means)
        self._seed = seed

    @classmethod
    def drawn(cls, seed: int) -> Callable[[ClassMeans], Method]:
        """Return the method of one draw."""
        return lambda means: cls(means, seed)

    def take(self, seen: Seen) -> None:
        """Nothing: only the means turn it."""

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return the drawn direction, once per labelling with its sign."""
        towards = self.means.difference
        axis = torch.randn(towards.shape[-1], generator=torch.Generator().manual_seed(self._seed), dtype=towards.dtype)
        return torch.where(towards @ axis < 0, -1.0, 1.0).to(axis)[:, None] * axis
