"""The networks of the study and how they are trained: any `nn.Sequential`, opened as a plain module."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rheostat.model import Model, load
from rheostat.studies.mnist_addition.digits import Digits

BATCH = 128
LEARNING_RATE = 1e-3
TARGET = 0.08
"""Log loss on the images set apart at which training stops; the post's network has 0.089 on the test images."""
CHECKS = 100
"""Batches between two looks at that loss."""


@dataclass(frozen=True)
class Architecture:
    """A network with five places in a row: linear, ReLU, linear, ReLU, linear."""

    name: str
    build: Callable[[], nn.Sequential]
    layers: tuple[str, ...] = ("0", "1", "2", "3", "4")
    """The module path of each of the five outputs."""


def fully_connected(width: int) -> nn.Sequential:
    """Return the network of the post, of any width."""
    return nn.Sequential(
        nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )  # fmt: skip


def convolutional() -> nn.Sequential:
    """Return two convolutions and a linear layer, with a nonlinearity after each convolution."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 8, 5, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 5, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


CONVOLUTIONAL = Architecture("convolutional", convolutional, layers=("1", "2", "3", "4", "6"))
OF_THE_POST = Architecture("784-512-512-10", partial(fully_connected, 512))
ARCHITECTURES = (
    OF_THE_POST,
    Architecture("784-128-128-10", partial(fully_connected, 128)),
    CONVOLUTIONAL,
)


def train(
    architecture: Architecture, training: Digits, validation: Digits, *, seed: int, epochs: int, target: float = TARGET
) -> Model:
    """Return a network trained by Adam until its log loss on `validation` reaches the target, opened as plain module.

    The same seed gives the same network, on the same machine with the same number of threads.

    Args:
        architecture: what to build.
        training: images to learn from.
        validation: images to stop by.
        seed: of the weights and of the order of the images.
        epochs: at most so many passes over the training images.
        target: in nats.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        module = architecture.build()
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    steps = 0
    with torch.enable_grad():
        for _ in range(epochs):
            for batch in torch.randperm(len(training), generator=order).split(BATCH):
                optimiser.zero_grad()
                cross_entropy(module(training.images[batch]), training.labels[batch]).backward()
                optimiser.step()
                steps += 1
                if steps % CHECKS == 0 and log_loss(module, validation) <= target:
                    return _opened(module)
    return _opened(module)


def log_loss(module: nn.Module, on: Digits) -> float:
    """Return the mean cross-entropy in nats."""
    with torch.no_grad():
        return float(cross_entropy(module(on.images), on.labels))


def accuracy(module: nn.Module, on: Digits) -> float:
    """Return the share of images that are told right."""
    with torch.no_grad():
        return float((module(on.images).argmax(-1) == on.labels).float().mean())


def _opened(module: nn.Module) -> Model:
    return load(module.eval().requires_grad_(False))
