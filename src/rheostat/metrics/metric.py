"""`Metric`: a number per prompt, from logits. A frozen value; bound to a prompt, it says which logits it needs.

Pads never count, because a metric never meets one: bound to a row, it names positions in the row's own tokens
(`Bound.positions`), and it receives the logits of exactly these.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean, share_interval
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike

Entry = TypeVar("Entry")

Token: TypeAlias = int | str
"""An id, or the text of exactly one token (most words need their leading space)."""

TokenLike: TypeAlias = Token | Sequence[Token]
"""A token for every prompt, or a list with one per prompt."""


@dataclass(frozen=True)
class Bound:
    """A metric with its tokens and positions resolved for one prompt."""

    identifier: str
    """Equal for equal questions about this prompt, such as `probability(at=4,answer=19963)`; part of a store's key."""
    positions: tuple[int, ...]
    """Where in the prompt's own tokens it reads logits, in the order in which it wants them."""
    compute: Callable[..., Tensor]
    """From (batch, pos, d_vocab), and the clean run's (pos, d_vocab) where it is needed, to (batch,)."""
    needs_clean: bool = False
    """Whether the logits of the unedited run are needed too."""

    def __call__(
        self, logits: Float[Tensor, "batch pos d_vocab"], clean: Float[Tensor, "pos d_vocab"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Return one value per row; the rows are runs of this one prompt under different plans.

        Args:
            logits: at `positions`, in their order.
            clean: the same of the unedited run; only read where `needs_clean`.

        Raises:
            BadArgument: the logits stand at another number of positions, the clean ones are missing, or a free
                function returned another shape.
        """
        if logits.shape[1] != len(self.positions):
            raise BadArgument(
                f"{self.identifier} reads logits at {len(self.positions)} positions; {logits.shape[1]} given."
            )
        if self.needs_clean and clean is None:
            raise BadArgument(f"{self.identifier} compares with the unedited run; give its logits as clean=….")
        values = self.compute(logits, clean) if self.needs_clean else self.compute(logits)
        if values.shape != logits.shape[:1]:
            raise BadArgument(
                f"{self.identifier} returned the shape {tuple(values.shape)} for {len(logits)} rows; a number each."
            )
        return values


class Metric(ABC):
    """A number per prompt. Subclasses are frozen dataclasses."""

    is_share: ClassVar[bool] = False
    """Whether the value is 0 or 1, so that its mean is a share."""

    @property
    def column(self) -> str:
        """Its name in tables: `LogitDifference` is logit_difference."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()

    @abstractmethod
    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Resolve tokens and positions, one `Bound` per prompt, before anything runs.

        Raises:
            NotOneToken, PositionNotFound, AmbiguousPosition: a token or position that a prompt does not have.
            BadArgument: a list with one entry per prompt has another length.
        """

    def mean(self, values: Sequence[float] | Values, *, seed: int) -> Interval:
        """Return the mean over prompts, each counted once, with its 95 % bootstrap interval.

        A share gets exact ends where all prompts agree (`share_interval`).

        Raises:
            BadArgument: there are fewer than two prompts, or a value is NaN.
        """
        found = bootstrap_mean(values, seed=seed)
        return share_interval(found) if self.is_share else found


def identify(column: str, **settings: object) -> str:
    """Return the text that names a bound metric: the same for the same settings, in whatever order."""
    return f"{column}({','.join(f'{name}={settings[name]}' for name in sorted(settings))})"


def frozen(asked: TokenLike) -> TokenLike:
    """Return lists of tokens as tuples, so that metrics can be compared and hashed."""
    return asked if isinstance(asked, int | str) else tuple(asked)


def token_ids(network: Network, asked: TokenLike, n_prompts: int) -> tuple[int, ...]:
    """Return one id per prompt.

    Raises:
        NotOneToken: a text is several tokens, or none.
        BadArgument: the list has another length, or an id lies outside the vocabulary.
    """
    if isinstance(asked, int | str):
        return (token_id(network, asked),) * n_prompts
    return tuple(token_id(network, one) for one in per_prompt(asked, n_prompts, what="tokens"))


def token_id(network: Network, token: Token) -> int:
    """Return the id of one token; see `token_ids`."""
    if isinstance(token, str):
        return network.token_id(token)
    n = network.anatomy.d_vocab if network.anatomy is not None else None
    if token < 0 or (n is not None and token >= n):
        known = "ids from 0" if n is None else f"ids 0 to {n - 1}"
        raise BadArgument(f"token id {token} lies outside the vocabulary of {network.name}: {known}.")
    return int(token)


def per_prompt(given: Sequence[Entry], n_prompts: int, *, what: str) -> Sequence[Entry]:
    """Return a list that must have one entry per prompt.

    Raises:
        BadArgument: it has not.
    """
    if len(given) != n_prompts:
        raise BadArgument(f"{len(given)} {what} for {n_prompts} prompts; give one for all, or one per prompt.")
    return given


def one_position(asked: PositionsLike, row: Row) -> int:
    """Return the single position that a metric of one token reads.

    Raises:
        BadArgument: several were named.
        PositionNotFound, AmbiguousPosition: none was found.
    """
    where = Positions.parse(asked)
    found = where.in_prompt(row)
    if len(found) != 1:
        raise BadArgument(f"at={where} names {len(found)} tokens of the prompt; this metric reads at one.")
    return found[0]
