"""Predictivity: how well the unit alone tells the topic's items from others.

max(AUROC, 1 − AUROC) of the unit's activation at the tokens that predict the answer, averaged within an item; ½ is
chance. After the predictivity of skill neurons (Wang et al. 2022, arXiv:2211.07349), which is the accuracy at a
threshold; the AUROC needs none. With many units some predict by chance: test a cluster on other items than those it
was found on.
"""

from collections.abc import Sequence

import numpy as np
import torch

from rheostat.metrics.statistics import auroc
from rheostat.models.network import Network
from rheostat.neurons.methods.method import Method, Scores
from rheostat.neurons.observation import Observation


def score(_network: Network, target: Observation, others: Sequence[Observation]) -> Scores:
    """Return max(AUROC, 1 − AUROC), ½ to 1."""
    found = {}
    for block, mine in target.activation.items():
        both = torch.cat([mine, *(other.activation[block] for other in others)]).double().numpy().T
        area = auroc(both, np.broadcast_to(np.arange(both.shape[1]) < len(mine), both.shape))
        found[block] = torch.from_numpy(np.maximum(area, 1 - area))
    return found


PREDICTIVITY = Method("predictivity", score, needs_others=True)
