"""The same question in other words, or in the same words with something around them: each is another prompt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from rheostat.tasks.format import PromptFormat, draw
from rheostat.tasks.pairs import Pair

Kind = Literal["filler", "paraphrase"]
LEADS = (" ", "\n", "\n\n", "- ", "Hello.\n", "Facts:\n", "Question: ", "Please answer.\n")
"""What costs no wit: it stands before the prompt."""
SENTENCES = (
    "The capital city of {} is",
    "The capital of the country {} is",
    "Capital of {}:",
    "Q: What is the capital of {}?\nA:",
)
"""The question in other words."""
N_OTHER_EXAMPLES = 2


def fillers(style: PromptFormat, shown: Sequence[Pair], asked: Pair) -> list[str]:
    """Return prompts that say the same, with something in front."""
    prompt = style.prompt(shown, asked.question)
    return [lead + prompt for lead in LEADS]


def paraphrases(
    style: PromptFormat, pool: Sequence[Pair], shown: Sequence[Pair], asked: Pair, *, seed: int
) -> list[str]:
    """Return prompts with the examples in another order, with other examples, and in other words.

    Args:
        style: of the question as it is.
        pool: other examples are drawn from these.
        shown: the examples as they are.
        asked: the question with its answer, which is never shown.
        seed: of the examples.
    """
    rng = np.random.default_rng(seed)
    n = len(shown)
    others = draw([one for one in pool if one not in shown], N_OTHER_EXAMPLES * n, rng, without=asked)
    examples = [list(reversed(shown)), *(others[place : place + n] for place in range(0, len(others), n))]
    reworded = [replace(style, question=sentence).prompt(shown, asked.question) for sentence in SENTENCES]
    return [*(style.prompt(one, asked.question) for one in examples), *reworded]


def thinking(asked: Pair) -> str:
    """Return a prompt that asks to think before the answer."""
    return (
        f"Question: What is the capital of {asked.question}?\n"
        f"Think about what you know of {asked.question} first, then answer.\nThought:"
    )


def concluded(asked: Pair, thought: str) -> str:
    """Return the prompt that asks for the answer behind a thought."""
    return f"{thinking(asked)}{thought.rstrip()}\nAnswer: The capital of {asked.question} is"
