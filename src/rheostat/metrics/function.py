"""A free function of the logits as a metric. It must be given a name: a store believes that a name says it all."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.metrics.metric import Bound, Metric, identify
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True)
class OfLogits(Metric):
    """What `function` returns for the logits at some positions, under a name of your own.

    The name is all that a store knows of the function: when the function changes, change the name (`entropy-2`).

    Raises:
        BadArgument: the name is empty or holds more than letters, digits, `_`, `.` and `-`.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    """From (batch, pos, d_vocab) to (batch,)."""
    at: PositionsLike = field(default="last", kw_only=True)
    """Where the logits are read."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][\w.-]*", self.name):
            raise BadArgument(
                f"a function of the logits needs a name of letters, digits, '_', '.' and '-'; {self.name!r} given."
            )
        object.__setattr__(self, "at", Positions.parse(self.at))

    @property
    def column(self) -> str:
        """Its name in tables."""
        return self.name

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Find the positions in every prompt; see `Metric.bind`."""
        places = [Positions.parse(self.at).in_prompt(row) for row in rows]
        return tuple(Bound(identify("of_logits", name=self.name, at=at), at, self.function) for at in places)
