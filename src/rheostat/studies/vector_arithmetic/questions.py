"""What is asked: words of four tasks as one-shot prompts, in the domain of the extracted updates and beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.data.categories import ANIMALS, COLOURS
from rheostat.data.state_capitals import STATE_CAPITALS
from rheostat.models.network import Network
from rheostat.studies.known_facts import begins
from rheostat.tasks.format import PromptFormat
from rheostat.tasks.library import pair_task
from rheostat.tasks.pairs import Pair

CAPITALS = "country-capital"
WORDINGS = {
    CAPITALS: PromptFormat("statement", "The capital of {} is", between=".\n"),
    "capitalise": PromptFormat("question", "Q: What is {} with a capital letter?\nA:"),
    "past-tense": PromptFormat("days", "Today I {}. Yesterday I", between=".\n"),
    "plural": PromptFormat("counting", "One {}, two", between=".\n"),
}
"""Task → how it is asked. The demonstration is one fixed pair of the task."""
IN, OUT = "in the domain", "beyond the domain"
DOMAINS = (IN, OUT)


def _of_animals_and_colours(pair: Pair) -> bool:
    return pair.question in COLOURS or pair.question in ANIMALS


def is_regular_past(pair: Pair) -> bool:
    """Tell whether a past tense is formed by the rules; "led" of "lead" ends like one and is none."""
    verb = pair.question
    return pair.answer in {verb + "ed", verb + "d", verb[:-1] + "ied", verb + verb[-1] + "ed"}


INSIDE: dict[str, Callable[[Pair], bool]] = {
    CAPITALS: lambda pair: pair.question not in STATE_CAPITALS,
    "capitalise": _of_animals_and_colours,
    "past-tense": is_regular_past,
    "plural": lambda pair: pair.answer == pair.question + "s",
}
"""Task → which of its pairs updates are extracted from: countries, animals and colours, regular verbs and nouns."""


@dataclass(frozen=True)
class Asked:
    """A pair as a one-shot prompt, in the tokens of one network."""

    task: str
    pair: Pair
    prompt: str
    argument: tuple[int, ...]
    """The argument's one token with its space, then without, where that is one too."""
    answer: int
    """The answer's first token."""


@dataclass(frozen=True)
class Questions:
    """All that is asked of one task."""

    task: str
    inside: tuple[Asked, ...]
    """In random order."""
    outside: tuple[Asked, ...]


def questions(network: Network, seed: int) -> dict[str, Questions]:
    """Return the questions of every task: arguments of one token whose answer begins with another token.

    Args:
        network: with a tokenizer.
        seed: of the order; the first pair in it is the demonstration and is never asked.
    """
    found = {}
    for task, style in WORDINGS.items():
        pairs = list(pair_task(task).pairs)
        if task == CAPITALS:
            pairs = with_states(pairs)
        pairs = [pairs[place] for place in np.random.default_rng(seed).permutation(len(pairs))]
        inside = [pair for pair in pairs if INSIDE[task](pair) and usable(network, pair)]
        outside = [pair for pair in pairs if not INSIDE[task](pair) and usable(network, pair)]
        shown, rest = inside[0], inside[1:]
        found[task] = Questions(
            task,
            tuple(asked(network, task, pair, style, shown) for pair in rest),
            tuple(asked(network, task, pair, style, shown) for pair in outside),
        )
    return found


def with_states(countries: Sequence[Pair]) -> list[Pair]:
    """Return the capitals of countries and of states, without names that both bear: Georgia has two capitals."""
    states = [Pair(*pair) for pair in STATE_CAPITALS.items()]
    both = {one.question for one in countries} & {one.question for one in states}
    return [pair for pair in (*countries, *states) if pair.question not in both]


def usable(network: Network, pair: Pair) -> bool:
    """Tell whether the argument is one token, and the answer begins unmistakably and with another token."""
    argument, answer = network.tokens.spell(" " + pair.question), network.tokens.spell(" " + pair.answer)
    return len(argument) == 1 and argument[0] != answer[0] and begins(network.tokens.text(answer[0]), " " + pair.answer)


def asked(network: Network, task: str, pair: Pair, style: PromptFormat, shown: Pair) -> Asked:
    """Return a pair after its demonstration."""
    answer = network.tokens.spell(" " + pair.answer)[0]
    return Asked(task, pair, style.prompt([shown], pair.question), forms(network, pair.question, answer), answer)


def forms(network: Network, word: str, answer: int) -> tuple[int, ...]:
    """Return the single tokens that spell a word, with its space and without, but never the answer's."""
    spelled = (network.tokens.spell(before + word) for before in (" ", ""))
    return tuple(ids[0] for ids in spelled if len(ids) == 1 and ids[0] != answer)


def rivals(listed: Sequence[Asked]) -> list[Asked]:
    """Return, per question, the next one with another answer; in a list of one answer, the question itself."""
    found = []
    for place, one in enumerate(listed):
        order = [*listed[place + 1 :], *listed[:place]]
        found.append(next((other for other in order if other.answer != one.answer), one))
    return found
