"""Metrics of tokens that the prompt holds: loss, perplexity, and whether greedy decoding would have written them.

The token at position t is predicted at t − 1, so the first token of a row has no loss: `tokens="all"` leaves it out,
and naming it is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rheostat.base.errors import PositionNotFound
from rheostat.metrics import logits as of
from rheostat.metrics.metric import Bound, Metric, identify, per_prompt
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike


@dataclass(frozen=True)
class PerPrompt:
    """Tokens of each prompt's own: answers of different lengths, say."""

    positions: Sequence[PositionsLike]
    """One entry per prompt."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", tuple(map(Positions.parse, self.positions)))


TokensAsked: TypeAlias = "str | int | slice | Sequence[int] | Positions | PerPrompt"
"""Positions for all prompts, as `Positions.parse` reads them, or some for each."""


@dataclass(frozen=True)
class _OfPromptTokens(Metric):
    """A metric of chosen tokens of the prompt, each predicted from the ones before it."""

    tokens: TokensAsked = "all"
    """Which tokens are predicted, as positions; `all` is every token but the first."""

    def __post_init__(self) -> None:
        if not isinstance(self.tokens, PerPrompt):
            object.__setattr__(self, "tokens", Positions.parse(self.tokens))

    @staticmethod
    def value(logits: Float[Tensor, "batch pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, " batch"]:
        """Return the value of each row; `logits` stand one position before their targets."""
        raise NotImplementedError

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Find the tokens in every prompt; see `Metric.bind`."""
        if isinstance(self.tokens, PerPrompt):
            asked = per_prompt(self.tokens.positions, len(rows), what="entries of tokens")
        else:
            asked = [self.tokens] * len(rows)
        return tuple(map(self._bound, rows, asked))

    def _bound(self, row: Row, tokens: PositionsLike) -> Bound:
        places = predicted_places(tokens, row)
        compute = partial(_with_targets, self.value, tuple(row.ids[place] for place in places))
        return Bound(identify(self.column, tokens=places), tuple(place - 1 for place in places), compute)


class Loss(_OfPromptTokens):
    """The mean negative log-probability of the chosen tokens of a prompt, in nats, at least 0."""

    @staticmethod
    def value(logits: Float[Tensor, "batch pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, " batch"]:
        """Return the mean over positions."""
        return of.surprise(logits, targets).mean(-1)


class Perplexity(_OfPromptTokens):
    """The exponential of the loss, at least 1: among how many equally likely tokens the model is undecided.

    Reference: Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks.
    """

    @staticmethod
    def value(logits: Float[Tensor, "batch pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, " batch"]:
        """Return the exponential of the mean over positions."""
        return Loss.value(logits, targets).exp()

    def mean(self, values: Sequence[float] | Values, *, seed: int) -> Interval:
        """Return the exponential of the mean loss over prompts (the geometric mean), with its interval.

        Raises:
            BadArgument: there are fewer than two prompts.
        """
        loss = bootstrap_mean(np.log(np.asarray(values, dtype=np.float64)), seed=seed)
        low, middle, high = (float(np.exp(one)) for one in (loss.low, loss.value, loss.high))
        return Interval(middle, low, high, loss.n)


class GreedyMatch(_OfPromptTokens):
    """1 where greedy decoding would have written the chosen tokens, else 0.

    Each must be the likeliest at its place; among equally likely ones the lowest id counts, as in `generate`.
    Accuracy for an answer of several tokens that stands at the end of the prompt: `GreedyMatch(slice(-3, None))`.
    """

    is_share = True

    @staticmethod
    def value(logits: Float[Tensor, "batch pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, " batch"]:
        """Return the product over positions of whether the target is the likeliest."""
        each = [of.among(logits[:, place], [target]) for place, target in enumerate(targets.tolist())]
        return torch.stack(each, -1).prod(-1)


class FirstMatch(_OfPromptTokens):
    """1 where greedy decoding would have written the first of the chosen tokens, else 0."""

    is_share = True

    @staticmethod
    def value(logits: Float[Tensor, "batch pos d_vocab"], targets: Int[Tensor, " pos"]) -> Float[Tensor, " batch"]:
        """Return whether the first target is the likeliest."""
        return of.among(logits[:, 0], targets[:1].tolist())


def predicted_places(asked: PositionsLike, row: Row) -> tuple[int, ...]:
    """Return the positions of the tokens that are predicted.

    Raises:
        PositionNotFound: the first token of the row was named, or there is no other.
    """
    where = Positions.parse(asked)
    places = where.in_prompt(row)
    if where.kind in ("all", "prompt"):
        places = places[1:]
    if not places:
        raise PositionNotFound(f"tokens={where}: no token of a row of {len(row)} is predicted; the first never is.")
    if 0 in places:
        raise PositionNotFound(f"tokens={where} holds the first token of the row, which nothing predicts.")
    return places


def _with_targets(function: Callable[[Tensor, Tensor], Tensor], targets: tuple[int, ...], logits: Tensor) -> Tensor:
    return function(logits, torch.tensor(targets, device=logits.device))
