"""The pairs of prompts that a model answers, each with another pair of the same length, whose gradient is a control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.base.errors import BadArgument, NotOneToken
from rheostat.data.relations import PromptPair, prompt_pairs
from rheostat.metrics.tokens import LogitDifference
from rheostat.model import Model
from rheostat.models.tokens import Row
from rheostat.tracing.patching import Pair


@dataclass(frozen=True)
class Job:
    """One pair, and the other one."""

    pair: PromptPair
    other: PromptPair
    rows: tuple[Row, Row]
    """Clean and corrupted."""

    @property
    def first(self) -> int:
        """The first token in which the two prompts differ: before it nothing can be patched."""
        return next(
            place for place, (a, b) in enumerate(zip(self.rows[0].ids, self.rows[1].ids, strict=True)) if a != b
        )


def metric_of(pair: PromptPair) -> LogitDifference:
    """Return the logit difference of the clean answer and the corrupted one."""
    return LogitDifference(pair.clean_answer, pair.corrupt_answer)


def answered(model: Model, pair: PromptPair) -> bool:
    """Tell whether both prompts have one length, each prefers its own answer, and both answers are single tokens."""
    try:
        found = Pair.of(
            model,
            pair.clean_prompt,
            pair.corrupt_prompt,
            answer=pair.clean_answer,
            versus=pair.corrupt_answer,
            direction="denoise",
        )
    except (NotOneToken, BadArgument):
        return False
    return found.values[0] > 0 > found.values[1]


def jobs(model: Model, *, limit: int, seed: int) -> list[Job]:
    """Return up to `limit` pairs of all relations in turn, each with another pair of as many tokens."""
    usable = [pair for pair in prompt_pairs() if answered(model, pair)]
    lengths = [len(model.row(pair.clean_prompt)) for pair in usable]
    rng = np.random.default_rng(seed)
    found = []
    for index in _in_turn([pair.relation for pair in usable], rng):
        alike = [other for other, length in enumerate(lengths) if length == lengths[index] and other != index]
        if alike:
            pair, other = usable[index], usable[alike[int(rng.integers(len(alike)))]]
            rows = (model.row(pair.clean_prompt), model.row(pair.corrupt_prompt))
            found.append(Job(pair, other, rows))
    return found[:limit]


def _in_turn(kinds: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Return all indices, shuffled within each kind, taking one of every kind in turn."""
    turns: dict[str, int] = {}
    order = []
    for index in rng.permutation(len(kinds)).tolist():
        turn = turns[kinds[index]] = turns.get(kinds[index], -1) + 1
        order.append((turn, kinds.index(kinds[index]), index))
    return [index for _, _, index in sorted(order)]
