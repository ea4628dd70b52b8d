"""Mean difference: mean of the positive class less mean of the negative one (Marks and Tegmark 2023, arXiv:2310.06824).

Over pairs it is the vector of contrastive activation addition (Rimsky et al. 2023, arXiv:2312.06681).
"""

from jaxtyping import Float
from torch import Tensor

from rheostat.directions.methods.method import Method, Seen


class MeanDifference(Method):
    """μ₊ − μ₋. Holds two sums of the site's width, however many texts there are."""

    name = "mean_difference"

    def take(self, seen: Seen) -> None:
        """Nothing: the means say it all."""

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Return the difference of the means."""
        return self.means.difference
