"""Planted cases: a direction that says given tokens, written into the network where the measure should find it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rheostat.edit.arithmetic import Add
from rheostat.model import Model
from rheostat.studies.decoding.cells import Cell, capture_cells
from rheostat.studies.decoding.mixing import Dial, adding

STEPS, RATE = 60, 0.1


def saying_direction(model: Model, tokens: Sequence[int], near: Tensor) -> Tensor:
    """Return a unit vector (d_model) that the lens decodes to `tokens`.

    It is found by a few steps of gradient ascent on their mean log-probability, starting at the gradient at the
    activation `near`, so that it holds for any final norm and unembedding.
    """
    wanted = list(tokens)

    def loss(point: Tensor) -> Tensor:
        logs: Tensor = model.unembed(point).float().log_softmax(-1)
        return -logs[wanted].mean()

    with torch.enable_grad():
        start = near.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(start), start)
        point = (-gradient / gradient.norm() * near.numel() ** 0.5).detach().requires_grad_(True)
        optimiser = torch.optim.Adam([point], lr=RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            (point.grad,) = torch.autograd.grad(loss(point), point)
            optimiser.step()
    found: Tensor = (point / point.norm()).detach()
    return found


def saying_edits(model: Model, prompt: str, groups: Sequence[Sequence[int]]) -> tuple[Dial, list[Add]]:
    """Return, per group of tokens, the edit that adds a direction saying them at the middle block, and its dial.

    The direction gets the length of the residual stream there.
    """
    block = model.n_blocks // 2
    near = capture_cells(model, [prompt], [Cell(block, "resid_mid")])[0, 0]
    dial = Dial(block, "resid_mid", float(near.norm()))
    return dial, [adding(saying_direction(model, tokens, near), dial) for tokens in groups]
