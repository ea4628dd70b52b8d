"""The tables written by hand keep the promises that the studies rest on."""

import json
import re

import pytest

from rheostat.base.errors import DamagedFile
from rheostat.data.bbc import parse_document
from rheostat.data.capitals import CAPITALS
from rheostat.data.categories import categories
from rheostat.data.country_facts import COUNTRIES_BY_CONTINENT, COUNTRIES_BY_LANGUAGE
from rheostat.data.country_profiles import SHORTEST, parse_profile, telling
from rheostat.data.elements import ELEMENTS
from rheostat.data.facts import all_facts
from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.data.relations import COUNTRIES, prompt_pairs
from rheostat.data.sentiment_words import SENTIMENT
from rheostat.data.state_capitals import STATE_CAPITALS
from rheostat.data.web_ngrams import parse_counts
from rheostat.data.word_lists import (
    CAPITAL_PROMPTS,
    COUNTRY_LISTS,
    TOPIC_LISTS,
    TOPIC_PROMPTS,
    TOPIC_WORDS,
    UNRELATED_LISTS,
)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_there_are_enough_pairs_and_each_differs_in_its_concept_alone() -> None:
    pairs = prompt_pairs()
    assert len(pairs) >= 36
    for pair in pairs:
        assert pair.clean_prompt.replace(pair.clean_concept, "_", 1) == pair.corrupt_prompt.replace(
            pair.corrupt_concept, "_", 1
        )
        assert pair.clean_prompt != pair.corrupt_prompt
        assert pair.clean_answer != pair.corrupt_answer


def test_no_fact_is_used_in_two_pairs() -> None:
    prompts = [prompt for pair in prompt_pairs() for prompt in (pair.clean_prompt, pair.corrupt_prompt)]
    assert len(prompts) == len(set(prompts))


def test_no_prompt_holds_its_own_answer() -> None:
    for pair in prompt_pairs():
        assert not words(pair.clean_answer) & words(pair.clean_prompt), pair.name
        assert not words(pair.corrupt_answer) & words(pair.corrupt_prompt), pair.name


def test_countries_are_listed_once() -> None:
    assert len({country.name for country in COUNTRIES}) == len(COUNTRIES)


TURNED = [COUNTRIES_BY_CONTINENT, COUNTRIES_BY_LANGUAGE, SENTIMENT]


@pytest.mark.parametrize("table", TURNED, ids=["continents", "languages", "sentiment"])
def test_no_word_stands_under_two_answers_or_holds_its_own(table: dict[str, tuple[str, ...]]) -> None:
    listed = [(word, answer) for answer, group in table.items() for word in group]
    assert len({word for word, _ in listed}) == len(listed) >= 70
    assert all(word == word.strip() for word, _ in listed)
    telling_names = {word for word, answer in listed if words(answer) & words(word)}
    assert telling_names <= {"Czech Republic"}, "one question of many that holds its answer is known"


def test_the_tables_of_countries_agree() -> None:
    continents = {name: continent for continent, group in COUNTRIES_BY_CONTINENT.items() for name in group}
    languages = {name: language for language, group in COUNTRIES_BY_LANGUAGE.items() for name in group}
    for one in COUNTRIES:
        assert continents.get(one.name, one.continent).endswith(one.continent), one.name
        assert languages.get(one.name, one.language) == one.language, one.name
        assert CAPITALS.get(one.name, one.capital).endswith(one.capital), one.name  # New Delhi


@pytest.mark.parametrize(("table", "fewest"), [(CAPITALS, 80), (STATE_CAPITALS, 40)], ids=["countries", "states"])
def test_no_capital_serves_twice_or_shares_a_word_with_its_place(table: dict[str, str], fewest: int) -> None:
    assert len(set(table.values())) == len(table) >= fewest
    for place, capital in table.items():
        assert not words(place) & words(capital), place


def test_symbols_of_elements_are_unique_and_one_or_two_letters() -> None:
    assert len(set(ELEMENTS.values())) == len(ELEMENTS) >= 50
    for name, symbol in ELEMENTS.items():
        assert name.islower() and re.fullmatch("[A-Z][a-z]?", symbol) and symbol not in name
    from_latin = {name for name, symbol in ELEMENTS.items() if symbol[0].lower() != name[0]}
    assert from_latin == {"sodium", "potassium", "iron", "silver", "tin", "tungsten", "gold", "mercury", "lead"}


def test_neutral_prompts_name_nothing_of_any_category() -> None:
    assert len(set(NEUTRAL_PROMPTS)) == len(NEUTRAL_PROMPTS) >= 48
    known = {word.lower() for members in categories().values() for word in members}
    for prompt in NEUTRAL_PROMPTS:
        assert not words(prompt) & known, prompt


def test_categories_share_no_word() -> None:
    members = [word for group in categories().values() for word in group]
    assert len(members) == len(set(members))


def test_topic_words_are_each_of_one_topic_and_in_no_list_or_prompt() -> None:
    shown = [word for group in TOPIC_WORDS.values() for word in group]
    assert len(shown) == len(set(shown))
    assert {item.concept for item in TOPIC_LISTS} == set(TOPIC_WORDS)
    for text in [item.text for item in TOPIC_LISTS] + list(UNRELATED_LISTS) + list(TOPIC_PROMPTS):
        assert not words(text) & set(shown), text


def test_country_lists_name_no_country_and_are_not_asked_for() -> None:
    names = {word for country in COUNTRIES for word in words(f"{country.name} {country.people} {country.capital}")}
    for item in COUNTRY_LISTS:
        assert not words(item.text) & names, item.text
        assert item.concept not in CAPITAL_PROMPTS


def test_an_article_is_split_into_title_and_text() -> None:
    document = parse_document("tech", b"A title\n\nFirst part.\n\nCosts \xa35 more.\n")
    assert (document.topic, document.title) == ("tech", "A title")
    assert document.text == "First part. Costs �5 more."


def test_counts_are_read_with_spaces_in_the_text() -> None:
    assert parse_counts(b"of the\t12\n<S> The\t3\n\n") == [("of the", 12), ("<S> The", 3)]


def test_every_fact_names_its_subject_once_and_never_its_answer() -> None:
    facts = all_facts()
    assert len(facts) >= 200
    assert len({fact.prompt for fact in facts}) == len(facts)
    for fact in facts:
        assert fact.prompt.count(fact.subject) == 1
        assert fact.answer.startswith(" ")
        assert fact.answer.strip() not in fact.prompt


def test_a_profile_gives_its_country_and_the_words_of_its_texts_without_markup() -> None:
    short = {"conventional short form": {"text": "C&ocirc;te d'Ivoire"}}
    profile = {
        "Government": {"Country name": short},
        "Geography": {"Climate": {"text": "<p>Tropical along coast;</p> semi-arid in far north of 1,000 km"}},
    }
    name, found = parse_profile("iv.json", json.dumps(profile).encode())
    assert name == "Côte d'Ivoire"
    assert found == {"côte", "ivoire", "tropical", "along", "coast", "semi", "arid", "far", "north"}


def test_a_damaged_profile_is_named() -> None:
    with pytest.raises(DamagedFile, match=r"iv\.json"):
        parse_profile("iv.json", b"{")


def test_words_of_the_form_and_poor_profiles_are_dropped() -> None:
    common = {f"common{number}" for number in range(SHORTEST)}
    profiles = {name: frozenset({*common, f"only in {name}"}) for name in "abcdefgh"}
    profiles["a"] |= {"shared by two"}
    profiles["b"] |= {"shared by two"}
    found = telling(profiles | {"islet": frozenset({"rock"}), "": frozenset(common)})
    assert found["a"] == {"only in a", "shared by two"}
    assert set(found) == set("abcdefgh")
