"""The same facts in three versions: to be known, to be copied from the context, and contradicted by the context."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheostat.data.relations import COUNTRIES
from rheostat.models.network import Network
from rheostat.studies.vector_arithmetic.questions import forms, usable
from rheostat.tasks.pairs import Pair

ABSTRACTIVE, EXTRACTIVE, WRONG = "abstractive", "extractive", "extractive, wrong fact"
VERSIONS = (ABSTRACTIVE, EXTRACTIVE, WRONG)
ASKING = {
    "capital": "What is the capital of {}?",
    "language": "Which language is spoken in {}?",
    "continent": "On which continent is {}?",
}
SAYING = {
    "capital": "The capital of {} is {}.",
    "language": "The people of {} speak {}.",
    "continent": "{} is a country in {}.",
}
"""Statements that stand before the questions of the extractive versions; they are worded in another way."""


@dataclass(frozen=True)
class Version:
    """One prompt about a fact; the answer is what the prompt calls for."""

    fact: int
    relation: str
    subject: str
    version: str
    prompt: str
    argument: tuple[int, ...]
    answer: int
    """First token of the right answer; of the context's answer where the context is wrong."""
    rival: int
    """First token of another answer; of the right one where the context is wrong."""


def versions(network: Network, limit: int, seed: int) -> list[Version]:
    """Return three versions per fact, facts spread over the relations.

    Args:
        network: with a tokenizer.
        limit: facts.
        seed: of the draws: which facts, and the demonstration and the wrong answer of each.
    """
    rng, found = np.random.default_rng(seed), []
    facts = {relation: _facts(network, relation) for relation in ASKING}
    orders = {relation: rng.permutation(len(pairs)).tolist() for relation, pairs in facts.items()}
    turns = [(relation, turn) for turn in range(max(map(len, facts.values()))) for relation in facts]
    chosen = [(relation, orders[relation][turn]) for relation, turn in turns if turn < len(orders[relation])]
    for number, (relation, place) in enumerate(chosen[:limit]):
        pair = facts[relation][place]
        others = _others(network, facts[relation], pair)
        shown, *rest = (others[one] for one in rng.permutation(len(others)))
        wrong = _others(network, rest, shown)[0]
        found += _versions(network, number, relation, pair, shown, wrong.answer)
    return found


def _facts(network: Network, relation: str) -> list[Pair]:
    pairs = [Pair(one.name, str(getattr(one, relation))) for one in COUNTRIES]
    return [pair for pair in pairs if usable(network, pair) and pair.answer not in pair.question]


def _others(network: Network, pairs: Sequence[Pair], own: Pair) -> list[Pair]:
    """Return pairs whose answers begin differently from a pair's own."""
    first = network.tokens.spell(" " + own.answer)[0]
    return [one for one in pairs if one != own and network.tokens.spell(" " + one.answer)[0] != first]


def _versions(network: Network, fact: int, relation: str, pair: Pair, shown: Pair, wrong: str) -> list[Version]:
    ask, say = ASKING[relation], SAYING[relation]
    asked = f"Q: {ask.format(shown.question)}\nA: {shown.answer}\nQ: {ask.format(pair.question)}\nA:"
    demonstrated = say.format(shown.question, shown.answer)
    right, other = (network.tokens.spell(" " + answer)[0] for answer in (pair.answer, wrong))
    argument = forms(network, pair.question, right)
    prompts = {
        ABSTRACTIVE: (asked, right, other),
        EXTRACTIVE: (f"{say.format(pair.question, pair.answer)} {demonstrated}\n{asked}", right, other),
        WRONG: (f"{say.format(pair.question, wrong)} {demonstrated}\n{asked}", other, right),
    }
    return [
        Version(fact, relation, pair.question, version, prompt, argument, answer, rival)
        for version, (prompt, answer, rival) in prompts.items()
    ]
