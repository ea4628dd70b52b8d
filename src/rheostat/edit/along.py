"""What edits along a vector have in common: where it comes from, how far activations reach along it, and their norm."""

from abc import abstractmethod
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.edit.edit import Edit
from rheostat.edit.source import Source


@dataclass(frozen=True, eq=False)
class AlongVector(Edit):
    """An edit that moves activations along a vector.

    An activation is one vector: at a `heads` site that of all heads together, with `units` that of the units alone. So
    dot products and norms run over all that the edit may change.
    """

    vector: Source
    keep_norm: bool = field(default=False, kw_only=True)
    """After the change each activation is scaled to the norm (L2) it had before; one that has become zero stays so."""

    @property
    def source(self) -> Source:
        """The vector."""
        return self.vector

    @abstractmethod
    def move(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."]
    ) -> Float[Tensor, "token *site"]:
        """Return the moved activations, before their norm is restored."""

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Move, and restore the norm where that is asked for."""
        assert value is not None
        moved = self.move(activation, value)
        return with_norm_of(moved, activation) if self.keep_norm else moved

    def __str__(self) -> str:
        return super().__str__() + (", norm kept" if self.keep_norm else "")


def reach(
    activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "token 1"], Float[Tensor, "token size"]]:
    """Return how often each activation h holds the direction of v, and that direction u: h·u / ‖u‖² and u.

    u is v at another length, of which no square overflows or vanishes; where v is zero, both are. Low precision is
    widened to float32.
    """
    h, v = _as_rows(activation), _as_rows(value.expand_as(activation))
    largest = v.abs().amax(-1, keepdim=True)
    u = v / torch.where(largest > 0, largest, 1)
    square = (u * u).sum(-1, keepdim=True)
    return (h * u).sum(-1, keepdim=True) / torch.where(square > 0, square, 1), u


def with_norm_of(
    changed: Float[Tensor, "token *site"], before: Float[Tensor, "token *site"]
) -> Float[Tensor, "token *site"]:
    """Return `changed` scaled token by token to the norms of `before`; bit for bit itself where they are equal."""
    rows = _as_rows(changed)
    old, new = (torch.linalg.vector_norm(each, dim=-1, keepdim=True) for each in (_as_rows(before), rows))
    return like(rows * (old / torch.where(new > 0, new, 1)), changed)


def like(rows: Float[Tensor, "token size"], activation: Float[Tensor, "token *site"]) -> Float[Tensor, "token *site"]:
    """Return widened rows in the shape and precision of an activation."""
    return rows.to(activation.dtype).view_as(activation)


def _as_rows(tensor: Tensor) -> Tensor:
    """Return (token, size), in float32 at least: squares of activations overflow float16."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).unsqueeze(-1).flatten(1)
