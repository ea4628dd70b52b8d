"""Pair tasks: no part of a split gives another away, prompts are as their format, answers counted whole."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, FileNotUsable, TaskNotUsable
from rheostat.tasks.format import ARROW, EXAMPLE, FORMATS, INPUT, draw
from rheostat.tasks.library import PAIR_TASKS, pair_task
from rheostat.tasks.pairs import Pair
from tests.contract.conftest import load_toy

FETCHED = (
    "country-currency", "country-nationality", "city-state", "un-opposites", "male-female", "past-tense", "gerund",
    "third-person", "plural", "singular", "comparative", "superlative", "adverb",
)  # fmt: skip
OWN = [name for name in PAIR_TASKS if name not in FETCHED]


def numbered(n: int) -> rh.PairTask:
    return rh.PairTask("numbers", "algorithmic", tuple(Pair(f"w{i}", f"w{i + 20}") for i in range(4, 4 + n)))


# --- the library ------------------------------------------------------------------------------------------------------


def check(task: rh.PairTask) -> None:
    assert len(task) >= 24, f"{task.name} is too small"
    for pair in task.pairs:
        assert pair.question == pair.question.strip() and pair.answer == pair.answer.strip()
        assert pair.question != pair.answer
        if task.kind in ("knowledge", "translation"):
            assert not set(pair.question.lower().split()) & set(pair.answer.lower().split()), "could be copied"
    split = task.split()
    parts = [
        {(pair.question.lower(), pair.answer.lower()) for pair in part} for part in (split.shown, split.dev, split.test)
    ]
    inverses = [{(answer, question) for question, answer in part} for part in parts]
    assert sum(map(len, (split.shown, split.dev, split.test))) == len(task)
    for place, part in enumerate(parts):
        for other in range(3):
            if other != place:
                assert not part & (parts[other] | inverses[other]), task.name
    assert len(split.shown) >= 12 and len(split.dev) >= 5 and len(split.test) >= 8
    assert not set(task.about) & {pair.answer for pair in task.pairs}


@pytest.mark.parametrize("name", OWN)
def test_a_task_of_the_projects_own_tables_is_large_enough_and_its_parts_share_nothing(name: str) -> None:
    check(pair_task(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", FETCHED)
def test_a_task_of_a_fetched_list_is_large_enough_and_its_parts_share_nothing(name: str) -> None:
    check(pair_task(name))


def test_there_are_over_twenty_tasks_of_every_kind() -> None:
    kinds = Counter(kind for kind, _, _ in PAIR_TASKS.values())
    assert sum(kinds.values()) >= 30
    assert set(kinds) == {"knowledge", "linguistic", "algorithmic", "translation", "meaning"}


def test_an_unknown_task_is_answered_by_a_near_one() -> None:
    with pytest.raises(TaskNotUsable, match="country-capital"):
        rh.pair_task("country-capitol")


def test_plurals_stand_in_no_list_of_kinds_beside_their_singulars() -> None:
    questions = {pair.question for pair in pair_task("kind-of-thing").pairs}
    assert {"dog", "cat"} <= questions and not {"dogs", "cats"} & questions


def test_words_with_several_opposites_are_not_asked_for() -> None:
    assert not {"hard", "light", "old"} & {pair.question for pair in pair_task("antonyms").pairs}


# --- splits -----------------------------------------------------------------------------------------------------------


def test_a_pair_and_its_inverse_stand_in_one_part_whatever_the_seed() -> None:
    words = [(f"a{i}", f"b{i}") for i in range(12)]
    pairs = tuple(Pair(*pair) for one, other in words for pair in ((one, other), (other.upper(), one.upper())))
    task = rh.PairTask("opposites", "linguistic", pairs)
    for seed in range(5):
        split = task.split(seed=seed)
        for part in (split.shown, split.dev, split.test):
            questions = {pair.question.lower() for pair in part}
            assert all(pair.answer.lower() in questions for pair in part)


def test_another_seed_splits_otherwise_and_the_same_alike() -> None:
    task = numbered(40)
    assert task.split(seed=1) == task.split(seed=1) != task.split(seed=2)
    assert [len(part) for part in vars(task.split(shares=(0.6, 0.2, 0.2))).values()] == [24, 8, 8]


def test_what_cannot_be_a_task_or_a_split_is_refused() -> None:
    with pytest.raises(BadArgument, match="twice"):
        rh.PairTask("twice", "linguistic", (Pair("a", "b"), Pair("a", "c")))
    with pytest.raises(BadArgument, match="answers of it"):
        rh.PairTask("telling", "linguistic", (Pair("a", "b"),), about=("b",))
    with pytest.raises(BadArgument, match="sum to 1"):
        numbered(9).split(shares=(0.5, 0.2, 0.2))
    with pytest.raises(BadArgument, match="too few"):
        numbered(2).split()


def test_only_answers_of_few_tokens_are_in_reach() -> None:
    model = load_toy("llama")
    task = rh.PairTask("lengths", "linguistic", (Pair("w4", "w5"), Pair("w6", "w7 w8"), Pair("w9", "w7 w8 w9")))
    kept = task.in_reach(model, max_tokens=2)
    assert kept is not None and [pair.question for pair in kept.pairs] == ["w4", "w6"]
    assert rh.PairTask("long", "linguistic", task.pairs[2:]).in_reach(model, max_tokens=2) is None


# --- formats ----------------------------------------------------------------------------------------------------------


def test_prompts_are_written_as_their_formats_say() -> None:
    shown = (Pair("hot", "cold"), Pair("big", "small"))
    assert ARROW.prompt(shown, "up") == "hot -> cold\nbig -> small\nup ->"
    assert EXAMPLE.prompt(shown[:1], "up") == "example:hot->cold\nexample:up->"
    assert INPUT.prompt(shown[:1], "up") == "Input: hot\nOutput: cold\n\nInput: up\nOutput:"
    assert ARROW.item(Pair("up", "down"), shown[:1]).answer == " down"
    assert EXAMPLE.item(Pair("up", "down")) == rh.Item("example:up->", "down")
    assert set(FORMATS) == {"arrow", "example", "question", "input"}


def test_the_asked_pair_is_never_shown_and_every_item_has_demonstrations_of_its_own() -> None:
    pool = numbered(12).pairs
    items = rh.few_shot(pool, pool, 5, seed=3)
    for pair, item in zip(pool, items, strict=True):
        lines = item.prompt.split("\n")
        assert len(lines) == 6 and lines[-1] == f"{pair.question} ->"
        assert len(set(lines)) == 6 and not any(line.startswith(f"{pair.question} ->") for line in lines[:-1])
    assert len({item.prompt.rsplit("\n", 1)[0] for item in items}) > 6
    assert items == rh.few_shot(pool, pool, 5, seed=3) != rh.few_shot(pool, pool, 5, seed=4)
    with pytest.raises(BadArgument, match="k=12"):
        rh.few_shot(pool, pool, 12)
    with pytest.raises(BadArgument, match="k=-1"):
        draw(pool, -1, np.random.default_rng(0))


def test_the_inverse_of_the_asked_pair_is_never_shown_whatever_its_letters() -> None:
    words = [("hot", "cold"), ("big", "small"), ("up", "down")]
    pool = tuple(Pair(*pair) for one, other in words for pair in ((one, other), (other.title(), one.upper())))
    for seed in range(20):
        for pair, item in zip(pool, rh.few_shot(pool, pool, 2, seed=seed), strict=True):
            shown = item.prompt.rsplit("\n", 1)[0].casefold()
            assert pair.question.casefold() not in shown and pair.answer.casefold() not in shown
    with pytest.raises(BadArgument, match="k=5: from 0 to the 4 pairs"):
        rh.few_shot(pool, pool, 5)


def test_where_nothing_is_left_out_the_draws_are_those_of_the_pool_alone() -> None:
    pool, asked = numbered(12).pairs, Pair("other", "another")
    assert draw(pool, 5, np.random.default_rng(7), without=asked) == draw(pool, 5, np.random.default_rng(7))


# --- answers ----------------------------------------------------------------------------------------------------------


def test_answers_of_several_tokens_are_counted_whole_and_by_their_first() -> None:
    model = load_toy("llama")
    prompt = "w5 w9 w12"
    said = [model.show_token(token).strip("␣") for token in model.generate(prompt, max_new_tokens=3).ids[0]]
    wrong = next(f"w{i}" for i in range(4, 60) if f"w{i}" not in said)
    answers = [said[0], " ".join(said[:2]), f"{said[0]} {wrong}", wrong]
    if any(not word.startswith("w") for word in said[:2]):
        pytest.skip("the toy writes a special token here")
    found = rh.ask_items(model, [rh.Item(prompt, answer, f"group {i}") for i, answer in enumerate(answers)])
    assert found["exact"].tolist() == [1, 1, 0, 0]
    assert found["first"].tolist() == [1, 1, 1, 0]
    assert found["answer_tokens"].tolist() == [1, 2, 2, 1]
    assert found["item"].tolist() == [0, 1, 2, 3]
    assert found["group"].tolist() == [f"group {i}" for i in range(4)]


def test_a_cell_at_the_end_of_the_prompt_reaches_answers_of_any_length() -> None:
    model = load_toy("gemma3")
    items = [rh.Item("w5 w9", "w7"), rh.Item("w5 w9 w11", "w7 w8"), rh.Item("w6", "w9 w10 w11")]
    state = torch.linspace(-2, 2, 16, dtype=torch.float64)

    def cells(end: int) -> list[rh.Cell]:
        return [
            rh.Cell(rh.Replace("blocks.1.resid_post", state, positions=end), {"state": "put"}),
            rh.Cell((), {"state": "not"}),
        ]

    found = rh.ask_items(model, items, cells)
    for number, item in enumerate(items):
        own = found[found["item"] == number].set_index("state")["loss"]
        row = rh.Item(item.prompt + " " + item.answer, item.answer)
        n = len(item.answer.split())
        edit = rh.Replace("blocks.1.resid_post", state, positions=-n - 1)
        ids = model.row(row.prompt).ids
        logits = model.run(list(ids), edit, logits_at=slice(-n - 1, -1)).logits[0].log_softmax(-1)
        slow = -logits[range(n), ids[-n:]].mean().item()
        assert own["put"] == pytest.approx(slow, abs=1e-9)
        assert abs(own["put"] - own["not"]) > 1e-3


# --- own files --------------------------------------------------------------------------------------------------------


def test_pairs_are_read_from_both_kinds_of_files(tmp_path: Path) -> None:
    pairs = [("hot", "cold"), ("big, very", "small")]
    lines = [json.dumps({"question": question, "answer": answer}) for question, answer in pairs]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    (tmp_path / "mine.csv").write_text('question,answer\nhot,cold\n"big, very",small\n', encoding="utf-8")
    for name in ("mine.jsonl", "mine.csv"):
        task = rh.read_pair_task(tmp_path / name)
        assert task.name == "mine"
        assert [(pair.question, pair.answer) for pair in task.pairs] == pairs


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "hot cold", "no file of pairs"),
        ("a.jsonl", None, "cannot be read"),
        ("a.jsonl", "{", "line 1"),
        ("a.jsonl", '{"question": "hot"}', "pair 1"),
        ("a.jsonl", '["hot", "cold"]', "pair 1"),
        ("a.csv", "word,other\nhot,cold\n", "pair 1"),
    ],
)
def test_a_file_without_pairs_is_refused_in_one_line(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(FileNotUsable, match=said) as caught:
        rh.read_pair_task(tmp_path / name)
    assert "\n" not in str(caught.value)
