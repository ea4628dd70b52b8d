"""Logistic regression on single texts, by scikit-learn."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.directions.methods.method import ClassMeans, Method, Seen

_MOST_STEPS = 5000


class Logistic(Method):
    """The weights of a logistic regression with an L2 penalty (C = 1) on standardised coordinates.

    Holds every fitted text's activation in float32: 4 · width bytes per text and site. A method for hundreds to
    thousands of texts; with fewer texts than the width it separates them all, and only held-out figures mean anything.
    """

    name = "logistic"

    def __init__(self, means: ClassMeans) -> None:
        super().__init__(means)
        self._activations: list[Float[Tensor, "text width"]] = []
        self._positive: list[Tensor] = []

    def take(self, seen: Seen) -> None:
        """Keep the activations of some texts."""
        self._activations.append(seen.activation.float().cpu())
        self._positive.append(seen.positive.cpu())

    def vectors(self) -> Float[Tensor, "labelling width"]:
        """Fit once per labelling; return the weights per unit of the activation."""
        from sklearn.linear_model import LogisticRegression

        activations = torch.cat(self._activations).double().numpy()
        labels = torch.cat(self._positive, dim=1).numpy()
        spread = activations.std(axis=0)
        spread[spread == 0] = 1
        standard = (activations - activations.mean(axis=0)) / spread
        found = [LogisticRegression(max_iter=_MOST_STEPS).fit(standard, one).coef_[0] / spread for one in labels]
        return torch.from_numpy(np.stack(found)).to(self.means.difference)
