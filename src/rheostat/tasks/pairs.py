"""`PairTask`: pairs of words with one relation, and their split into demonstrations, dev and test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rheostat.base.errors import BadArgument
from rheostat.models.network import Network

Kind = Literal["knowledge", "linguistic", "algorithmic", "translation", "meaning"]
SHARES = (0.5, 0.2, 0.3)
"""Of demonstrations, dev and test."""


@dataclass(frozen=True)
class Pair:
    """A question and its answer, bare: no space before either."""

    question: str
    answer: str

    @property
    def words(self) -> frozenset[str]:
        """Question and answer, whatever their letters' case: a pair and its inverse have the same."""
        return frozenset((self.question.casefold(), self.answer.casefold()))


@dataclass(frozen=True)
class Split:
    """Three parts of a task's pairs; a pair and its inverse stand in the same."""

    shown: tuple[Pair, ...]
    """Demonstrations are drawn from these."""
    dev: tuple[Pair, ...]
    """What is chosen, a block say, is chosen on these."""
    test: tuple[Pair, ...]
    """What is reported is measured on these."""


@dataclass(frozen=True)
class PairTask:
    """A relation between words."""

    name: str
    kind: Kind
    pairs: tuple[Pair, ...]
    """Every question once."""
    about: tuple[str, ...] = ()
    """Words that name the task (capital, city), none of them an answer."""

    def __post_init__(self) -> None:
        questions = [pair.question for pair in self.pairs]
        if not questions or len(set(questions)) < len(questions):
            twice = sorted({one for one in questions if questions.count(one) > 1})
            raise BadArgument(f"the task {self.name!r} needs pairs, each question once; twice: {twice}.")
        if telling := sorted({pair.answer for pair in self.pairs} & set(self.about)):
            raise BadArgument(f"the words {telling} name the task {self.name!r} and are answers of it: leave them out.")

    def __len__(self) -> int:
        return len(self.pairs)

    def split(self, *, seed: int = 0, shares: tuple[float, float, float] = SHARES) -> Split:
        """Return the pairs in three parts, at random.

        A pair and its inverse (hot, cold and cold, hot) go together.

        Args:
            seed: of the order.
            shares: of demonstrations, dev and test, each above 0; they sum to 1.

        Raises:
            BadArgument: the shares do not sum to 1, or a part would be empty.
        """
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise BadArgument(f"shares={shares}: three numbers above 0 that sum to 1.")
        groups = _together(self.pairs)
        order = [groups[place] for place in np.random.default_rng(seed).permutation(len(groups))]
        parts: tuple[list[Pair], ...] = ([], [], [])
        wanted = [share * len(self.pairs) for share in shares]
        for group in order:
            short = [n - len(part) for n, part in zip(wanted, parts, strict=True)]
            parts[int(np.argmax(short))].extend(group)
        if not all(parts):
            raise BadArgument(
                f"the task {self.name!r} has {len(self)} pairs in {len(groups)} groups: too few to split."
            )
        return Split(*map(tuple, parts))

    def in_reach(self, network: Network, *, lead: str = " ", max_tokens: int = 3) -> "PairTask | None":
        """Return the task without the pairs whose answer a network spells in more tokens; None where none is left.

        Args:
            network: with a tokenizer.
            lead: what stands before an answer in the prompt's format: a space, or nothing.
            max_tokens: at most so many in an answer.
        """
        kept = tuple(one for one in self.pairs if len(network.tokens.spell(lead + one.answer)) <= max_tokens)
        return replace(self, pairs=kept) if kept else None


def _together(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Return the pairs in groups: a pair and its inverse are one."""
    groups: dict[frozenset[str], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.words, []).append(pair)
    return list(groups.values())
