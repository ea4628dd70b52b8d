"""`Erase`: take away what a linear reading finds of a concept, and as little else as possible."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.edit.edit import Edit, finite
from rheostat.edit.source import Source


@dataclass(frozen=True, eq=False)
class Erase(Edit):
    """h − strength · v (rᵀh − offset): at strength 1, with rᵀv = 1, every activation reads rᵀh = offset afterwards.

    With the vectors that `fit_erasures` finds it is the affine erasure LEACE (Belrose et al. 2023, arXiv:2306.03819).

    Raises:
        BadArgument: one of the vectors is no finite tensor, or they differ in shape.
        EditNotUsable: `units` are given; what a part of the activation reads is not the concept. When it is used: the
            vectors have another shape than one token's activation.
    """

    vector: Source
    """What is taken away per unit of reading, v."""
    read: Source
    """What reads the concept, r."""
    offset: float = 0.0
    """What is left of the reading, such as its mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "offset", finite(self, "offset"))
        vectors = self.vector, self.read
        if not all(isinstance(one, Tensor) and bool(torch.isfinite(one).all()) for one in vectors):
            raise BadArgument(f"erase at {self.site}: vector and read are tensors without NaN or infinity.")
        if self._read.shape != self._vector.shape:
            raise BadArgument(
                f"erase at {self.site}: vector has the shape {tuple(self._vector.shape)}, read "
                f"{tuple(self._read.shape)}; both have that of one token."
            )
        if self.units is not None:
            raise EditNotUsable(f"erase at {self.site} reads whole activations: leave units out.")

    @property
    def source(self) -> Source:
        """What is taken away."""
        return self.vector

    def check_shape(self, site: str, shape: tuple[int, ...]) -> None:
        """Refuse vectors that are not of one token: they would read other tokens too."""
        if tuple(self._read.shape) != shape:
            raise EditNotUsable(
                f"erase at {site}: vector and read have the shape {tuple(self._read.shape)}; one token of this site "
                f"has {shape}. Give that."
            )

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Take the reading away."""
        assert value is not None
        self.check_shape(str(self.site), tuple(activation.shape[1:]))
        read = self._read.to(activation)
        reading = torch.tensordot(activation, read, dims=read.dim()) - self.offset
        changed: Tensor = activation - self.strength * reading.reshape(-1, *(1,) * read.dim()) * value
        return changed

    @property
    def _vector(self) -> Tensor:
        assert isinstance(self.vector, Tensor)
        return self.vector

    @property
    def _read(self) -> Tensor:
        assert isinstance(self.read, Tensor)
        return self.read
