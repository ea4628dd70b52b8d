"""`PromptFormat`: how pairs are written as a prompt, without demonstrations or after some."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.base.errors import BadArgument
from rheostat.tasks.item import Item
from rheostat.tasks.pairs import Pair


@dataclass(frozen=True)
class PromptFormat:
    """How a question stands in a prompt and where its answer goes."""

    name: str
    question: str
    """With `{}` for the question; the answer follows at once."""
    lead: str = " "
    """Stands before an answer and belongs to its first token: a space, or nothing."""
    between: str = "\n"
    """Stands after each demonstration."""

    def ask(self, question: str) -> str:
        """Return the prompt without demonstrations; it ends where the answer begins."""
        return self.question.format(question)

    def prompt(self, shown: Sequence[Pair], question: str) -> str:
        """Return the prompt after demonstrations, in their order."""
        written = [self.ask(pair.question) + self.lead + pair.answer + self.between for pair in shown]
        return "".join([*written, self.ask(question)])

    def item(self, pair: Pair, shown: Sequence[Pair] = (), *, group: str = "") -> Item:
        """Return a pair as an item, after demonstrations."""
        return Item(self.prompt(shown, pair.question), self.lead + pair.answer, group)


ARROW = PromptFormat("arrow", "{} ->")
EXAMPLE = PromptFormat("example", "example:{}->", lead="")
"""As in Hendel et al. 2023, "In-context learning creates task vectors"."""
QUESTION = PromptFormat("question", "Q: {}\nA:")
INPUT = PromptFormat("input", "Input: {}\nOutput:", between="\n\n")
"""As in Wei et al. 2023, "Larger language models do in-context learning differently", but for the empty line."""
FORMATS = {one.name: one for one in (ARROW, EXAMPLE, QUESTION, INPUT)}


def few_shot(
    pool: Sequence[Pair], asked: Sequence[Pair], k: int, *, style: PromptFormat = ARROW, seed: int = 0
) -> tuple[Item, ...]:
    """Return each pair as an item after k demonstrations of its own, drawn from a pool.

    Args:
        pool: the demonstrations to draw from; the asked pair and its inverse (cold, hot where hot, cold is asked) are
            never shown.
        asked: the pairs to ask.
        k: demonstrations, from 0.
        style: how the prompt is written.
        seed: of the draws.

    Raises:
        BadArgument: the pool holds too few pairs.
    """
    rng = np.random.default_rng(seed)
    return tuple(style.item(pair, draw(pool, k, rng, without=pair)) for pair in asked)


def draw(pool: Sequence[Pair], k: int, rng: np.random.Generator, *, without: Pair | None = None) -> list[Pair]:
    """Return k different pairs of a pool in random order, none with the question of `without`, none its inverse.

    Raises:
        BadArgument: the pool holds too few.
    """
    usable = [one for one in pool if without is None or not _tells(one, without)]
    if k < 0 or k > len(usable):
        raise BadArgument(f"k={k}: from 0 to the {len(usable)} pairs that can be shown.")
    return [usable[place] for place in rng.permutation(len(usable))[:k]]


def _tells(shown: Pair, asked: Pair) -> bool:
    """Tell whether a pair gives the answer of another away, or asks the same: itself, and its inverse."""
    return shown.question == asked.question or shown.words == asked.words
