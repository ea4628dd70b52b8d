"""Keyed noise: drawn for what it is for, never in the order of calls."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def keyed_noise(site: str, tokens: Sequence[int], size: int, *, seed: int, draw: int) -> Float[Tensor, "token size"]:
    """Return standard normal noise (token, size) in float32, on the CPU.

    Each token's row depends on (seed, site, token, draw) alone: not on the other tokens, the batch, or earlier calls.

    Args:
        site: the place that it is for.
        tokens: positions in the prompt, at least one.
        size: width of the site.
        seed: of the whole experiment.
        draw: which repetition.
    """
    return torch.stack([_one(f"{seed}|{site}|{token}|{draw}", size) for token in tokens])


def _one(key: str, size: int) -> Tensor:
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    return torch.randn(size, generator=torch.Generator().manual_seed(number))
