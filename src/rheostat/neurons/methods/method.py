"""`Method`: a way to score the units of every block from what they did on a topic's items, and on others'."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from rheostat.models.network import Network
from rheostat.neurons.observation import Observation

Scores = Mapping[int, Tensor]
"""Block → score of each unit (unit,), in float64."""


@dataclass(frozen=True)
class Method:
    """A ranking by name."""

    name: str
    score: Callable[[Network, Observation, Sequence[Observation]], Scores]
    """From the topic's items and those of each other topic; higher matters more."""
    needs_others: bool = False
    """Whether it compares with other topics."""
