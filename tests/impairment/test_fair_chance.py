"""A network keeps the prompts on which it has a fair chance, as tasks whose items stand for their articles."""

import math

import pytest

from rheostat.data.keyword_prompts import KeywordPrompt
from rheostat.impairment.fair_chance import fair_chance
from rheostat.tasks.item import Item, ask
from tests.contract.conftest import load_toy

WORDS = ("w5", "w6 w9", "w7", "w8", "w9 w20", "w10", "w11", "w12")


def prompts() -> list[KeywordPrompt]:
    return [
        KeywordPrompt(topic, f"w13 {first} w14 w15 {place} w16", word, f"{topic}/{number}", 0)
        for topic, place in (("one", "w17"), ("two", "w18"))
        for number, (first, word) in enumerate(zip(WORDS, reversed(WORDS), strict=True))
    ]


def by_hand(prompt: KeywordPrompt) -> float:
    """Return the probability of the keyword's first token."""
    model = load_toy("llama")
    asked = ask(model, [Item(prompt.prompt, f" {prompt.keyword}")])
    row, n = asked.rows[0], asked.n_answer_tokens[0]
    logits = model.run([row[:-n]]).logits[0, -1]
    return float(logits.softmax(-1)[row[-n]])


def test_kept_are_the_prompts_whose_first_token_is_likely_enough() -> None:
    asked = prompts()
    probabilities = [by_hand(one) for one in asked]
    bound = sorted(probabilities)[len(asked) // 2]
    found = fair_chance(load_toy("llama"), asked, least_probability=bound * 0.999999)
    kept = [bool(one) for one in found.table["fair"]]
    assert kept == [one >= bound for one in probabilities]
    assert 0 < sum(kept) < len(kept)
    assert list(found.table["first_loss"]) == pytest.approx([-math.log(one) for one in probabilities], rel=1e-5)
    assert [len(task) for task in found.tasks] == list(found.table[found.table["fair"]].groupby("topic").size())
    assert list(found.prompts) == [one for one, fair in zip(asked, kept, strict=True) if fair]
    first = found.tasks[0].items[0]
    assert first.group.startswith("one/")
    assert first.answer.startswith(" ")


def test_asking_stops_when_every_topic_has_enough_and_the_first_are_the_same() -> None:
    model = load_toy("llama")
    few = fair_chance(model, prompts(), n_per_topic=2, least_probability=1e-9)
    all_of_them = fair_chance(model, prompts(), least_probability=1e-9)
    assert list(few.table.groupby("topic").size()) == [2, 2]
    assert [task.items for task in few.tasks] == [task.items[:2] for task in all_of_them.tasks]
