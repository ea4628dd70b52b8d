"""Each part of the task-vector study finds what is planted, finds nothing where nothing is, and runs as a whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rheostat as rh
from rheostat.directions.task_vector import Demonstrations
from rheostat.studies.study import Context
from rheostat.studies.task_vectors import (
    answers,
    clusters,
    conflict,
    depth,
    meaning,
    measured,
    prompt_form,
    setup,
    solving,
    study,
)
from rheostat.studies.task_vectors.answers import (
    BASELINE,
    DEV,
    ELSEWHERE,
    OTHER_TASK,
    OWN,
    RANDOM,
    REGULAR,
    SHUFFLED,
    TEST,
)
from rheostat.studies.task_vectors.measured import Measured
from rheostat.studies.task_vectors.setup import Asked, Vectors, pools
from rheostat.tasks.format import PromptFormat
from rheostat.tasks.pairs import Pair
from tests.contract.conftest import load_toy

N_TASKS, N_BLOCKS, N_QUESTIONS, WIDTH, N_SETS = 8, 12, 20, 16, 6
NAMES = tuple(f"task {number}" for number in range(N_TASKS))


def toy_task(name: str, step: int) -> rh.PairTask:
    kinds = ("knowledge", "linguistic")
    pairs = tuple(Pair(f"w{i}", f"w{4 + (i * step) % 58}") for i in range(4, 34))
    return rh.PairTask(name, kinds[step % 2], tuple(pair for pair in pairs if pair.question != pair.answer))


def asked_of(task: rh.PairTask) -> Asked:
    split = task.split()
    shown, others = pools(split)
    draw = setup.draw_demonstrations
    return Asked(task, split.dev[:3], split.test[:3], draw(shown, 3), draw(others, 3))


# --- a planted case ---------------------------------------------------------------------------------------------------


def answered(rng: np.random.Generator, rate: float, **labels: object) -> pd.DataFrame:
    right = (rng.random(N_QUESTIONS) < rate).astype(float)
    return pd.DataFrame({"question": range(N_QUESTIONS), "exact": right, "first": right, "loss": 1 - right, **labels})


def planted(rates: Mapping[str, float], *, peak: int = 6, seed: int = 0) -> Measured:
    """Tables in which every state has its rate of right answers; the task vector only within a block of the peak."""
    rng = np.random.default_rng(seed)
    unpatched, dev, test = [], [], []
    for task in NAMES:
        for part in (DEV, TEST):
            for state in (BASELINE, REGULAR):
                unpatched.append(answered(rng, rates[state], task=task, part=part, state=state, set=0))
        for block in range(N_BLOCKS):
            own = rates[OWN] if abs(block - peak) <= 1 else rates[BASELINE]
            shared = {"task": task, "block": block, "set": 0}
            dev.append(answered(rng, own, state=OWN, part=DEV, **shared))
            test.append(answered(rng, own, state=OWN, part=TEST, **shared))
            test.append(answered(rng, rates[RANDOM], state=RANDOM, part=TEST, **shared))
            test += [answered(rng, rates[state], state=state, part=TEST, **shared) for state in (OTHER_TASK, SHUFFLED)]
            test.append(answered(rng, own / 2, state=ELSEWHERE, part=TEST, **shared))
    tasks = [toy_task(name, number + 2) for number, name in enumerate(NAMES)]
    vectors = Vectors(NAMES, torch.randn(N_TASKS, 2, N_SETS, N_BLOCKS + 1, WIDTH))
    frames = [pd.concat(one, ignore_index=True) for one in (unpatched, dev, test)]
    model = load_toy("llama")
    return Measured(
        model, tuple(map(asked_of, tasks)), form_table({"arrow": 0.5}), frames[0], vectors, frames[1], frames[2]
    )


WORKS = {BASELINE: 0.0, REGULAR: 1.0, OWN: 0.9, RANDOM: 0.0, OTHER_TASK: 0.05, SHUFFLED: 0.2}
FAILS = {**WORKS, BASELINE: 0.05, OWN: 0.05, OTHER_TASK: 0.05, RANDOM: 0.05, SHUFFLED: 0.05}


def test_a_model_is_able_to_do_what_demonstrations_raise_on_the_dev_questions() -> None:
    one = planted(WORKS)
    assert one.able == list(NAMES)
    table = one.unpatched.copy()
    test_only = (table["task"] == NAMES[2]) & (table["state"] == REGULAR) & (table["part"] == TEST)
    table.loc[test_only, "exact"] = 0.0
    assert answers.able(table) == list(NAMES)
    table.loc[(table["task"] == NAMES[2]) & (table["state"] == REGULAR), "exact"] = 0.4
    assert answers.able(table) == [name for name in NAMES if name != NAMES[2]]


def test_the_block_is_chosen_on_dev_questions_and_among_equals_by_loss() -> None:
    one = planted(WORKS)
    assert set(one.chosen.values()) <= {5, 6, 7} and one.common in {5, 6, 7}
    equal = one.dev.assign(exact=0.5, loss=(one.dev["block"] - 3).abs())
    assert set(answers.chosen_blocks(equal).values()) == {3}
    assert answers.common_block(equal, one.able) == 3
    better = one.test.assign(exact=(one.test["block"] == 1).astype(float))
    assert replace(one, test=better).chosen == one.chosen


def test_a_working_vector_is_told_from_every_control_and_a_failing_one_is_not() -> None:
    found = solving.measure_all("toy", solving.accuracies(planted(WORKS), "exact"), "exact", 0)
    assert len(found) == 5 and all(m.low > 0 for m in found)
    assert found[0].effect == pytest.approx(0.9, abs=0.06)
    none = solving.measure_all("toy", solving.accuracies(planted(FAILS), "exact"), "exact", 0)
    assert not any(m.low > 0.03 for m in none)
    assert none[-1].high < 0
    broken = {**WORKS, SHUFFLED: 0.9}
    assert solving.measure_all("toy", solving.accuracies(planted(broken), "exact"), "exact", 0)[3].low < 0.02


def test_the_table_holds_every_task_and_state_with_its_interval() -> None:
    table = solving.task_table(planted(WORKS), 0)
    assert len(table) == N_TASKS * len(solving.STATES) * 2
    assert (table["low"] <= table["accuracy"]).all() and (table["n"] == N_QUESTIONS).all()


def test_a_peak_in_the_middle_is_found_and_a_flat_profile_is_not() -> None:
    found = depth.of_layers(planted(WORKS), 0)
    assert all(m.low > 0.2 for m in found)
    flat = planted(FAILS)
    found = depth.of_layers(flat, 0)
    assert not all(m.low > 0.03 for m in found[:2])
    assert depth.planted(found)


def test_a_rise_is_not_seen_through_a_wide_scatter_at_either_end() -> None:
    for end in (0, 1):
        found = depth.of_layers(planted(FAILS), 0)
        found[end] = replace(found[end], low=found[end].low - depth.PLANTED)
        assert not depth.planted(found)


def test_equal_depths_are_nearer_than_chance_and_opposite_ones_are_not() -> None:
    same = depth.of_sizes([planted(WORKS, peak=3), planted(WORKS, peak=3, seed=1)], 0)
    assert same[0].low > 0.1 and same[1].low > 0.1
    apart = depth.of_sizes([planted(WORKS, peak=1), planted(WORKS, peak=10, seed=1)], 0)
    assert apart[0].high < 0 and apart[2].high < 0
    other = planted(WORKS)
    assert depth.by_chance(other, other) == pytest.approx(
        np.mean([abs(a - b) / 11 for a in range(12) for b in range(12)])
    )


def with_vectors(own: float, surface: float) -> Measured:
    """Vectors of tasks and their inverses: own direction per task in blocks, shared by inverses on the surface."""
    torch.manual_seed(0)
    names = [name for pair in clusters.INVERSES for name in pair]
    values = torch.randn(len(names), 2, N_SETS, N_BLOCKS + 1, WIDTH)
    values[:, :, :, :-1] += own * torch.randn(len(names), 1, 1, 1, WIDTH)
    values[:, :, :, -1] += surface * torch.randn(len(names), 1, 1, WIDTH)
    return replace(planted(WORKS), vectors=Vectors(tuple(names), values))


def test_clusters_are_found_where_tasks_have_directions_of_their_own() -> None:
    found = clusters.measure_all(with_vectors(4.0, 0.0), 0)
    assert all(m.low > 0 for m in found)
    none = clusters.measure_all(with_vectors(0.0, 0.0), 0)
    assert not any(m.low > 0.06 for m in none[:2]) and none[1].high < 0
    within, between = clusters.cosine_gap(
        with_vectors(4.0, 0.0), 3, [name for pair in clusters.INVERSES for name in pair]
    )
    assert within > 0.7 and between < 0.2
    shown = clusters.measure_all(with_vectors(4.0, 4.0), 0)
    assert not any(m.low > 0.03 for m in shown[2:])


def test_words_are_ranked_by_their_best_spelling() -> None:
    model = load_toy("llama")
    assert meaning.spellings(model, "w7") == [7]
    assert meaning.spellings(model, "w7 w8") == []
    vectors = torch.randn(2, 16, dtype=torch.float64)
    order = [model.unembed(vector[None])[0].argsort(descending=True).tolist() for vector in vectors]
    words = {"a": [[order[0][0], order[0][9]], [order[0][2]]]}
    found = meaning.ranks_of(model, vectors, words)
    assert found[0, 0] == pytest.approx((0 + np.log10(3)) / 2)
    place = [min(order[1].index(token) for token in word) + 1 for word in words["a"]]
    assert found[1, 0] == pytest.approx(np.mean(np.log10(place)))


def test_answers_that_count_stand_in_no_prompt_and_answer_no_dummy() -> None:
    pairs = tuple(Pair(f"w{i}", f"w{i + 1}") for i in range(4, 12))
    sets = (Demonstrations(pairs[:2], ("w20",)),)
    task = rh.PairTask("next", "algorithmic", (*pairs, Pair("w20", "w9")))
    asked = Asked(task, pairs[2:4], pairs[4:6], sets, ())
    assert meaning.words_seen(asked) == {"w4", "w5", "w6", "w20", "w9"}
    one = replace(planted(WORKS), asked=(asked,))
    one.__dict__["able"] = ["next"]
    assert meaning.words_of(one, meaning.ANSWERS) == {"next": [[7], [8], [10]]}


def rank_table(own: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ranks = rng.normal(3, 0.2, (N_TASKS, N_TASKS)) - own * np.eye(N_TASKS)
    return meaning._rows(ranks, NAMES).assign(kind=meaning.ABOUT, state="")


def test_vectors_that_say_their_own_words_are_told_from_those_that_do_not() -> None:
    assert all(m.low > 0.5 for m in meaning.measure_all("toy", rank_table(1.0), meaning.ABOUT, 0))
    assert not any(m.low > 0.1 for m in meaning.measure_all("toy", rank_table(0.0), meaning.ABOUT, 0))


def test_conflicting_questions_have_two_answers_and_no_demonstration_shows_them() -> None:
    first, second = toy_task("first", 3), toy_task("second", 5)
    found = conflict.questions_of(first, second, 8, 0)
    assert len(found) == 8 and all(one.shown != one.other for one in found)
    for one in found:
        assert Pair(one.question, one.shown) in first.pairs and Pair(one.question, one.other) in second.pairs
    left = {pair.question for pair in conflict.without(first, found)}
    assert not left & {one.question for one in found} and len(left) == len(first) - 8


def conflict_table(other: float, shown: float) -> pd.DataFrame:
    rates = {
        conflict.PUT: (other, shown), conflict.NOTHING: (0.0, 0.9), conflict.SAME: (0.0, 0.9),
        conflict.LATE: (0.1, 0.3), conflict.CUT: (other, shown), conflict.PLANTED: (1.0, 0.0),
    }  # fmt: skip
    rows = []
    for pair in NAMES:
        for state, (mine, theirs) in rates.items():
            for answer, rate in ((conflict.OTHER, mine), (conflict.SHOWN, theirs)):
                rows.append({"pair": pair, "question": "q", "state": state, "answer": answer, "exact": rate})
    return pd.DataFrame(rows)


def test_the_winner_of_a_conflict_is_found() -> None:
    assert all(m.low > 0 for m in conflict.measure_all("toy", conflict_table(0.8, 0.1), 0))
    lost = conflict.measure_all("toy", conflict_table(0.1, 0.8), 0)
    assert lost[0].high < 0 and lost[0].effect == pytest.approx(-0.7)


@pytest.mark.parametrize(("pairs_found", "expected"), [(8, "not"), (1, "not testable here")])
def test_a_lost_conflict_counts_only_if_the_planted_state_wins_in_most_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pairs_found: int, expected: str
) -> None:
    one, table = planted(WORKS), conflict_table(0.4, 0.4)
    is_planted = (table["state"] == conflict.PLANTED) & (table["answer"] == conflict.OTHER)
    table.loc[is_planted & ~table["pair"].isin(NAMES[:pairs_found]), "exact"] = 0.0
    for state in (conflict.NOTHING, conflict.SAME, conflict.LATE):
        table.loc[table["state"] == state, "exact"] = 0.4
    monkeypatch.setattr(conflict, "conflicts", lambda one: [("a", "b"), ("b", "a")])
    monkeypatch.setattr(conflict, "measure", lambda one, context: table)
    found = conflict.run(Context((), True, 0, tmp_path, show_progress=False), [one])
    assert found.verdicts[0].verdict == expected


# --- the form of the prompts ------------------------------------------------------------------------------------------


def form_table(gains: Mapping[str, float]) -> pd.DataFrame:
    """Two tasks: without demonstrations 0.1 everywhere, with the vector a gain at one block of each task."""
    rows = []
    for form, gain in gains.items():
        for task, best in (("a", 3), ("b", 6)):
            shared = {"form": form, "task": task}
            rows.append({**shared, "state": answers.BASELINE, "block": -1, "exact": 0.1})
            rows += [
                {**shared, "state": answers.OWN, "block": block, "exact": 0.1 + gain * (block == best)}
                for block in (0, 3, 6)
            ]
    return pd.DataFrame(rows)


def test_the_form_is_the_one_whose_vectors_gain_most_at_each_tasks_best_block() -> None:
    gains = {"arrow": 0.2, "example": 0.5, "question": 0.4, "input": 0.1}
    assert prompt_form.chosen(form_table(gains)).name == "example"
    scored = prompt_form.scores(form_table(gains)).set_index("form")
    assert scored["gain"].to_dict() == pytest.approx(gains)
    assert prompt_form.chosen(form_table(dict.fromkeys(gains, 0.3))) is setup.STYLE


def test_forms_are_tried_on_dev_questions_in_a_full_run_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick = Context((load_toy("llama"),), True, 0, tmp_path, show_progress=False)
    assert prompt_form.chosen(prompt_form.measure(quick.models[0], quick)) is setup.STYLE

    def few(context: Context, style: PromptFormat) -> tuple[Asked, ...]:
        return (replace(asked_of(toy_task("country-capital", 7)), style=style, test=()),)

    monkeypatch.setattr(prompt_form, "dev_tasks", few)
    whole = replace(quick, quick=False)
    table = prompt_form.measure(whole.models[0], whole)
    assert set(table["form"]) == {form.name for form in prompt_form.FORMS}
    tried = table[table["state"] == answers.OWN]
    assert set(tried["block"]) == set(range(0, whole.models[0].n_blocks, prompt_form.BLOCK_STEP))
    again = prompt_form.measure(whole.models[0], whole)
    pd.testing.assert_frame_equal(again, table)


# --- as a whole -------------------------------------------------------------------------------------------------------


@pytest.fixture
def toy_study(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Context:
    """Four tasks of made-up words on a network that is called able whatever it answers."""
    tasks = {"english-french": 3, "french-english": 5, "country-capital": 7, "country-language": 11}
    drawn = tuple(asked_of(toy_task(name, step)) for name, step in tasks.items())
    monkeypatch.setattr(measured, "asked_tasks", lambda context, style: drawn)
    monkeypatch.setattr(answers, "ABLE", -1.0)
    return Context((load_toy("llama"), load_toy("gpt2")), True, 0, tmp_path, show_progress=False)


@pytest.mark.slow  # a whole study
def test_the_study_judges_every_claim_and_resumes(toy_study: Context) -> None:
    found = study.run(toy_study)
    assert [verdict.claim for verdict in found.verdicts] == list(study.CLAIMS)
    assert len({figure.name for figure in found.figures}) == len(found.figures) == 12
    assert {"tasks", "decoded-vectors", "conflicts"} <= set(found.tables)
    names = {figure.name for figure in found.figures}
    assert all(figure in names for section in found.sections for figure in section.figures)
    assert all(table in found.tables for section in found.sections for table in section.tables)
    before = len(toy_study.reused)
    again = study.run(toy_study)
    assert len(toy_study.reused) - before >= 14
    assert again.verdicts == found.verdicts


def test_vectors_read_for_the_study_are_those_of_the_library(toy_study: Context) -> None:
    one = measured.measure(toy_study.models[0], toy_study)
    model, sets = one.model, one.asked[1].others
    states = setup.task_states(model, sets, style=setup.STYLE)
    for number in range(len(sets)):
        assert torch.allclose(
            one.vectors.of(one.asked[1].name, number, 2, setup.OTHERS), states["blocks.2.resid_post"][number].float()
        )
    acts = model.capture(sets[0].prompts(setup.STYLE)[0], "blocks.0.resid_pre")["blocks.0.resid_pre"]
    both = model.capture(sets[0].prompts(setup.STYLE)[1], "blocks.0.resid_pre")["blocks.0.resid_pre"]
    surface = torch.cat([acts[0], both[0]]).mean(0)
    assert torch.allclose(one.vectors.of(one.asked[1].name, 0, -1, setup.OTHERS), surface.float(), atol=1e-5)
