"""Questions whose answers are to be held back: prompts that the intact network answers rightly, with all variants."""

from dataclasses import dataclass

import numpy as np

from rheostat.evaluation.scoring import is_right, tokens_for
from rheostat.studies.held_back.abilities import N_SHOWN, Ability
from rheostat.studies.held_back.served import Request, Served
from rheostat.studies.held_back.variants import fillers, paraphrases
from rheostat.tasks.format import draw
from rheostat.tasks.pairs import Pair

N_MANY = 8
"""Examples, where there are more."""


@dataclass(frozen=True)
class Question:
    """A pair, with the prompts that ask for its second word."""

    pair: Pair
    prompt: str
    fillers: tuple[str, ...]
    paraphrases: tuple[str, ...]
    more: str
    """The prompt with more examples."""

    @property
    def answer(self) -> str:
        """With its leading space."""
        return f" {self.pair.answer}"

    @property
    def n_new(self) -> int:
        """Tokens in which the answer fits."""
        return tokens_for(self.answer)


def questions(one: Ability, *, seed: int) -> list[Question]:
    """Return the test pairs of an ability as questions."""
    rng, pool, found = np.random.default_rng(seed), one.split.shown, []
    for place, pair in enumerate(one.split.test):
        shown, many = draw(pool, N_SHOWN, rng, without=pair), draw(pool, N_MANY, rng, without=pair)
        found.append(
            Question(
                pair,
                one.style.prompt(shown, pair.question),
                tuple(fillers(one.style, shown, pair)),
                tuple(paraphrases(one.style, pool, shown, pair, seed=seed + place)),
                one.style.prompt(many, pair.question),
            )
        )
    return found


def answered(served: Served, asked: list[Question]) -> list[bool]:
    """Tell which questions the intact network answers rightly."""
    said = served.answers([Request(one.prompt, one.n_new, 0.0) for one in asked])
    return [is_right(found.text, one.answer, cut=False) for one, found in zip(asked, said, strict=True)]
