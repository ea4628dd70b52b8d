"""The facts that a model knows, found once per run, and the subjects among them that have a set of words."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from rheostat.data.country_profiles import WHEEL, load_country_words
from rheostat.data.facts import Fact, all_facts
from rheostat.model import Model
from rheostat.models.network import Network
from rheostat.studies.known_facts import KnownFact, known_facts
from rheostat.studies.part import step_params
from rheostat.studies.spread import spread
from rheostat.studies.study import Context

N_FACTS, N_FACTS_QUICK = 64, 16
N_SUBJECTS, N_SUBJECTS_QUICK = 40, 16
N_OTHERS = 20
"""Other subjects whose words are looked for in a subject's states."""
OF_COUNTRIES = ("capital", "language", "continent")
"""Relations whose subject is a country."""
OF_CITIES = "country of a city"


@dataclass(frozen=True)
class Subject:
    """A country or a city of a known fact, with the words of the country."""

    known: KnownFact
    country: str
    words: frozenset[str]

    @property
    def name(self) -> str:
        """As it stands in the prompt."""
        return self.known.fact.subject

    @property
    def last(self) -> int:
        """Position of its last token."""
        return self.known.subject[-1]


def facts_of(model: Model, context: Context) -> list[KnownFact]:
    """Return every fact that the model knows."""

    def compute() -> pd.DataFrame:
        return pd.DataFrame(
            [
                {
                    **vars(one.fact),
                    "tokens": list(one.tokens),
                    "positions": list(one.subject),
                    "token": one.answer,
                    "probability": one.probability,
                }
                for one in known_facts(model)
            ]
        )

    asked = [fact.prompt for fact in all_facts()]
    table = context.step(f"facts-{model.name}", step_params(model, context, prompts=asked), compute)
    return [
        KnownFact(
            Fact(row["relation"], row["prompt"], row["subject"], row["answer"]),
            tuple(map(int, row["tokens"])),
            tuple(map(int, row["positions"])),
            int(row["token"]),
            float(row["probability"]),
        )
        for row in table.to_dict("records")
    ]


def chosen_facts(model: Model, context: Context) -> list[KnownFact]:
    """Return known facts, spread over the relations."""
    limit = N_FACTS_QUICK if context.quick else N_FACTS
    return spread(facts_of(model, context), lambda one: one.fact.relation, limit, context.seed)


def chosen_subjects(model: Model, context: Context) -> list[Subject]:
    """Return countries and cities of known facts whose country has a profile, each once."""
    words = load_country_words()
    found: dict[str, Subject] = {}
    for one in facts_of(model, context):
        country = _country(one.fact)
        if country in words and one.fact.subject not in found:
            found[one.fact.subject] = Subject(one, country, words[country] | _parts(country))
    limit = N_SUBJECTS_QUICK if context.quick else N_SUBJECTS
    return spread(list(found.values()), lambda one: one.known.fact.relation, limit, context.seed)


def other_words(subjects: Collection[Subject], seed: int) -> Mapping[str, list[frozenset[str]]]:
    """Return, per subject, the words of up to `N_OTHERS` other countries of the list."""
    by_country = {one.country: one.words for one in subjects}
    found = {}
    for number, one in enumerate(subjects):
        rest = [country for country in by_country if country != one.country]
        found[one.name] = [by_country[name] for name in spread(rest, lambda name: name, N_OTHERS, seed + number)]
    return found


def own_words(model: Network, subject: Subject) -> frozenset[str]:
    """Return the words of a subject's prompt and its tokens: finding them again says nothing."""
    pieces = (model.tokens.text(token).strip().lower() for token in subject.known.tokens)
    return frozenset([*pieces, *_parts(subject.known.fact.prompt), subject.name.lower()])


def subject_params(subjects: Collection[Subject]) -> dict[str, object]:
    """Return what a step on subjects depends on."""
    return {"subjects": [one.known.fact.prompt for one in subjects], "words": WHEEL.sha256, "others": N_OTHERS}


def _country(fact: Fact) -> str:
    if fact.relation in OF_COUNTRIES:
        return fact.subject
    return fact.answer.strip() if fact.relation == OF_CITIES else ""


def _parts(text: str) -> frozenset[str]:
    return frozenset(text.lower().replace(",", " ").split())
