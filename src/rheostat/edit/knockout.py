"""Edits that take edges out of attention: `CutAttention` (attention knockout, Geva et al. 2023, arXiv 2304.14767)."""

from dataclasses import dataclass, field
from math import inf, log1p
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, EditNotUsable
from rheostat.edit.edit import Edit
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True, eq=False)
class CutAttention(Edit):
    """a + log(1 − strength) on the attention logits a of edges, before the softmax.

    An edge leads from a query token (`positions`) to a key token (`keys`) that it can see. At strength 1 its weight is
    0 and the query's other weights are renormalised; at strength s its weight is multiplied by 1 − s before that.
    The site is a `pattern`, the units are heads. It works under sdpa and eager attention.
    """

    keys: PositionsLike = field(kw_only=True)
    """The tokens that are no longer seen."""

    name: ClassVar[str] = "cut_attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "keys", Positions.parse(self.keys))
        if not 0 <= self.strength <= 1:
            raise BadArgument(f"{self.name} at {self.site}: strength {self.strength:g} is not between 0 and 1.")
        if self.decay is not None:
            raise EditNotUsable(f"{self.name} at {self.site}: a cut does not fade. Leave decay out.")

    @property
    def hidden(self) -> Positions:
        """The key positions, parsed."""
        return Positions.parse(self.keys)

    @property
    def penalty(self) -> float:
        """What it adds to the attention logit of an edge: log(1 − strength)."""
        return -inf if self.strength == 1 else log1p(-self.strength)

    def change(
        self, activation: Float[Tensor, "token *site"], value: Float[Tensor, "..."] | None
    ) -> Float[Tensor, "token *site"]:
        """Lower the attention logits of edges."""
        return activation + self.penalty

    def __str__(self) -> str:
        return f"{super().__str__()}, keys {self.hidden}"
