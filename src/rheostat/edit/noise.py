"""Keyed noise: drawn for what it is for, never in the order of calls."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.names import did_you_mean

Distribution = Literal["normal", "truncated", "uniform"]
"""Standard normal; standard normal given that it lies in [−1, 1]; uniform on [−1, 1]."""

_TABLE_NUMBERS = 2**15
"""How many numbers of a site are drawn together and kept for the next call."""


def keyed_noise(
    site: str, tokens: Sequence[int], size: int, *, seed: int, draw: int, distribution: str = "normal"
) -> Float[Tensor, "token size"]:
    """Return noise (token, size) in float32, on the CPU.

    Each token's row depends on (seed, site, token, draw) alone: not on the other tokens, the batch, or earlier calls.

    Args:
        site: the place that it is for.
        tokens: positions in the prompt, at least one.
        size: width of the site.
        seed: of the whole experiment.
        draw: which repetition.
        distribution: `normal`, `truncated` or `uniform`.

    Raises:
        BadArgument: an unknown distribution.
    """
    if distribution not in get_args(Distribution):
        near = did_you_mean(str(distribution), get_args(Distribution))
        raise BadArgument(
            f"no distribution {distribution!r} of noise.{near} One of: {', '.join(get_args(Distribution))}."
        )
    n = max(1, min(16, _TABLE_NUMBERS // size))
    parts = {part: place for place, part in enumerate(dict.fromkeys(token // n for token in tokens))}
    tables = [_table(site, part, n, size, seed, draw, distribution) for part in parts]
    if len(tokens) == 1:  # as in generation, where the time of a call counts
        return tables[0][tokens[0] % n].clone()[None]
    drawn = tables[0] if len(tables) == 1 else torch.cat(tables)
    return drawn.index_select(0, torch.tensor([parts[token // n] * n + token % n for token in tokens]))


@lru_cache(maxsize=256)
def noise_of_token(
    sites: tuple[str, ...], token: int, size: int, *, seed: int, draw: int, distribution: str = "normal"
) -> Float[Tensor, "site size"]:
    """Return the noise (site, size) of one token at several sites of one width: that of `keyed_noise`, drawn at once.

    It is kept for the next call, so it must not be written to. Arguments as in `keyed_noise`.
    """
    noise, generator = torch.empty(len(sites), size), torch.Generator()
    for one, site in zip(noise.unbind(), sites, strict=True):
        _draw(one, generator, f"{seed}|{site}|{token}|{draw}", distribution)
    return noise


@lru_cache(maxsize=1024)
def _table(site: str, part: int, n: int, size: int, seed: int, draw: int, distribution: str) -> Tensor:
    """Return the noise (token, size) of `n` neighbouring tokens; sweeps ask for the same again and again."""
    table, generator = torch.empty(n, size), torch.Generator()
    for token, one in enumerate(table.unbind(), part * n):
        _draw(one, generator, f"{seed}|{site}|{token}|{draw}", distribution)
    return table


def _draw(noise: Tensor, generator: torch.Generator, key: str, distribution: str) -> None:
    """Fill `noise` with what belongs to a key.

    torch's generator on the CPU reads the low 32 bits of a seed alone, so that of 65,000 keys two draw the same noise
    with a probability of about 0.4.
    """
    generator.manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1)
    if distribution == "normal":
        noise.normal_(generator=generator)
        return
    uniform = 2 * torch.rand(len(noise), generator=generator) - 1
    if distribution == "truncated":
        root = torch.tensor(0.5).sqrt()  # the quantile function of the normal distribution cut to [−1, 1]
        uniform = (torch.erfinv(uniform.double() * torch.erf(root.double())) / root.double()).float().clamp(-1, 1)
    noise.copy_(uniform)
