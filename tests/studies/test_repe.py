"""Each measure of the representation-engineering study finds what is planted, and finds nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from rheostat.data.emotions import EMOTIONS, NAMED, SURROUNDINGS
from rheostat.directions.texts import LabelledTexts, texts_of_pairs
from rheostat.metrics.statistics import Values, auroc
from rheostat.model import load
from rheostat.models.zoo import BUILT_INS
from rheostat.studies.repe import (
    concept_reading,
    emotion_clusters,
    lying,
    oversight,
    own_answers,
    risk_and_utility,
    several_at_once,
    stimuli,
    template_end,
)
from rheostat.studies.repe.auroc_by_group import auroc_against, auroc_draws
from rheostat.studies.repe.concepts import truth
from rheostat.studies.repe.cross_fit import FOLDS, cross_fit, folds_of
from rheostat.studies.repe.instructed import HONEST, HONEST_TOO, LYING, LYING_TOO, Said
from rheostat.studies.repe.manipulate import NEUTRAL, STRENGTHS
from rheostat.studies.repe.read_concepts import (
    CHOSEN,
    EMBEDDED,
    MEAN,
    RANDOM,
    SHUFFLED,
    UNTRAINED,
    WORDS,
    random_scores,
)
from rheostat.studies.repe.shifts import matched_shift, monotony, shift
from rheostat.studies.repe.states import EMBEDDING, States, states_of
from rheostat.studies.untrained import untrained

N_PAIRS, WIDTH, N_BLOCKS = 30, 24, 5


def labelled(n_pairs: int = N_PAIRS, pairs_per_group: int = 2) -> LabelledTexts:
    texts = tuple(f"text {number}" for number in range(2 * n_pairs))
    return LabelledTexts(
        texts=texts,
        lengths=np.full(2 * n_pairs, 3),
        positive=np.tile([True, False], n_pairs),
        groups=np.repeat(np.arange(n_pairs) // pairs_per_group, 2),
        paired=True,
    )


def planted(at: int, size: float, seed: int = 0) -> States:
    """Noise, a nuisance that the texts of a pair share, and at one block a direction that follows the label."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(1 + N_BLOCKS, 2 * N_PAIRS, WIDTH)) + 3 * np.repeat(
        rng.normal(size=(N_PAIRS, WIDTH)), 2, axis=0
    )
    sides = np.tile([1.0, -1.0], N_PAIRS)
    values[1 + at] += size * sides[:, None] * np.eye(WIDTH)[3]
    return States((EMBEDDING, *range(N_BLOCKS)), values.astype(np.float32))


# --- cross-fitting ----------------------------------------------------------------------------------------------------


def test_texts_of_a_group_share_their_fold() -> None:
    texts = labelled()
    fold = folds_of(texts, 0)
    assert set(fold) == set(range(FOLDS))
    for group in range(texts.n_groups):
        assert len(set(fold[texts.groups == group])) == 1


@pytest.mark.parametrize("method", ["mean_difference", "pca", "logistic"])
def test_a_planted_direction_is_read_at_the_block_that_others_chose(method: str) -> None:
    texts, states = labelled(), planted(at=2, size=8.0)
    found = cross_fit(states, texts, method, seed=0, shuffles=4)
    assert (found.chosen[0] == 1 + 2).all()
    assert float(auroc(found.at_chosen[0], texts.positive)) > 0.9
    if method == "mean_difference":
        shuffled = [float(auroc(one, texts.positive)) for one in found.at_chosen[1:]]
        assert abs(float(np.mean(shuffled)) - 0.5) < 0.25


def test_nothing_is_read_where_nothing_is() -> None:
    texts = labelled()
    areas = [
        float(auroc(cross_fit(planted(0, 0.0, seed), texts, "mean_difference", seed=seed).at_chosen[0], texts.positive))
        for seed in range(5)
    ]
    assert abs(float(np.mean(areas)) - 0.5) < 0.12


def test_random_directions_read_less_than_the_planted_one() -> None:
    texts, states = labelled(), planted(at=2, size=8.0)
    random = random_scores(states, texts, 0)
    of_random = np.mean([float(auroc(one[3], texts.positive)) for one in random])
    own = float(auroc(cross_fit(states, texts, "mean_difference", seed=0).scores[0, 3], texts.positive))
    assert own > of_random + 0.15


# --- AUROC over groups ------------------------------------------------------------------------------------------------


def test_the_area_is_that_of_the_definition_and_the_draws_surround_it() -> None:
    rng = np.random.default_rng(0)
    positive, groups = np.tile([True, False], 30), np.repeat(np.arange(30), 2)
    scores = rng.normal(size=(2, 60)) + positive
    value, drawn = auroc_draws(scores, positive, groups, seed=0)
    assert value == pytest.approx(np.mean([float(auroc(one, positive)) for one in scores]))
    assert np.quantile(drawn, 0.025) < value < np.quantile(drawn, 0.975)


def test_a_reader_against_itself_differs_by_nothing() -> None:
    rng = np.random.default_rng(0)
    positive, groups = np.tile([True, False], 30), np.repeat(np.arange(30), 2)
    scores = rng.normal(size=(1, 60)) + 2 * positive
    controls = {"itself": scores, "chance": np.empty((0, 60)), "noise": rng.normal(size=(3, 60))}
    same, chance, noise = auroc_against("toy", "AUROC", scores, controls, positive, groups, unit="pairs", seed=0)
    assert same.low == same.high == 0
    assert chance.control == 0.5
    assert chance.low > 0.2
    assert noise.low > 0.2


# --- data -------------------------------------------------------------------------------------------------------------


def test_every_capital_is_right_once_and_wrong_once_and_stays_in_its_group() -> None:
    pairs = truth(limit=None, seed=0).pairs
    capitals = [[pair.positive.split(" is ")[1] for pair in pairs], [pair.negative.split(" is ")[1] for pair in pairs]]
    assert sorted(capitals[0]) == sorted(capitals[1])
    group_of = {capital: pair.group for capital, pair in zip(capitals[0], pairs, strict=True)}
    assert all(group_of[capital] == pair.group for capital, pair in zip(capitals[1], pairs, strict=True))


def test_no_scenario_names_an_emotion_and_all_have_as_many() -> None:
    named = set(NAMED.split())
    for scenarios in EMOTIONS.values():
        assert len(scenarios) == len(SURROUNDINGS)
        for scenario in scenarios:
            words = {word.strip(".,:!?'").lower() for word in scenario.split()}
            assert not words & named, scenario


# --- repe-1 -----------------------------------------------------------------------------------------------------------


def reading_table(gap: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    positive, groups = np.tile([True, False], 30), np.repeat(np.arange(30), 2)
    rows = []
    for reader, own, block in (
        (MEAN, gap, CHOSEN),
        (SHUFFLED, 0.0, CHOSEN),
        (RANDOM, 0.0, CHOSEN),
        (WORDS, 0.0, CHOSEN),
        (UNTRAINED, 0.0, CHOSEN),
        (EMBEDDED, 0.0, EMBEDDING),
    ):
        for draw in range(3 if reader in (SHUFFLED, RANDOM) else 1):
            scores = rng.normal(size=60) + own * positive
            part = {"reader": reader, "draw": draw, "block": block, "text": range(60), "score": scores}
            rows.append(pd.DataFrame({**part, "group": groups, "positive": positive, "at": 1}))
    return pd.concat(rows).assign(concept="truth", unit="pairs")


def test_a_read_concept_stands_above_every_control_and_an_unread_one_does_not() -> None:
    found = concept_reading.measure_concept("toy", reading_table(3.0), 0, concept_reading.DECIDING)
    assert all(one.low > 0.2 for one in found)
    none = concept_reading.measure_concept("toy", reading_table(0.0), 0, concept_reading.DECIDING)
    assert not any(one.low > 0.1 for one in none)


# --- repe-2 and repe-3 ------------------------------------------------------------------------------------------------


def manipulation_table(slope: float) -> pd.DataFrame:
    """The concept's direction moves its answer by slope × strength; random ones and another concept's by a little."""
    rng = np.random.default_rng(0)
    slopes = {"mood": slope, "other": 0.5, "random 0": -0.5, "random 1": 0.4}
    rows = []
    for prompt in range(8):
        base = float(rng.normal())
        rows.append({"question": "mood", "direction": "none", "block": -1, "strength": 0.0, "value": base})
        rows[-1]["prompt"] = prompt
        for direction, own in slopes.items():
            for strength in STRENGTHS:
                for block in (2, 4):
                    label = {"direction": direction, "block": block, "strength": strength, "prompt": prompt}
                    moved = base + own * strength + rng.normal(0, 0.01)
                    rows.append({**label, "question": "mood", "value": moved})
                    rows.append({**label, "question": "other", "value": rng.normal()})
                    price = strength**2 * (4 if direction == "mood" else 1)
                    rows.append({**label, "question": NEUTRAL, "value": price})
        rows.append({**rows[0], "question": "other", "prompt": prompt})
    return pd.DataFrame(rows)


def test_shifts_are_halves_of_differences_and_matched_by_their_cost() -> None:
    table = manipulation_table(10.0)
    assert shift(table, "mood", "mood", 2, 0.3).mean() == pytest.approx(3.0, abs=0.05)
    assert matched_shift(table, "mood", "mood", 2, 0.3**2 * 4 / 9).mean() == pytest.approx(1.0, abs=0.05)
    assert monotony(table, "mood", "mood", 2) == pytest.approx(np.ones(8))


def test_a_direction_that_moves_its_answer_is_told_from_its_controls_and_one_that_does_not_is_not() -> None:
    found = own_answers.measure_concept("toy", manipulation_table(10.0), "mood", 0)
    assert all(one.low > 0 for one in found[:4])
    assert found[0].effect == pytest.approx(3.0, abs=0.05)
    assert found[2].effect < found[0].effect
    none = own_answers.measure_concept("toy", manipulation_table(0.0), "mood", 0)
    assert all(one.low < 0 for one in none)


def several_table(interaction: float) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    moved = {"a": {"first alone": 2.0, "second alone": 0.1}, "b": {"first alone": 0.1, "second alone": -2.0}}
    for question, effects in moved.items():
        both = sum(effects.values()) + interaction
        for state, effect in {"nothing": 0.0, **effects, "both": both}.items():
            for prompt in range(8):
                value = prompt + effect + rng.normal(0, 0.01)
                rows.append({"question": question, "state": state, "prompt": prompt, "value": value})
    return pd.DataFrame(rows)


def test_two_directions_that_add_up_are_told_from_two_that_undo_each_other() -> None:
    found = several_at_once.measure_pair("toy", several_table(0.0), "a", "b", 0)
    assert all(one.low > 1 for one in found)
    assert found[0].effect == pytest.approx(2.1, abs=0.05)
    undone = several_at_once.measure_pair("toy", several_table(-2.1), "a", "b", 0)
    assert undone[0].low < 0.1
    assert undone[1].high < 0


# --- repe-4 -----------------------------------------------------------------------------------------------------------


def test_what_is_only_at_the_end_of_the_template_is_read_only_there() -> None:
    texts = labelled()
    states = {template_end.HERE: planted(2, 8.0), template_end.ELSEWHERE: planted(2, 0.0, seed=1)}
    found = template_end.read_elsewhere(states, texts, 0)
    assert float(auroc(found[template_end.HERE][3], texts.positive)) > 0.9
    assert abs(float(auroc(found[template_end.ELSEWHERE][3], texts.positive)) - 0.5) < 0.2
    assert abs(float(auroc(found[template_end.SHUFFLED][3], texts.positive)) - 0.5) < 0.35


# --- repe-5 -----------------------------------------------------------------------------------------------------------


def test_the_first_component_finds_the_concept_only_if_the_order_in_pairs_is_drawn() -> None:
    """Centring takes a concept away that all differences share: the reason why the order is drawn."""
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(60, WIDTH)) + 4 * np.eye(WIDTH)[3]
    differences[:, 5] *= 3
    drawn = stimuli.components(differences, rng.choice([-1.0, 1.0], size=60), 2)
    assert abs(drawn[0, 3]) > 0.9
    fixed = stimuli.components(differences, np.ones(60), 1)
    assert abs(fixed[0, 3]) < 0.3


def test_more_stimuli_read_better_and_all_ways_are_measured() -> None:
    texts = labelled(60, 1)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(120, WIDTH)) + 0.8 * np.tile([1.0, -1.0], 60)[:, None] * np.eye(WIDTH)[3]
    tables = [
        pd.DataFrame(stimuli.drawn(values, texts, rng.normal(size=(60, WIDTH)), seed=seed)).assign(draw=seed)
        for seed in range(20)
    ]
    table = pd.concat(tables).assign(concept="truth")
    few, many = (stimuli.values_of(table, stimuli.MEAN, pairs=n).mean() for n in (2, 16))
    assert many > few + 0.1
    found = stimuli.measure_concept("toy", table, 0)
    assert [one.control_name for one in found][-1] == stimuli.ALONE
    assert found[2].control_name == stimuli.SECOND
    assert next(one for one in found if one.control_name == stimuli.ALONE).low > 0


# --- repe-6 -----------------------------------------------------------------------------------------------------------


def spoken(shared: float, own: float) -> Said:
    """States with an axis that all lies share, and one that belongs to each instruction's words."""
    rng = np.random.default_rng(0)
    states: dict[str, Values] = {}
    for place, name in enumerate((HONEST, HONEST_TOO, LYING, LYING_TOO)):
        lies = name in (LYING, LYING_TOO)
        offset = shared * lies * np.eye(WIDTH)[0] + own * np.eye(WIDTH)[1 + place]
        states[name] = rng.normal(size=(3, 7, 12, WIDTH)) + offset
    return Said(states, tuple(map(str, range(12))))


def area(said: Said, test: str) -> float:
    table = lying._rows(test, lying.scores(said, *lying.TESTS[test], seed=0))
    scores, positive, _ = lying.cells(table, test)
    return float(np.mean([float(auroc(one, positive)) for one in scores]))


def test_a_shared_axis_of_lies_passes_to_other_words_and_two_honest_instructions_show_none() -> None:
    lies = spoken(shared=8.0, own=0.0)
    assert area(lies, lying.SAME) > 0.95
    assert area(lies, lying.OTHER_WORDS) > 0.95
    assert area(lies, lying.TWO_HONEST) < 0.7


def test_axes_of_single_instructions_pass_for_lies_only_in_the_same_words() -> None:
    words = spoken(shared=0.0, own=8.0)
    assert area(words, lying.SAME) > 0.95
    assert area(words, lying.TWO_HONEST) > 0.95
    assert abs(area(words, lying.OTHER_WORDS) - 0.5) < 0.2


# --- repe-7 -----------------------------------------------------------------------------------------------------------


def test_a_tie_through_a_third_reading_vanishes_when_it_is_held_fixed() -> None:
    rng = np.random.default_rng(0)
    mood = rng.normal(size=(300, 2))
    names = [risk_and_utility.RISK, risk_and_utility.UTILITY, "sentiment"]
    units = np.stack([mood + rng.normal(0, 0.3, (300, 2)), mood + rng.normal(0, 0.3, (300, 2)), mood], axis=1)
    assert risk_and_utility.tie(units, names, names[1], []) > 0.8
    assert abs(risk_and_utility.tie(units, names, names[1], ["sentiment"])) < 0.15
    own = rng.normal(size=(300, 2))
    units[:, 0] += own
    units[:, 1] += own
    assert risk_and_utility.tie(units, names, names[1], ["sentiment"]) > 0.5


# --- repe-8 -----------------------------------------------------------------------------------------------------------


def emotion_table(middle: float) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for network in ("trained", "untrained", "words"):
        for block in range(-1, 12) if network != "words" else (-1,):
            right = middle if network == "trained" and 4 <= block < 8 else 1 / 6
            for group in range(16):
                for text in range(6):
                    row = {"kind": "score", "network": network, "block": block, "group": group, "text": text}
                    rows.append({**row, "value": float(rng.random() < right), "chance": 1 / 6})
    return pd.DataFrame(rows)


def test_clusters_in_the_middle_are_found_and_missing_ones_are_not() -> None:
    found = emotion_clusters.measure_all("toy", emotion_table(0.7), 12, 0)
    assert all(one.low > 0.2 for one in found)
    none = emotion_clusters.measure_all("toy", emotion_table(1 / 6), 12, 0)
    assert not any(one.low > 0.1 for one in none)


def test_states_of_one_label_lie_nearest_to_their_own_centroid() -> None:
    rng = np.random.default_rng(0)
    labels, groups = [name for name in "abc" for _ in range(8)], list(range(8)) * 3
    centres = np.repeat(np.eye(3), 8, axis=0) * 6
    near = emotion_clusters._right(rng.normal(size=(24, 3)) + centres, labels, groups, 0)
    assert near["value"].mean() > 0.9
    assert near["chance"].mean() < 0.6


# --- decode-12 --------------------------------------------------------------------------------------------------------


def test_a_monitor_that_flags_early_saves_more_than_a_filter_and_as_much_as_the_prompt() -> None:
    rows = []
    for detector, share in (("monitor", 0.2), ("prompt only", 0.2), ("finished text", 1.05), ("monitor at embed", 1.0)):
        for text in range(20):
            row = {"detector": detector, "text": text, "positive": text < 10, "rejected": share < 1, "share": share}
            rows.append(row)
    found = oversight.measure_all("toy", pd.DataFrame(rows), 0)
    by_control = {one.control_name: one for one in found if "saved" in one.quantity}
    assert by_control["finished text"].low == pytest.approx(0.85)
    assert by_control["prompt only"].low == 0
    assert by_control["monitor at embed"].low == pytest.approx(0.8)


# --- real models ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILT_INS))
def test_true_statements_are_told_from_false_ones_on_countries_that_were_not_fitted_on(name: str) -> None:
    model = load(name, dtype="float32")
    texts = texts_of_pairs(model, truth(limit=None, seed=0).pairs)
    found = cross_fit(states_of(model, texts.texts), texts, "mean_difference", seed=0, shuffles=5)
    areas = [float(auroc(one, texts.positive)) for one in found.at_chosen]
    assert areas[0] >= 0.9
    assert abs(float(np.mean(areas[1:])) - 0.5) < 0.12
    blank = cross_fit(states_of(untrained(model, 0), texts.texts), texts, "mean_difference", seed=0)
    assert float(auroc(blank.at_chosen[0], texts.positive)) < 0.7
