"""Where an edit's vector comes from: a tensor, captured activations, or another prompt run at the time of use."""

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.capture.activations import Activations
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True)
class FromPrompt:
    """The activation of another prompt, read when the edit is used."""

    prompt: str
    positions: PositionsLike = "last"
    """Which of its tokens; several must be as many as the tokens edited."""
    kind: str | None = None
    """Another kind of site in the same block, such as `resid_mid`; None: the edited site itself."""

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise BadArgument(f"the other prompt is a text; given {self.prompt!r}.")
        object.__setattr__(self, "positions", Positions.parse(self.positions))


Source: TypeAlias = Tensor | Activations | FromPrompt
"""A tensor (…site), (pos, …site) or (batch, pos, …site); captured activations, looked up by site; or another prompt."""
