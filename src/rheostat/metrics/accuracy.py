"""Accuracy over answer sets: at the next token, and in what a model wrote."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.metrics import logits as of
from rheostat.metrics.metric import Bound, Metric, Token, identify, one_position, per_prompt, token_id
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.sites.positions import Positions, PositionsLike

Answers: TypeAlias = Collection[Token] | Sequence[Collection[Token]]
"""The tokens that are right for every prompt, or a list with such a set per prompt."""


@dataclass(frozen=True)
class Accuracy(Metric):
    """1 where the likeliest next token is one of the answers, else 0; of equals the lowest id counts, as in `generate`.

    Answers of several tokens: `GreedyMatch` where they stand in the prompt, `answered` where the model wrote them.
    """

    is_share = True

    answers: Answers
    at: PositionsLike = field(default="last", kw_only=True)
    """The position after which the answer would stand."""

    def __post_init__(self) -> None:
        if isinstance(self.answers, str) or not self.answers:
            raise BadArgument(f"answers={self.answers!r}: give one or several tokens in a list, or a list per prompt.")
        sets = tuple(one if isinstance(one, int | str) else tuple(one) for one in self.answers)
        if len({isinstance(one, tuple) for one in sets}) > 1 or () in sets:
            raise BadArgument(f"answers={self.answers!r}: tokens for all prompts, or one list of tokens per prompt.")
        object.__setattr__(self, "answers", sets)
        object.__setattr__(self, "at", Positions.parse(self.at))

    def bind(self, network: Network, rows: Sequence[Row]) -> tuple[Bound, ...]:
        """Resolve answers and positions; see `Metric.bind`."""
        return tuple(
            self._bound(row, tuple(sorted({token_id(network, token) for token in tokens})))
            for row, tokens in zip(rows, self._sets(len(rows)), strict=True)
        )

    def _sets(self, n_prompts: int) -> list[tuple[Token, ...]]:
        sets = [one for one in self.answers if isinstance(one, tuple)]
        if sets:
            return list(per_prompt(sets, n_prompts, what="answer sets"))
        return [tuple(one for one in self.answers if isinstance(one, int | str))] * n_prompts

    def _bound(self, row: Row, tokens: tuple[int, ...]) -> Bound:
        at = one_position(self.at, row)
        return Bound(identify(self.column, answers=tokens, at=at), (at,), partial(_is_answered, tokens))


def answered(written: Sequence[Sequence[int]], answers: Sequence[Collection[Sequence[int]]]) -> tuple[float, ...]:
    """Return, per prompt, 1 where what the model wrote begins with one of its answers, token for token, else 0.

    Only the beginning counts: a model that wrote “ Guinea-Bissau” has answered “ Guinea” too. Where answers can begin
    other words, end them with a token that must follow, such as that of a full stop or a line break.

    Args:
        written: the ids that were generated (`Generation.ids`).
        answers: per prompt, its answers, each one or several ids.

    Raises:
        BadArgument: the two differ in length, or an answer is empty.
    """
    if any(len(answer) == 0 for one in answers for answer in one):
        raise BadArgument("an answer without tokens would always be right; leave it out.")
    pairs = zip(written, per_prompt(answers, len(written), what="answer sets"), strict=True)
    return tuple(float(any(_begins(ids, answer) for answer in one)) for ids, one in pairs)


def _begins(ids: Sequence[int], answer: Sequence[int]) -> bool:
    return tuple(ids[: len(answer)]) == tuple(answer)


def _is_answered(tokens: tuple[int, ...], logits: Tensor) -> Tensor:
    return of.among(logits[:, 0], tokens)
