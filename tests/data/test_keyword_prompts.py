"""Keywords by contrast, and prompts that lead up to them without giving them away."""

import json
from itertools import pairwise
from math import log, sqrt
from pathlib import Path

import pytest

from rheostat.base.errors import BadArgument, FileNotUsable, TooLittleText
from rheostat.data.articles import Article, read_articles
from rheostat.data.inflections import giveaways, same_word
from rheostat.data.keyword_prompts import (
    LEAST_WORDS,
    MOST_WORDS,
    PER_PASSAGE,
    keyword_prompts,
    passages_of,
    sentences_of,
)
from rheostat.data.keywords import occurrences, topic_keywords

FILLER = ("Yesterday morning somebody from the neighbouring village", "Nobody who was there in the afternoon ever")


def planted_articles(n: int = 12) -> list[Article]:
    """Return articles of two topics, each with one word and one name of its own, and many that both share."""
    articles = []
    for topic, word, name in (("sea", "harbour", "Nelson Column"), ("land", "orchard", "Green Gables")):
        for number in range(n):
            text = (
                f"{FILLER[number % 2]} walked slowly towards the {word} and rested. "
                f"Later the visitors of house {number} talked quietly about {name} until evening. "
                f"Common breakfast number {number} of the guests was served behind the {word} again."
            )
            articles.append(Article(topic, f"{topic}/{number}", text))
    return articles


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("election", "Elections"),
        ("elected", "election"),
        ("company", "companies"),
        ("play", "player"),
        ("make", "making"),
        ("city", "cities"),
        ("women", "woman"),
        ("sold", "sales"),
        ("win", "won"),
        ("economy", "economic"),
        ("match", "matches"),
    ],
)
def test_two_forms_of_a_word_are_one_word(first: str, second: str) -> None:
    assert same_word(first, second)
    assert same_word(second, first)


@pytest.mark.parametrize(("first", "second"), [("film", "goal"), ("company", "computer"), ("as", "a")])
def test_two_words_are_two_words(first: str, second: str) -> None:
    assert not same_word(first, second)


def test_a_giveaway_is_found_inside_a_word_in_a_compound_and_in_a_name() -> None:
    assert giveaways("The FILM-maker saw filming of a", "film") == ("FILM", "filming")
    assert giveaways("Every footballer wanted to keep the", "ball") == ("footballer",)
    assert giveaways("Then Browns and the treasury said that", "Gordon Brown") == ("Browns",)
    assert giveaways("There they went to the", "theatre") == ()


def test_keywords_are_the_words_that_one_topic_has_and_the_other_has_not() -> None:
    found = topic_keywords(planted_articles())
    assert {one.words for one in found["sea"]} >= {"harbour", "nelson column"}
    assert {one.words for one in found["land"]} >= {"orchard", "green gables"}
    shared = {"visitors", "breakfast", "walked", "yesterday"}
    assert not shared & {one.words for own in found.values() for one in own}


def test_the_score_is_the_log_odds_with_a_prior_over_its_standard_error() -> None:
    """By hand: 12 articles a topic hold harbour 12 and 0 times."""
    articles = planted_articles()
    n_inside = sum(len({o.words.lower() for o in occurrences(a.text)}) for a in articles if a.topic == "sea")
    n_all = sum(len({o.words.lower() for o in occurrences(a.text)}) for a in articles)
    prior, n_prior = 1.2, n_all / 10
    inside, outside = 12 + prior, prior
    odds = log(inside / (n_inside + n_prior - inside)) - log(outside / (n_all - n_inside + n_prior - outside))
    (harbour,) = (one for one in topic_keywords(articles)["sea"] if one.words == "harbour")
    assert harbour.score == pytest.approx(odds / sqrt(1 / inside + 1 / outside))
    assert harbour.n_articles == 12


def test_no_prompt_gives_its_keyword_away_and_each_of_a_passage_begins_the_next() -> None:
    articles = planted_articles()
    prompts = keyword_prompts(articles)
    text_of = {article.name: article.text for article in articles}
    assert len(prompts) >= 24
    for one in prompts:
        assert giveaways(one.prompt, one.keyword) == ()
        assert f"{one.prompt} {one.keyword}" in text_of[one.article]
        assert LEAST_WORDS <= len(one.prompt.split()) <= MOST_WORDS
    for first, second in pairwise(prompts):
        if (first.article, first.passage) == (second.article, second.passage):
            assert second.prompt.startswith(f"{first.prompt} {first.keyword}")


def test_the_leak_check_is_what_drops_a_keyword_that_occurred_before() -> None:
    article = Article("sea", "one", "The harbours of the whole northern coast are older than any other harbour. ")
    assert passages_of(article, frozenset({"harbour"})) == []
    clean = Article("sea", "two", "The villages of the whole northern coast are older than any other harbour. ")
    ((prompt,),) = passages_of(clean, frozenset({"harbour"}))
    assert prompt.keyword == "harbour"


def test_a_passage_holds_three_sentences_and_three_keywords_at_most_and_none_overlaps() -> None:
    text = "It was one two three four film. So we saw some music. Then came a goal. At last they built a bank. Market."
    words = frozenset({"film", "music", "goal", "bank"})
    passages = passages_of(Article("all", "x", text), words)
    assert [[one.keyword for one in passage] for passage in passages] == [["film", "music", "goal"]]
    assert len(passages[0]) == PER_PASSAGE
    assert [one.keyword for one in passages_of(Article("all", "x", text), words, per_passage=1)[0]] == ["film"]


def test_sentences_end_where_they_should() -> None:
    text = 'Mr. Smith paid £3.5m in the U.S. market. "It is fine," he said. It rose 5%. "Good." He left.'
    assert sentences_of(text) == [
        "Mr. Smith paid £3.5m in the U.S. market.",
        '"It is fine," he said.',
        "It rose 5%.",
        '"Good."',
        "He left.",
    ]


def test_equal_seeds_give_equal_prompts_and_others_others() -> None:
    articles = planted_articles()
    assert keyword_prompts(articles, seed=3) == keyword_prompts(articles, seed=3)
    assert keyword_prompts(articles, seed=3) != keyword_prompts(articles, seed=4)


def test_topics_are_balanced_where_a_number_is_asked_for() -> None:
    prompts = keyword_prompts(planted_articles(), n_per_topic=7)
    assert [sum(one.topic == topic for one in prompts) for topic in ("land", "sea")] == [7, 7]


def test_a_topic_with_too_little_text_is_named() -> None:
    with pytest.raises(TooLittleText, match="'sea' has 3 articles"):
        keyword_prompts(
            [one for one in planted_articles() if one.topic == "land" or one.name in ("sea/1", "sea/2", "sea/3")]
        )
    with pytest.raises(TooLittleText, match=r"'land' gives \d+ prompts from 12 articles; 500 are wanted"):
        keyword_prompts(planted_articles(), n_per_topic=500)
    same = [Article(topic, f"{topic}{n}", FILLER[0]) for topic in ("a", "b") for n in range(9)]
    with pytest.raises(TooLittleText, match="no word tells the topic 'a'"):
        keyword_prompts(same)
    with pytest.raises(BadArgument, match="only sea"):
        keyword_prompts([one for one in planted_articles() if one.topic == "sea"])


def test_a_folder_and_a_jsonl_file_give_the_same_articles(tmp_path: Path) -> None:
    articles = planted_articles(5)
    lines = [json.dumps({"topic": one.topic, "text": one.text}) for one in articles]
    (tmp_path / "texts.jsonl").write_text("\n".join([*lines, lines[0], ""]))  # one text twice: it counts once
    for article in articles:
        path = tmp_path / "topics" / f"{article.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(article.text.replace(". ", ".\n\n"))
    of_lines, of_folder = read_articles(tmp_path / "texts.jsonl"), read_articles(tmp_path / "topics")
    assert sorted((one.topic, one.text) for one in of_lines) == sorted((one.topic, one.text) for one in of_folder)
    assert len({one.name for one in of_lines}) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{not json", "line 1 is no JSON"),
        ('{"topic": "a"}', "line 1 has no texts"),
        ('{"topic": "a", "text": "x"}', "holds texts of 1 topics"),
        ("", "holds texts of 0 topics"),
    ],
)
def test_a_file_that_holds_no_topics_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(content)
    with pytest.raises(FileNotUsable, match=message):
        read_articles(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotUsable, match="cannot be read as articles"):
        read_articles(tmp_path / "none.jsonl")
