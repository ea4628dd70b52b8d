"""Least-squares concept erasure, LEACE, in closed form for two classes (Belrose et al. 2023, arXiv:2306.03819).

For two classes the erasure of least squared change, x − W⁺PW(x − μ), has rank one: with the difference of the means δ
and the covariance Σ of all texts it is x − δ · aᵀ(x − μ) / aᵀδ, where a = Σ⁻¹δ. What it takes away is read by a, which
is Fisher's linear discriminant, and that is the direction fitted here; `fit_erasures` gives the edit.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.directions.methods.method import ClassMeans, Method, Seen


class Leace(Method):
    """Σ⁻¹(μ₊ − μ₋), with the covariance shrunk towards a multiple of the identity.

    Holds the second moment, 8 · width² bytes per site in float64 (2.7 MB at width 576, 134 MB at 4096), however many
    texts there are.
    """

    name = "leace"

    def __init__(self, means: ClassMeans) -> None:
        super().__init__(means)
        self._squares: Float[Tensor, "width width"] | None = None
        self._sum: Float[Tensor, " width"] | None = None
        self._n = 0

    def take(self, seen: Seen) -> None:
        """Add some texts to the running moments."""
        squares, total = seen.activation.T @ seen.activation, seen.activation.sum(0)
        self._squares = squares if self._squares is None else self._squares.add_(squares)
        self._sum = total if self._sum is None else self._sum.add_(total)
        self._n += len(seen.activation)

    @property
    def mean(self) -> Float[Tensor, " width"]:
        """Mean of all texts."""
        assert self._sum is not None
        return self._sum / self._n

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return the discriminant under each labelling."""
        assert self._squares is not None
        covariance = self._squares / self._n - torch.outer(self.mean, self.mean)
        factor = torch.linalg.cholesky(shrunk(covariance, self._n))
        return torch.cholesky_solve(self.means.difference.T, factor).T


def shrunk(covariance: Float[Tensor, "width width"], n: int) -> Float[Tensor, "width width"]:
    """Return a covariance from n samples, shrunk by the oracle approximating estimate (Chen et al. 2010).

    The concept is erased whatever the covariance is; a better one means that less else is changed.
    """
    width = len(covariance)
    trace, squared = covariance.trace(), (covariance**2).sum()
    share = ((1 - 2 / width) * squared + trace**2) / ((n + 1 - 2 / width) * (squared - trace**2 / width))
    share = share.nan_to_num(1.0, posinf=1.0).clamp(0, 1)
    identity = torch.eye(width, dtype=covariance.dtype, device=covariance.device)
    return (1 - share) * covariance + share * trace / width * identity
