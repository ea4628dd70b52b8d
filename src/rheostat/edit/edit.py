"""`Edit`: the interface of every edit. A frozen, comparable value that round-trips through files.

An edit knows nothing of hooks: `change` maps activations of the chosen tokens to new ones. The engine finds the tokens,
looks up the value, restricts the change to `units`, and counts what happened.
"""

import hashlib
import json
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.capture.activations import Activations
from rheostat.edit.own import own
from rheostat.edit.source import FromPrompt, Source
from rheostat.sites.positions import Positions, PositionsLike
from rheostat.sites.site import SiteLike


@dataclass(frozen=True, eq=False)
class Edit(ABC):
    """A change of the activations at one site (or at every site that a pattern matches).

    It keeps a copy of a tensor that it is given, unless that requires gradients: set `requires_grad` before the edit is
    made, not after. `Activations` are not copied.
    """

    site: SiteLike
    positions: PositionsLike = field(default="all", kw_only=True)
    units: tuple[int, ...] | None = field(default=None, kw_only=True)
    """Coordinates to change: dimensions, neurons, or heads at a `heads` site; None: all."""
    strength: float = field(default=1.0, kw_only=True)
    """0 is the identity, bit for bit."""
    decay: float | None = field(default=None, kw_only=True)
    """Strength fades over the text that the model writes: its token n, counted from 0, is edited at strength · decayⁿ,
    the prompt's tokens at the whole strength. Above 0, below 1; a half-life of k tokens is 0.5 ** (1 / k)."""

    name: ClassVar[str]
    depends_on_tokens: ClassVar[bool] = False
    """Whether what it does to a token depends on the token's position, so that `at_tokens` must be asked."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()

    def __post_init__(self) -> None:
        site = f"blocks.{self.site[1]}.{self.site[0]}" if isinstance(self.site, tuple) else str(self.site)
        object.__setattr__(self, "site", site)
        object.__setattr__(self, "positions", Positions.parse(self.positions))
        if self.units is not None:
            try:
                object.__setattr__(self, "units", tuple(map(operator.index, self.units)))
            except TypeError as error:
                raise BadArgument(
                    f"{self.name} at {site}: units={self.units!r} are no integers, as in (3, 17)."
                ) from error
            if not self.units:
                raise EditNotUsable(
                    f"{self.name} at {site}: units=() leaves nothing to change. Leave it out for all units."
                )
        object.__setattr__(self, "strength", finite(self, "strength"))
        self._check_decay()
        source: object = self.source
        if source is not None and not isinstance(source, Tensor | Activations | FromPrompt):
            hint = "a text: FromPrompt('…')" if isinstance(source, str) else "an array or list: torch.tensor(…)"
            raise BadArgument(f"{self.name} at {site}: its value is a {type(source).__name__}. Give {hint}.")
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Tensor):
                object.__setattr__(self, one.name, own(value))

    @property
    def source(self) -> Source | None:
        """Where the value comes from; None for edits that need none."""
        return None

    @abstractmethod
    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Return the new activations of the chosen tokens.

        Args:
            activation: (token, …site), already restricted to `units`.
            value: broadcastable to it; None for edits without a source. Never called with strength 0.
        """

    def at_tokens(
        self,
        value: Float[Tensor, "..."] | None,
        site: str,
        tokens: Sequence[int],
        shape: tuple[int, ...],
    ) -> Float[Tensor, "..."] | None:
        """Return the value that `change` is given for tokens at these positions of their rows.

        Args:
            value: from the source; None where there is none.
            site: the name of the one site that is edited.
            tokens: indices in their own rows.
            shape: of the site's activation of one token, over all its units.
        """
        return value

    def at_sites(
        self,
        value: Float[Tensor, "..."] | None,
        sites: tuple[str, ...],
        token: int,
        shape: tuple[int, ...],
    ) -> Float[Tensor, "..."] | None:
        """Return what `at_tokens` does for one token at each of several sites.

        Args:
            value: (site, …site) from the source; None where there is none.
            sites: their names.
            token: its index in its own row.
            shape: of one token's activation, the same at all of them.
        """
        if not self.depends_on_tokens:
            return value
        each = [None] * len(sites) if value is None else value[:, None].unbind()
        found = [self.at_tokens(one, site, (token,), shape) for one, site in zip(each, sites, strict=True)]
        return None if found[0] is None else torch.cat([one for one in found if one is not None])

    def check_shape(self, site: str, shape: tuple[int, ...]) -> None:  # noqa: B027 - most edits hold nothing more
        """Refuse what does not fit a site whose activation of one token has this shape.

        Raises:
            EditNotUsable: what the edit holds beside its value has another shape.
        """

    @property
    def is_line(self) -> bool:
        """Whether `change` is h ↦ a·h + b, with a and b that do not depend on the activation h."""
        return False

    def line(self, value: Float[Tensor, "..."] | None) -> tuple[float, Float[Tensor, "..."] | None]:
        """Return a and b (None: 0) of an edit that `is_line`.

        Args:
            value: what `change` would be given, in the dtype of the activation.
        """
        raise NotImplementedError

    def faded(self, n_written: int) -> "Edit":
        """Return the edit of the token that the model writes after `n_written` others."""
        return self if self.decay is None else replace(self, strength=self.strength * self.decay**n_written, decay=None)

    def _check_decay(self) -> None:
        if self.decay is None:
            return
        object.__setattr__(self, "decay", finite(self, "decay"))
        if not 0 < self.decay < 1:
            raise BadArgument(f"{self.name} at {self.site}: decay {self.decay:g} is not above 0 and below 1.")
        if not self.where.reaches_generated:
            raise EditNotUsable(
                f"{self.name} at {self.site}: decay says nothing at positions {self.where}: the model writes no token "
                "there. Give positions='generated' or 'all', or leave decay out."
            )

    @property
    def where(self) -> Positions:
        """The positions, parsed."""
        return Positions.parse(self.positions)

    def to_dict(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return JSON-able settings, in which tensors are named, and the tensors by name."""
        settings: dict[str, Any] = {"edit": self.name}
        tensors: dict[str, Tensor] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Positions):
                settings[one.name] = value.to_json()
            elif isinstance(value, Tensor):
                settings[one.name] = {"tensor": one.name}
                tensors[one.name] = value.detach().cpu().contiguous().clone()
            elif isinstance(value, Activations):
                settings[one.name] = {"activations": list(value), "positions": value.positions, "model": value.model}
                settings[one.name]["axes"] = {name: list(axes) for name, axes in value.axes.items()}
                tensors.update(
                    {f"{one.name}/{name}": t.detach().cpu().contiguous().clone() for name, t in value.items()}
                )
            elif isinstance(value, FromPrompt):
                positions = Positions.parse(value.positions).to_json()
                settings[one.name] = {"prompt": value.prompt, "positions": positions, "kind": value.kind}
            elif value is not None and value is not False:  # what is off stands in no file
                settings[one.name] = list(value) if isinstance(value, tuple) else value
        return settings, tensors

    def fingerprint(self) -> str:
        """Return a SHA-256 over settings and tensor contents; equal edits have equal fingerprints."""
        settings, tensors = self.to_dict()
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
            digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edit) and self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __str__(self) -> str:
        units = f", {len(self.units)} units" if self.units else ""
        strength = f", strength {self.strength:g}" if self.strength != 1 else ""
        decay = f", decay {self.decay:g}" if self.decay is not None else ""
        return f"{self.name} at {self.site}, positions {self.where}{units}{strength}{decay}"


def finite(edit: Edit, setting: str) -> float:
    """Return a setting of an edit as a number.

    Raises:
        BadArgument: it is no finite number.
    """
    value = getattr(edit, setting)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not math.isfinite(number):
        raise BadArgument(f"{edit.name} at {edit.site}: {setting} {value!r} is not a finite number.")
    return number
