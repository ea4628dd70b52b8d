"""Attribution: mean over the topic's items of |activation × gradient of the answer's loss|.

At the tokens that predict the answer; to first order, how much of the loss a unit carries there, whichever way
(Molchanov et al. 2017, arXiv:1611.06440, who prune by it). Costs one forward and one backward pass of each item.
"""

from collections.abc import Sequence

from rheostat.models.network import Network
from rheostat.neurons.methods.method import Method, Scores
from rheostat.neurons.observation import Observation


def score(_network: Network, target: Observation, _others: Sequence[Observation]) -> Scores:
    """Return the mean over items, at least 0, in nats."""
    return {block: each.double().mean(0) for block, each in target.attribution.items()}


ATTRIBUTION = Method("attribution", score)
