"""Planted cases: a direction that says given tokens, written into the network where the measure should find it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rheostat.model import Model


def saying_direction(model: Model, tokens: Sequence[int], near: Tensor) -> Tensor:
    """Return the unit vector (d_model) along which the lens's logits of `tokens` grow fastest over the mean logit.

    It is the gradient at the activation `near`, (d_model), so it holds for any final norm.
    """
    with torch.enable_grad():
        point = near.detach().clone().requires_grad_(True)
        logits = model.unembed(point).float()
        (logits[list(tokens)].mean() - logits.mean()).backward()
    assert point.grad is not None
    direction: Tensor = point.grad / point.grad.norm()
    return direction
