"""Activation difference: |mean on the topic's items − mean on other topics' items| / pooled standard deviation.

Of activations at the tokens that predict the answer, averaged within an item. The size of the difference counts and
not its sign: which way a unit of a gated MLP, or a coordinate, points is arbitrary. (The difference of class means is
that of Marks and Tegmark 2023, arXiv:2310.06824, coordinate by coordinate.) Says nothing of whether the model uses
the unit.
"""

from collections.abc import Sequence

from rheostat.models.network import Network
from rheostat.neurons.methods.method import Method, Scores
from rheostat.neurons.methods.standardised import standardised_difference
from rheostat.neurons.observation import Observation


def score(_network: Network, target: Observation, others: Sequence[Observation]) -> Scores:
    """Return the size of the standardised difference, at least 0."""
    found = standardised_difference(target.activation, [other.activation for other in others])
    return {block: each.abs() for block, each in found.items()}


ACTIVATION_DIFFERENCE = Method("activation_difference", score, needs_others=True)
