"""Attribution difference: how far a unit's attribution on the topic's items exceeds that on other topics' items.

A unit that carries much of every loss ranks high by `attribution` and not here. d = (mean of |h·g| over the topic's
items − mean over the other items) / pooled standard deviation; other topics count together. Costs one forward and one
backward pass of each item, the others' too.
"""

from collections.abc import Sequence

from rheostat.models.network import Network
from rheostat.neurons.methods.method import Method, Scores
from rheostat.neurons.methods.standardised import standardised_difference
from rheostat.neurons.observation import Observation


def score(_network: Network, target: Observation, others: Sequence[Observation]) -> Scores:
    """Return the standardised difference."""
    return standardised_difference(target.attribution, [other.attribution for other in others])


ATTRIBUTION_DIFFERENCE = Method("attribution_difference", score, needs_others=True)
