"""`Method`: the interface of every way to fit a direction at one site, and the class means that all of them share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True, eq=False)
class Seen:
    """Some texts at one site. Labels come several times: row 0 holds the true ones, the others are shuffled."""

    activation: Float[Tensor, "text width"]
    """In float64; of pairs the positive and the negative text in turns."""
    positive: Bool[Tensor, "labelling text"]
    order: Float[Tensor, " pair"] | None = None
    """±1 per pair, drawn: which of the two comes first; None where texts are no pairs."""
    embedding: Float[Tensor, "text d_model"] | None = None
    """Mean token embedding of each text, for methods that read it."""


class ClassMeans:
    """Running sums of the two classes, under every labelling: 16 bytes per labelling and unit of width."""

    def __init__(self) -> None:
        self._sums: Float[Tensor, "side labelling width"] | None = None
        self._counts: Float[Tensor, "side labelling"] | None = None

    def take(self, activation: Float[Tensor, "text width"], positive: Bool[Tensor, "labelling text"]) -> None:
        """Add some texts."""
        sides = torch.stack([positive, ~positive]).to(activation)
        sums, counts = sides @ activation, sides.sum(-1)
        self._sums = sums if self._sums is None else self._sums.add_(sums)
        self._counts = counts if self._counts is None else self._counts.add_(counts)

    @property
    def means(self) -> Float[Tensor, "side labelling width"]:
        """Mean of the positive class, then of the negative one."""
        assert self._sums is not None
        assert self._counts is not None
        return self._sums / self._counts[..., None]

    @property
    def difference(self) -> Float[Tensor, "labelling width"]:
        """Mean of the positive class less that of the negative one."""
        positive, negative = self.means
        return positive - negative


class Method(ABC):
    """One way to fit a direction, at one site. `take` is called batch by batch, `units` once."""

    name: ClassVar[str]
    needs_pairs: ClassVar[bool] = False
    reads_embeddings: ClassVar[bool] = False

    def __init__(self, means: ClassMeans) -> None:
        self.means = means
        """Kept by whoever streams."""

    @abstractmethod
    def take(self, seen: Seen) -> None:
        """Gather what the method needs of some texts, beyond the means."""

    @abstractmethod
    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return a vector per labelling that points towards the positive class, of any length."""

    def units(self) -> Float[Tensor, "labelling width"]:
        """Return the vectors at length 1; one that is zero stays zero."""
        return normalize(self.vectors(), dim=-1, eps=1e-300)

    def length(self, unit: Float[Tensor, " width"]) -> float:
        """Return the distance between the class means along a direction of length 1."""
        return abs(float(unit @ self.means.difference[0]))
