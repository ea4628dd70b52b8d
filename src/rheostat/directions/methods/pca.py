"""First principal component of the differences within pairs: LAT of representation engineering (arXiv:2310.01405)."""

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.directions.methods.method import ClassMeans, Method, Seen


class PairPCA(Method):
    """The axis along which the differences x₊ − x₋ vary most, turned towards the positive class.

    The order inside each pair is drawn before the differences are centred: in one order all of them point the same way,
    and centring would take away the very thing that is looked for. Labels only turn the axis, by the difference of the
    class means along it, so under shuffled labels the axis stays and its sign is a matter of chance.

    Holds the differences' second moment, 8 · width² bytes per site in float64 (2.7 MB at width 576, 134 MB at 4096),
    however many pairs there are.
    """

    name = "pca"
    needs_pairs = True

    def __init__(self, means: ClassMeans) -> None:
        super().__init__(means)
        self._squares: Float[Tensor, "width width"] | None = None
        self._sum: Float[Tensor, " width"] | None = None
        self._n = 0

    def take(self, seen: Seen) -> None:
        """Add the differences of some pairs to the running moments."""
        assert seen.order is not None
        differences = (seen.activation[::2] - seen.activation[1::2]) * seen.order[:, None]
        squares, total = differences.T @ differences, differences.sum(0)
        self._squares = squares if self._squares is None else self._squares.add_(squares)
        self._sum = total if self._sum is None else self._sum.add_(total)
        self._n += len(differences)

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return the axis, once per labelling with the sign that the labels give it."""
        assert self._squares is not None
        assert self._sum is not None
        mean = self._sum / self._n
        covariance = self._squares / self._n - torch.outer(mean, mean)
        width = len(mean)
        _, found = scipy.linalg.eigh(covariance.cpu().numpy(), subset_by_index=(width - 1, width - 1))
        axis = torch.from_numpy(found[:, 0]).to(mean)
        towards = self.means.difference @ axis
        return torch.where(towards < 0, -1.0, 1.0).to(mean)[:, None] * axis
