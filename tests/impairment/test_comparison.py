"""Comparing models: shared right answers alone count, a dose is in the unit it says, and a model equals itself."""

import json
import logging
from functools import lru_cache

import numpy as np
import pytest

import rheostat as rh
from rheostat.base.errors import BadArgument, FileNotUsable, TaskNotUsable
from rheostat.data.antonyms import ANTONYMS
from rheostat.impairment.comparison import ABSOLUTE, BY_UNIT, RELATIVE, SHARE, Comparison, compare_models, halves
from rheostat.impairment.curve import impairment_curves
from rheostat.impairment.dial import Dial
from rheostat.impairment.scale import measure_scale
from rheostat.impairment.summary import area, difference
from rheostat.report.figures import png
from rheostat.tasks.item import Item, Task, ask
from rheostat.tasks.named import TASKS, named_task, read_task
from tests.contract.conftest import load_toy

LEVELS = (0.0, 0.2, 0.6, 2.0)


@lru_cache(maxsize=1)
def shared_task() -> Task:
    """What two toys both answer as they do, and two items that only one of them or neither does."""
    items = []
    models = [load_toy("llama"), load_toy("gpt2")]
    for first in range(5, 60):
        for second in range(5, 60, 7):
            prompt = f"w{first} w{second}"
            tops = [int(model.run(prompt).logits[0, -1].argmax()) for model in models]
            if tops[0] == tops[1] and tops[0] > 3:
                items.append(Item(prompt, f" w{tops[0]}"))
            if len(items) == 8:
                break
        if len(items) == 8:
            break
    alone = int(models[0].run("w5 w6 w7").logits[0, -1].argmax())
    return Task("shared", (*items, Item("w5 w6 w7", f" w{alone}"), Item("w5 w6 w7", f" w{4 + (alone + 1) % 50}")))


@lru_cache(maxsize=1)
def compared() -> Comparison:
    return compare_models(load_toy("llama"), load_toy("gpt2"), shared_task(), LEVELS, seed=3)


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        ("The capital of France is", " Paris", ""),
        ("The capital of France is", "Paris", "line 2: the answer 'Paris' goes on the prompt's last word"),
        ("2 + 2 = 4, 3 + 3 = 6, 4 + 4", "8", "line 2"),
        ("example:hot->", "cold", ""),
        ("法国的首都是", "巴黎", ""),
        ("フランスの首都は", "パリ", ""),
        ("เมืองหลวงของฝรั่งเศสคือ", "ปารีส", ""),
        ("Столица Франции", "Париж", "line 2"),
    ],
)
def test_an_answer_that_lacks_its_space_is_remarked_once(tmp_path, monkeypatch, prompt, answer, said):
    remarks: list[str] = []
    monkeypatch.setattr(logging.getLogger("rheostat"), "handle", lambda record: remarks.append(record.getMessage()))
    path, line = tmp_path / "own.jsonl", json.dumps({"prompt": prompt, "answer": answer})
    path.write_text(f'{{"prompt": "a", "answer": " b"}}\n{line}\n{line}\n', encoding="utf-8")
    assert len(read_task(path)) == 3
    assert len(remarks) == bool(said) and all(said in one and "2 of 3" in one for one in remarks)


def test_a_space_on_either_side_of_the_answers_beginning_is_refused(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "a", "answer": " b"}\n{"prompt": "France is ", "answer": " Paris"}\n', encoding="utf-8")
    with pytest.raises(FileNotUsable, match=r"own.jsonl, line 2: the prompt ends in a space \('France is '\)"):
        read_task(path)


@pytest.mark.slow  # two models, every mode
def test_items_that_one_model_gets_wrong_are_dropped_and_counted():
    found = compared()
    assert found.n_asked == 10
    assert found.n_kept <= min(found.n_right) < 10
    assert found.n_kept >= 8
    assert (found.points[found.points["intensity"] == 0]["accuracy"] == 1).all()
    assert found.points["accuracy"].min() < 1
    assert set(found.curves) == {RELATIVE, BY_UNIT, ABSOLUTE}


@pytest.mark.parametrize("dose", [RELATIVE, BY_UNIT])
def test_a_relative_dose_is_relative_to_each_models_own_spread(dose: str):
    found, model = compared(), load_toy("gpt2")
    kept = Task("shared", shared_task().items[: found.n_kept])
    rows = ask(model, kept.items).rows
    dial = Dial(scale=measure_scale(model, rows, "blocks.*.mlp_out", per_unit=dose == BY_UNIT))
    table = impairment_curves(model, [kept], {"d": dial}, LEVELS, draws=len(kept), crossed=False, seed=3)
    expected = table[table["dial"] == "d"].groupby("intensity")["loss"].mean()
    shown = found.points[(found.points["dose"] == dose) & (found.points["model"] == model.name)]
    assert shown["loss"].tolist()[1:] == pytest.approx(expected.tolist(), abs=1e-9)


def test_the_absolute_dose_is_the_same_for_both_models():
    found = compare_models(load_toy("llama"), load_toy("gpt2"), shared_task(), LEVELS, absolute=(0.0, 0.1, 0.3))
    first, second = found.curves[ABSOLUTE]
    assert first.levels == second.levels == (0.0, 0.1, 0.3)
    assert compared().curves[ABSOLUTE][0].levels != compared().curves[RELATIVE][0].levels


@pytest.mark.slow  # two models, every mode
def test_a_model_equals_itself_under_other_draws():
    model = load_toy("llama")
    found = compare_models(model, model, shared_task(), LEVELS, seed=3)
    assert found.models == (model.name, f"{model.name}, other draws")
    first, second = found.curves[RELATIVE]
    assert not np.array_equal(first.sums["loss"], second.sums["loss"])
    assert (found.table["low"] <= 0).all()
    assert (found.table["high"] >= 0).all()
    assert (found.table["sturdier"] == "").all()
    assert found.doses_agree


def test_magnitude_has_one_dose_and_names_the_sturdier_model():
    found = compare_models(load_toy("llama"), load_toy("gpt2"), shared_task(), (0.0, 0.2, 0.6, 1.0), mode="magnitude")
    assert list(found.curves) == [SHARE]
    for row in found.table.itertuples():
        apart = row.low > 0 or row.high < 0
        assert row.sturdier == ("" if not apart else found.models[0] if row.difference > 0 else found.models[1])
    with pytest.raises(BadArgument, match="leave the absolute intensities out"):
        compare_models(
            load_toy("llama"), load_toy("gpt2"), shared_task(), (0.0, 1.0), mode="magnitude", absolute=(0.0, 1.0)
        )


def test_the_control_sets_each_model_against_itself():
    control = compared().control
    assert len(control) == 3 * 2 * 4
    assert set(control["model"]) == set(compared().models)
    row = control[(control["dose"] == RELATIVE) & (control["quantity"] == "area")].iloc[0]
    first = compared().curves[RELATIVE][0]
    expected = difference(*halves(first), area((0.0, LEVELS[-1])), seed=3)
    assert (row["difference"], row["low"], row["high"]) == (expected.value, expected.low, expected.high)
    assert halves(first)[0].groups == first.groups[::2]


def test_a_comparison_is_drawn_and_written():
    found = compared()
    assert png(found.figure()).startswith(b"\x89PNG")
    assert found.figure(ABSOLUTE).x_label == "intensity (units of the activation)"
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["kept"] == found.n_kept
    assert len(plain["quantities"]) == len(found.table)
    assert found.value(RELATIVE, "area", "first") > 0
    with pytest.raises(BadArgument, match="holds no 'are' in the relative dose"):
        found.value(RELATIVE, "are", "first")


def test_fewer_items_can_be_asked_for():
    found = compare_models(load_toy("llama"), load_toy("gpt2"), shared_task(), (0.0, 0.5), most_items=3)
    assert found.n_kept == 3


def test_a_task_that_a_model_cannot_do_is_refused():
    wrong = Task("wrong", shared_task().items[-1:])
    with pytest.raises(TaskNotUsable, match="both 0"):
        compare_models(load_toy("llama"), load_toy("gpt2"), wrong, LEVELS)


# --- tasks by name ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"topics"}))
def test_a_named_task_asks_what_its_prompt_does_not_say(name: str):
    task = named_task(name, seed=1)
    assert len(task) >= 20
    assert all(item.answer.startswith(" ") and not item.prompt.endswith(" ") for item in task.items)
    assert task == named_task(name, seed=1)
    if name in ("capitals", "antonyms"):
        assert all(item.answer.strip() not in item.prompt.split() for item in task.items)
    if name == "copying":
        assert all(item.prompt.count(item.answer.strip()) >= 1 for item in task.items)
        assert task != named_task(name, seed=2)


def test_examples_of_labels_hold_one_of_each_and_never_the_word_that_is_asked():
    for item in named_task("labels").items:
        *shown, asked = item.prompt.split("\n")
        assert sorted(line.split(": ")[1] for line in shown) == ["animal", "color", "country", "name"]
        assert asked.removesuffix(":") not in [line.split(": ")[0] for line in shown]


def test_antonyms_are_words_of_their_own():
    assert all(word != opposite for word, opposite in ANTONYMS.items())


def test_an_unknown_task_is_refused_with_the_nearest():
    with pytest.raises(TaskNotUsable, match=r"no task 'capital'\. Closest: capitals"):
        named_task("capital")


def test_a_task_of_a_file(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"prompt": "a", "answer": " b"}\n\n{"prompt": "c", "answer": " d", "group": "g"}\n')
    assert read_task(path) == Task("own", (Item("a", " b"), Item("c", " d", "g")))
    for line, message in (("{", "line 1, is no JSON"), ('{"prompt": "a"}', "line 1: write"), ("[1]", "line 1: write")):
        path.write_text(line)
        with pytest.raises(FileNotUsable, match=message):
            read_task(path)
    with pytest.raises(FileNotUsable, match="cannot be read as a task"):
        read_task(tmp_path / "gone.jsonl")


def test_the_public_names_are_these():
    assert rh.compare_models is compare_models
    assert (rh.Dial, rh.Task, rh.Item) == (Dial, Task, Item)
    assert rh.measure_scale is measure_scale
    assert rh.impairment_curves is impairment_curves
