"""The vectors that are added: a − b for every pair of digits at a layer, and what they are compared with."""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.model import Model
from rheostat.studies.mnist_addition.digits import Digits
from rheostat.studies.mnist_addition.network import Architecture

Kind = Literal["first image", "class mean", "random"]
"""Of one image per digit, as in the post; of the mean over all training images of a digit; of the first one's norm."""
KINDS: tuple[Kind, ...] = get_args(Kind)


def states(
    model: Model, architecture: Architecture, training: Digits
) -> Mapping[Kind, list[Float[Tensor, "10 *site"]]]:
    """Return, per layer, what stands for each digit: its first training image, or the mean of all of them."""
    first = model.run_plain(training.first_of_each(), capture=architecture.layers).activations
    assert first is not None
    sums = [torch.zeros_like(first[layer], dtype=torch.float64) for layer in architecture.layers]
    for chunk in torch.arange(len(training)).split(5000):
        some = training.take(chunk)
        found = model.run_plain(some.images, capture=architecture.layers).activations
        assert found is not None
        for total, layer in zip(sums, architecture.layers, strict=True):
            total.index_add_(0, some.labels, found[layer].double())
    counts = torch.bincount(training.labels, minlength=10)
    means = [(total / counts.view(10, *[1] * (total.dim() - 1))).float() for total in sums]
    return {"first image": [first[layer] for layer in architecture.layers], "class mean": means}


def differences(of_digits: Float[Tensor, "10 *site"]) -> Float[Tensor, "10 10 *site"]:
    """Return a − b by (a, b); zero where they are the same."""
    return of_digits[:, None] - of_digits[None, :]


def random_like(vectors: Float[Tensor, "10 10 *site"], *, seed: tuple[int, ...]) -> Float[Tensor, "10 10 *site"]:
    """Return a normal vector of the same norm for each pair; zero for zero."""
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal(vectors.shape).astype(np.float32))
    return drawn * (norms(vectors) / norms(drawn)).view(10, 10, *[1] * (vectors.dim() - 2))


def norms(vectors: Float[Tensor, "10 10 *site"]) -> Float[Tensor, "10 10"]:
    """Return the length of each pair's vector."""
    lengths: Tensor = torch.linalg.vector_norm(vectors.flatten(2), dim=-1)
    return lengths
