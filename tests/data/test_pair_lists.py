"""Lists of pairs: their parsers keep what is a pair and refuse what is no such list."""

import pytest

from rheostat.base.errors import DamagedFile
from rheostat.data import analogies, word_forms
from rheostat.data.analogies import N_RELATIONS, parse_analogies
from rheostat.data.dictionary import DICTIONARY, LANGUAGES
from rheostat.data.wheels import Wheel
from rheostat.data.word_forms import parse_word_forms
from rheostat.data.word_pairs import ADVERBS, COMPARATIVES, FEMALE, NEGATIONS, SUPERLATIVES


def list_of_relations(first: str) -> bytes:
    others = "".join(f": relation {number}\na b c d\n" for number in range(N_RELATIONS - 1))
    return f": capitals\n{first}\n{others}".encode()


def test_each_pair_of_a_relation_is_kept_once_in_order() -> None:
    found = parse_analogies(list_of_relations("Athens Greece Oslo Norway\nAthens Greece Rome Italy"))
    assert found["capitals"] == (("Athens", "Greece"), ("Oslo", "Norway"), ("Rome", "Italy"))
    assert len(found) == N_RELATIONS


@pytest.mark.parametrize("line", ["Athens Greece Oslo", "Athens Greece Oslo Norway Rome"])
def test_a_line_that_is_no_analogy_is_refused(line: str) -> None:
    with pytest.raises(DamagedFile, match="no analogy"):
        parse_analogies(list_of_relations(line))


@pytest.mark.parametrize("content", [b"a b c d\n", b": one\na b c d\n"])
def test_a_list_without_its_relations_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedFile):
        parse_analogies(content)


INFLECTIONS = b"""walk,V,walked,walked,walking,walks
ticket,V,ticketed,ticketed,ticketing,tickets
ticket,N,tickets
set,V,set,set,setting,sets
river,N,rivers
sheep,N,sheep
go,V,went,gone,going,goes
ass,N,asses
common,N,commons
dream,V,dreamed/dreamt,dreamed,dreaming,dreams
"""
COMMON = (
    "walk walked walking walks ticket tickets set setting river rivers sheep go went going goes ass asses common "
    "commons"
)


def test_words_are_kept_whose_forms_are_common_and_whose_part_of_speech_is_sure() -> None:
    ranks = {word: rank for rank, word in enumerate(COMMON.split())}
    found = parse_word_forms(INFLECTIONS, ranks)
    assert found["past tense"] == (("walk", "walked"),)
    assert found["gerund"] == (("walk", "walking"),)
    assert found["third person"] == (("walk", "walks"),)
    assert found["plural"] == (("river", "rivers"),)


def test_the_commonest_base_comes_first_and_the_first_of_two_spellings_is_taken() -> None:
    words = ["dream", "dreamed", "dreaming", "walk", "walked", "walking"]
    found = parse_word_forms(INFLECTIONS, {word: rank for rank, word in enumerate(words)})
    assert found["past tense"] == (("dream", "dreamed"), ("walk", "walked"))
    assert found["third person"] == ()


@pytest.mark.parametrize("content", [b"", b"walk,V\n"])
def test_no_list_of_forms_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedFile, match="word forms"):
        parse_word_forms(content, {})


def test_a_wheel_of_one_system_names_it_to_pip_on_every_system() -> None:
    wheel = Wheel("p", "1", "", "p-1-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl")
    assert wheel.tags == [
        *("--implementation", "cp", "--python-version", "311", "--abi", "cp311"),
        *("--platform", "manylinux_2_24_x86_64", "--platform", "manylinux_2_28_x86_64"),
    ]
    assert Wheel("p", "1", "", "p-1-py3-none-any.whl").tags == []
    assert analogies.WHEEL.tags and not word_forms.WHEEL.tags


def test_every_english_word_has_one_translation_and_each_translation_one_word() -> None:
    assert len(LANGUAGES) == 3
    for language in LANGUAGES:
        pairs = DICTIONARY[language]
        assert len(pairs) >= 100
        assert len(set(pairs.values())) == len(pairs), language


def test_german_nouns_are_capitalised_and_nothing_else_is() -> None:
    german = DICTIONARY["German"]
    first = list(german).index("red")
    assert first > 70 and not any(map(str.islower, list(german.values())[:first]))
    assert all(map(str.islower, list(german.values())[first:]))
    assert not any(word[0].isupper() for name in ("French", "Spanish") for word in DICTIONARY[name].values())


@pytest.mark.parametrize("table", [ADVERBS, COMPARATIVES, FEMALE, NEGATIONS, SUPERLATIVES])
def test_a_table_of_word_pairs_holds_each_answer_once_and_never_the_question(table: dict[str, str]) -> None:
    assert len(set(table.values())) == len(table) >= 20
    assert all(question != answer for question, answer in table.items())
    assert not set(table) & set(table.values())
