"""A planted case: a network in which a − b is known to steer and to harm nothing, so that the measures must say so.

Its images are ten patches that do not overlap, its first layer answers each patch with one unit, and its other layers
pass the units on. Half of a − b leaves every other digit ahead, and more than half turns b into a.
"""

import numpy as np
import torch
from torch import nn

from rheostat.model import Model, load
from rheostat.studies.mnist_addition.digits import Digits
from rheostat.studies.mnist_addition.dose import harm, steering
from rheostat.studies.mnist_addition.responses import Responses, over_pairs, respond
from rheostat.studies.mnist_addition.signs import own
from rheostat.studies.mnist_addition.vectors import differences
from rheostat.studies.part import Part
from rheostat.studies.record import Section

WIDTH = 78
"""Pixels of a patch."""
NOISE = 0.1
SHARPNESS = 10.0
"""Logit of the digit that is shown."""
STEERING, BREAKING = 0.75, 3.0
"""Coefficients at which a − b turns b into a and leaves the rest, and at which every digit turns to a."""


def patches(n: int, *, seed: int) -> Digits:
    """Return n noisy images of each digit's patch."""
    labels = torch.arange(10).repeat(n)
    images = torch.zeros(10 * n, 784)
    for row, digit in enumerate(labels.tolist()):
        images[row, digit * WIDTH : (digit + 1) * WIDTH] = 1
    noise = np.random.default_rng(seed).normal(0, NOISE, images.shape).astype(np.float32)
    return Digits(images + torch.from_numpy(noise), labels)


def network() -> Model:
    """Return the network that is known to be steered."""
    first, second, third = nn.Linear(784, 10), nn.Linear(10, 10), nn.Linear(10, 10)
    with torch.no_grad():
        for part in (first, second, third):
            part.weight.zero_()
            part.bias.zero_()
        for digit in range(10):
            first.weight[digit, digit * WIDTH : (digit + 1) * WIDTH] = 1 / WIDTH
        second.weight.copy_(torch.eye(10))
        third.weight.copy_(SHARPNESS * torch.eye(10))
    return load(nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third).eval().requires_grad_(False))


def run(seed: int) -> tuple[bool, Part]:
    """Return whether the measures find what is planted, and what to show of it."""
    model, shown = network(), patches(20, seed=seed)
    state = model.run_plain(shown.first_of_each(), capture="0").activations
    assert state is not None
    vectors = differences(state["0"])
    mild, strong = (
        Responses.of([respond(model, "0", vectors, coefficient, shown)]) for coefficient in (STEERING, BREAKING)
    )
    steered, harmed = float(over_pairs(steering(mild))[0]), float(over_pairs(harm(mild))[0])
    broken, signs = float(over_pairs(harm(strong))[0]), float(own(mild)["both"][0])
    section = Section(
        heading="A planted case",
        text="A network whose digits are patches that do not overlap, where a − b must steer without harm at "
        f"{STEERING:g} and break every digit at {BREAKING:g}: steering {steered:.0%} for a harm of {harmed:.0%}, both "
        f"signs in {signs:.0%} of the pairs; then a harm of {broken:.0%}.",
    )
    return steered > 0.95 and harmed < 0.05 and broken > 0.95 and signs == 1, Part((section,))
