"""Metrics of one token at one place: logit difference, probability, log-probability, rank."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from jaxtyping import Float
from torch import Tensor

from rheostat.metrics import logits as of
from rheostat.metrics.metric import Bound, Metric, TokenLike, frozen, identify, one_position, token_ids
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True)
class LogitDifference(Metric):
    """The logit of `answer` minus that of `other`, in nats: above 0 where the answer is likelier.

    Reference: Wang et al. 2023, Interpretability in the Wild (arXiv:2211.00593), section 2.
    """

    answer: TokenLike
    other: TokenLike
    at: PositionsLike = field(default="last", kw_only=True)
    """The position after which the token would stand."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "answer", frozen(self.answer))
        object.__setattr__(self, "other", frozen(self.other))
        object.__setattr__(self, "at", Positions.parse(self.at))

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Resolve tokens and positions; see `Metric.bind`."""
        answers, others = (token_ids(network, tokens, len(rows)) for tokens in (self.answer, self.other))
        return tuple(map(self._bound, rows, answers, others))

    def _bound(self, row: Row, answer: int, other: int) -> Bound:
        at = one_position(self.at, row)
        compute = partial(_first, partial(of.logit_difference, answer=answer, other=other))
        return Bound(identify(self.column, answer=answer, other=other, at=at), (at,), compute)


@dataclass(frozen=True)
class _OfToken(Metric):
    """A metric of one token's place in one distribution."""

    token: TokenLike
    at: PositionsLike = field(default="last", kw_only=True)
    """The position after which the token would stand."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", frozen(self.token))
        object.__setattr__(self, "at", Positions.parse(self.at))

    @staticmethod
    @abstractmethod
    def value(logits: Float[Tensor, "*rows d_vocab"], token: int) -> Float[Tensor, "*rows"]:
        """Return the value of each row of logits."""

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Resolve token and position; see `Metric.bind`."""
        return tuple(map(self._bound, rows, token_ids(network, self.token, len(rows))))

    def _bound(self, row: Row, token: int) -> Bound:
        at = one_position(self.at, row)
        compute = partial(_first, partial(self.value, token=token))
        return Bound(identify(self.column, token=token, at=at), (at,), compute)


class Probability(_OfToken):
    """The probability of a token, 0 to 1."""

    value = staticmethod(of.probability)


class LogProbability(_OfToken):
    """The natural logarithm of a token's probability, at most 0."""

    value = staticmethod(of.log_probability)


class Rank(_OfToken):
    """The rank of a token: 1 is the likeliest; ties share the better rank."""

    value = staticmethod(of.rank)


def _first(function: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """Apply a function of rows (batch, d_vocab) to logits at one position (batch, 1, d_vocab)."""
    return function(logits[:, 0])
