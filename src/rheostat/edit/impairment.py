"""`Impair`: damage activations by a graded amount, with keyed noise or by shrinking them.

With s the intensity, ε noise drawn for (seed, site, token, draw), and σ the scale (1 where none is given):

- `gaussian`: h + s·σ·ε
- `negative`: h + s·σ·(ε − max ε): every change is downwards, and the largest noise is exactly 0
- `magnitude`: h·(1 − s), so intensity 0 is the factor 1, and intensity 1 the factor 0

The modes are those of N. Helm-Burger 2022, progress report 7 (LessWrong). Its noise is called "normal gaussian random
values [-1,1]", which can mean three distributions; all are offered. Over what its maximum ran is not said; over a whole
batch would make a row depend on its neighbours, so here it is one token's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.base.names import did_you_mean
from rheostat.capture.activations import Activations
from rheostat.edit.edit import Edit, finite
from rheostat.edit.noise import Distribution, keyed_noise, noise_of_token
from rheostat.edit.source import Source

Mode = Literal["gaussian", "negative", "magnitude"]
Maximum = Literal["token", "bound"]


@dataclass(frozen=True, eq=False)
class Impair(Edit):
    """Damage by a graded amount; at intensity 0 nothing changes, bit for bit."""

    mode: str
    """`gaussian`, `negative` or `magnitude`."""
    intensity: float
    """Of noise: at least 0, in units of the activation, or of `scale` where that is given. Of `magnitude`: 0 to 1."""
    distribution: str = field(default="normal", kw_only=True)
    """Of the noise: `normal`, `truncated` (a normal one cut to [−1, 1]) or `uniform` on [−1, 1]."""
    scale: Source | None = field(default=None, kw_only=True)
    """What intensity 1 means, unit by unit, such as the site's own standard deviation (`measure_scale`)."""
    maximum: str = field(default="token", kw_only=True)
    """What `negative` noise is shifted down by: the largest that was drawn for the token, over the units that are
    impaired, or the `bound` that the distribution cannot exceed (1; a normal one has none)."""
    seed: int = field(default=0, kw_only=True)
    draw: int = field(default=0, kw_only=True)
    """Which repetition; noise is keyed by (seed, site, token index, draw)."""

    depends_on_tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "intensity", finite(self, "intensity"))
        for setting, known in (("mode", Mode), ("distribution", Distribution), ("maximum", Maximum)):
            given, names = getattr(self, setting), get_args(known)
            if given not in names:
                raise BadArgument(
                    f"{self.name} at {self.site}: no {setting} {given!r}.{did_you_mean(str(given), names)} "
                    f"One of: {', '.join(names)}."
                )
        if self.intensity < 0 or (self.mode == "magnitude" and self.intensity > 1):
            allowed = "0 (nothing) to 1 (all of it)" if self.mode == "magnitude" else "0 or above"
            raise BadArgument(
                f"{self.name} at {self.site}: {self.mode} takes an intensity of {allowed}; given {self.intensity:g}."
            )
        if self.mode == "magnitude" and not 0 <= self.strength <= 1:
            raise BadArgument(
                f"{self.name} at {self.site}: magnitude takes a strength of 0 to 1, not {self.strength:g}."
            )
        self._check_noise()

    @property
    def source(self) -> Source | None:
        """The scale."""
        return self.scale

    def at_tokens(
        self,
        value: Float[Tensor, "..."] | None,
        site: str,
        tokens: Sequence[int],
        shape: tuple[int, ...],
    ) -> Float[Tensor, "token *site"] | None:
        """Return what intensity 1 adds to each token, (token, …site) over all units of the site."""
        if self.mode == "magnitude":
            return None
        size = int(torch.Size(shape).numel())
        drawn = keyed_noise(site, tokens, size, seed=self.seed, draw=self.draw, distribution=self.distribution)
        return self._scaled(drawn.view(-1, *shape), value, shape)

    def at_sites(
        self,
        value: Float[Tensor, "..."] | None,
        sites: tuple[str, ...],
        token: int,
        shape: tuple[int, ...],
    ) -> Float[Tensor, "..."] | None:
        """Return what intensity 1 adds to one token, (site, …site) over all units of the sites."""
        if self.mode == "magnitude" or self.strength * self.intensity == 0:
            return None
        size = int(torch.Size(shape).numel())
        drawn = noise_of_token(sites, token, size, seed=self.seed, draw=self.draw, distribution=self.distribution)
        return self._scaled(drawn.view(-1, *shape), value, shape)

    def _scaled(self, noise: Tensor, value: Tensor | None, shape: tuple[int, ...]) -> Tensor:
        """Return noise (…, …site) shifted down where that is asked for, in units of the scale."""
        if self.mode == "negative":
            noise = noise - (1.0 if self.maximum == "bound" else self._largest(noise))
        if value is None:
            return noise
        scale = value
        if self.units is not None and scale.shape[-len(shape)] != shape[0]:
            spread = scale.new_zeros(*scale.shape[: -len(shape)], *shape)
            scale = spread.index_copy(-len(shape), torch.tensor(self.units, device=scale.device), scale)
        return noise.to(scale.device, scale.dtype) * scale

    @property
    def is_line(self) -> bool:
        """Always."""
        return True

    def line(self, value: Float[Tensor, "..."] | None) -> tuple[float, Float[Tensor, "..."] | None]:
        """Return 1 and the noise, or the factor and nothing to add."""
        amount = self.strength * self.intensity
        if amount == 0:
            return 1.0, None
        if self.mode == "magnitude":
            return 1 - amount, None
        assert value is not None
        return 1.0, amount * value

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Add the noise, or shrink."""
        factor, shift = self.line(value if value is None else value.to(activation.dtype))
        if shift is not None:
            return activation + shift
        return activation if factor == 1 else activation * factor

    def _largest(self, noise: Tensor) -> Tensor:
        """Return the largest noise of each token among the units that are impaired, as (token, 1, …)."""
        chosen = noise if self.units is None else noise[:, list(self.units)]
        return chosen.flatten(1).amax(-1).view(-1, *(1,) * (noise.dim() - 1))

    def _check_noise(self) -> None:
        if self.mode == "magnitude" and (self.scale is not None or self.distribution != "normal"):
            raise EditNotUsable(
                f"{self.name} at {self.site}: magnitude draws no noise; leave scale and distribution out."
            )
        if self.maximum == "bound" and (self.mode != "negative" or self.distribution == "normal"):
            raise EditNotUsable(
                f"{self.name} at {self.site}: maximum='bound' is for negative noise that has one: "
                "distribution='uniform' or 'truncated'."
            )
        scales = list(self.scale.values()) if isinstance(self.scale, Activations) else [self.scale]
        if any(isinstance(one, Tensor) and bool((one < 0).any()) for one in scales):
            raise BadArgument(f"{self.name} at {self.site}: the scale is a spread, 0 or above; it holds less.")

    def __str__(self) -> str:
        noise = "" if self.mode == "magnitude" or self.distribution == "normal" else f" {self.distribution}"
        unit = "" if self.scale is None else " (of the scale)"
        return f"{super().__str__()}, {self.mode}{noise} of intensity {self.intensity:g}{unit}"
