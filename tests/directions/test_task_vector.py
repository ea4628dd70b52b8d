"""Task vectors: the state behind demonstrations and a dummy, averaged; put elsewhere it is exactly that state."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.directions.task_vector import Demonstrations, draw_demonstrations, task_states
from rheostat.tasks.format import ARROW, PromptFormat
from rheostat.tasks.pairs import Pair
from tests.contract.conftest import load_toy

PLAIN = PromptFormat("plain", "{}", between=" ")
POOL = tuple(Pair(f"w{i}", f"w{i + 20}") for i in range(4, 16))


def sets(n: int = 3, k: int = 3) -> tuple[Demonstrations, ...]:
    return draw_demonstrations(POOL, n, k=k, seed=1)


def test_a_set_shows_no_pair_twice_and_asks_no_pair_that_it_shows() -> None:
    for one in sets(20, 5):
        questions = [pair.question for pair in one.shown] + list(one.dummies)
        assert len(set(questions)) == 7
    assert sets(4) == sets(4)
    assert len(set(sets(20))) > 15
    with pytest.raises(BadArgument, match="12 pairs are too few"):
        draw_demonstrations(POOL, 1, k=11)
    with pytest.raises(BadArgument, match="at least 1"):
        draw_demonstrations(POOL, 0)


def test_no_dummy_stands_beside_its_inverse() -> None:
    words = [("hot", "cold"), ("big", "small"), ("up", "down"), ("in", "out")]
    pool = [Pair(*two) for one in words for two in (one, (one[1].title(), one[0]))]
    for one in draw_demonstrations(pool, 60, k=3):
        shown = {word.casefold() for pair in one.shown for word in (pair.question, pair.answer)}
        assert not shown & {dummy.casefold() for dummy in one.dummies}
    with pytest.raises(BadArgument, match=r"2 pairs are too few .* a pair and its inverse"):
        draw_demonstrations(pool[:2], 1, k=1, n_dummies=1)


def test_shuffled_answers_all_belong_to_other_questions() -> None:
    for seed, one in enumerate(sets(8, 5)):
        broken = one.shuffled(np.random.default_rng(seed))
        assert [pair.question for pair in broken.shown] == [pair.question for pair in one.shown]
        assert sorted(pair.answer for pair in broken.shown) == sorted(pair.answer for pair in one.shown)
        assert all(new.answer != old.answer for new, old in zip(broken.shown, one.shown, strict=True))
        assert broken.dummies == one.dummies


def slowly(model: rh.Model, one: Demonstrations, site: str) -> torch.Tensor:
    return torch.stack([model.capture(prompt, site, "last")[site][0, 0] for prompt in one.prompts(PLAIN)]).mean(0)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_states_vector_is_the_mean_over_dummies_of_the_last_token(family: str) -> None:
    model, drawn = load_toy(family), sets()
    found = task_states(model, drawn, style=PLAIN, batch_size=4)
    assert list(found) == [f"blocks.{block}.resid_post" for block in range(3)]
    for site, states in found.items():
        for state, one in zip(states, drawn, strict=True):
            assert torch.allclose(state, slowly(model, one, site), atol=1e-9)
    assert not torch.allclose(found["blocks.1.resid_post"][0], found["blocks.1.resid_post"][1], atol=1e-3)


def test_the_vector_of_a_task_is_the_mean_of_its_sets_and_of_shown_pairs_alone() -> None:
    model = load_toy("llama")
    task = rh.PairTask("numbers", "algorithmic", tuple(Pair(f"w{i}", f"w{i + 20}") for i in range(4, 34)))
    found = rh.task_vectors(model, task, k=3, n_sets=4, style=PLAIN, sites="blocks.1.resid_post", seed=2)
    drawn = draw_demonstrations(task.split(seed=2).shown, 4, k=3, seed=2)
    mean = task_states(model, drawn, style=PLAIN, sites="blocks.1.resid_post")["blocks.1.resid_post"].mean(0)
    one = found["blocks.1.resid_post"]
    assert torch.equal(one.vector, mean)
    assert (one.concept, one.method, one.model) == ("numbers", "task vector", model.name)
    assert rh.task_vectors(model, POOL, k=3, n_sets=1, sites="blocks.1.resid_post").concept == "task"


def test_a_vector_that_is_put_in_stands_there_exactly(tmp_path) -> None:
    model = load_toy("llama")
    found = rh.task_vectors(model, POOL, k=3, n_sets=2, style=PLAIN)
    found.save(tmp_path / "task.safetensors")
    loaded = rh.Directions.load(tmp_path / "task.safetensors")["blocks.1.resid_post"]
    prompt = "w40 w41 w42"
    held = model.capture(prompt, "blocks.1.resid_post", edits=loaded.put())["blocks.1.resid_post"][0]
    clean = model.capture(prompt, "blocks.1.resid_post")["blocks.1.resid_post"][0]
    assert torch.equal(held[-1], loaded.vector)
    assert torch.equal(held[:-1], clean[:-1]) and not torch.allclose(held[-1], clean[-1], atol=1e-3)


def patterned(step: int) -> Sequence[Pair]:
    return tuple(Pair(f"w{i}", f"w{i + step}") for i in range(4, 30))


def test_at_the_last_block_the_vector_is_the_demonstrations_own_answer() -> None:
    model = load_toy("gemma3")
    one = Demonstrations(tuple(patterned(20)[:4]), ("w50",))
    state = task_states(model, [one], style=PLAIN)["blocks.2.resid_post"][0]
    edit = rh.Replace("blocks.2.resid_post", state, positions="last")
    own = model.run(one.prompts(PLAIN)[0]).logits
    assert torch.allclose(model.run("w7 w8", edit).logits, own, atol=1e-9)
    assert not torch.allclose(model.run("w7 w8").logits, own, atol=1e-3)


def test_replacing_is_an_operator_of_steering_and_has_a_random_control() -> None:
    from rheostat.steering.plan import random_plan

    model = load_toy("llama")
    vector = rh.task_vectors(model, POOL, k=3, n_sets=1, style=PLAIN)["blocks.1.resid_post"]
    plan = rh.steering_plan(vector, operator="replace", positions="last")
    assert torch.equal(model.run("w5 w6", plan).logits, model.run("w5 w6", vector.put()).logits)
    (control,) = random_plan(plan)
    assert float(control.value.norm()) == pytest.approx(vector.length)
    assert not torch.allclose(model.run("w5 w6", control).logits, model.run("w5 w6", plan).logits, atol=1e-3)
    with pytest.raises(BadArgument, match="keeps no norm"):
        rh.steering_plan(vector, operator="replace", keep_norm=True)


@pytest.mark.slow
def test_on_gemma_the_vector_of_antonyms_answers_a_question_without_demonstrations() -> None:
    model = rh.load("gemma3-270m")
    task = rh.pair_task("antonyms")
    vector = rh.task_vectors(model, task, n_sets=4, sites="blocks.9.resid_post")["blocks.9.resid_post"]
    items = [ARROW.item(pair) for pair in task.split().test[:10]]

    def share(edit: rh.Edit | None) -> float:
        found = rh.ask_items(model, items, lambda end: [rh.Cell(() if edit is None else edit)])
        return float(found["first"].mean())

    def put(end: int) -> list[rh.Cell]:
        return [rh.Cell(vector.put(positions=end), {})]

    assert share(None) <= 0.3
    assert rh.ask_items(model, items, put)["first"].mean() >= 0.6
