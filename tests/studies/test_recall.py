"""Each measure of the recall study finds what is planted, and finds nothing where nothing is."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rheostat.data.facts import Fact
from rheostat.metrics.statistics import Values
from rheostat.studies.held_out import cross_fitted
from rheostat.studies.known_facts import KnownFact
from rheostat.studies.recall import (
    arrival,
    extracted,
    removals,
    removed_sublayers,
    strongest_window,
    subject_words,
    top_sublayers,
)
from rheostat.studies.recall.enrichment import CENTRED, EMBEDDING, END, FIRST, LAST, NORMED, PLAIN, by_block
from rheostat.studies.recall.facts import Subject, other_words
from rheostat.studies.recall.knockout import DRAWS, RANDOM, changes, drawn_changes, sources_of
from rheostat.studies.recall.planted import saying
from rheostat.studies.recall.removals import LARGER, NOTHING, removals_of
from rheostat.studies.recall.removals import RANDOM as RANDOM_BLOCKS
from rheostat.studies.recall.trained_case import wide
from rheostat.studies.recall.triples import LINK, N_RELATIONS, triples
from rheostat.studies.study import Context
from tests.contract.conftest import load_toy

N_UNITS, N_BLOCKS = 40, 12


def noise(seed: int, *, scale: float = 2.0) -> Values:
    return np.random.default_rng(seed).normal(0, scale, size=(N_UNITS, N_BLOCKS))


def dip(at: int, size: float) -> Values:
    return -size * np.exp(-0.5 * ((np.arange(N_BLOCKS) - at) / 1.5) ** 2)


def test_no_unit_takes_part_in_the_choice_of_its_own_place() -> None:
    values = np.array([[1.0, 0.0], [0.0, 2.0]] * 3)
    reported, chosen = cross_fitted(values)
    assert reported.tolist() == [0.0] * 6
    assert chosen == (1, 0)


# --- knockout ---------------------------------------------------------------------------------------------------------


def known(n_tokens: int, subject: tuple[int, ...]) -> KnownFact:
    fact = Fact("capital", " ".join(f"w{i}" for i in range(5, 5 + n_tokens)), "w6", " w9")
    return KnownFact(fact, tuple(range(5, 5 + n_tokens)), subject, 9, 0.5)


def test_random_sources_are_as_many_tokens_and_never_the_last() -> None:
    model, one = load_toy("llama"), known(8, (1, 2))
    sources = sources_of(model, one, 0)
    assert sources["subject"] == (1, 2)
    assert sources["non-subject"] == (0, 3, 4, 5, 6)
    assert sources["non-subject without the first token"] == (3, 4, 5, 6)
    drawn = {tuple(sources_of(model, one, seed)[f"{RANDOM} 0"]) for seed in range(20)}
    assert len(drawn) > 3
    for tokens in drawn:
        assert len(tokens) == 2
        assert set(tokens) <= {0, 3, 4, 5, 6}
    for draw in range(DRAWS):
        dealt = (*sources[f"dealt subject {draw}"], *sources[f"dealt non-subject {draw}"])
        assert sorted(dealt) == [0, 1, 2, 3, 4, 5, 6]


def test_changes_unfold_by_fact_and_window_and_draws_are_averaged() -> None:
    rows = [
        {"fact": fact, "source": source, "centre": centre, "change": 100 * number + 10 * centre + shift}
        for number, fact in enumerate(("z first", "a second"))
        for centre in (1, 0)
        for source, shift in (("subject", 0.0), (f"{RANDOM} 0", 1.0))
    ]
    table = pd.DataFrame(rows)
    assert changes(table, "subject").tolist() == [[0, 10], [100, 110]]
    assert changes(table, RANDOM).tolist() == [[1, 11], [101, 111]]
    assert len(drawn_changes(table, RANDOM)) == 1


def test_a_fall_in_an_upper_window_is_found_and_told_from_one_below_and_from_none() -> None:
    upper = strongest_window.measure_all("toy", noise(0) + dip(9, 20), noise(1), 0)
    assert all(one.low > 0 for one in upper)
    assert upper[0].effect == pytest.approx(20, abs=2)
    assert upper[1].effect == pytest.approx(9 / 11, abs=0.05)
    lower = strongest_window.measure_all("toy", noise(0) + dip(2, 20), noise(1), 0)
    assert lower[0].low > 0
    assert lower[1].high < 0
    assert lower[2].high < 0
    none = strongest_window.measure_all("toy", noise(0), noise(1), 0)
    assert none[0].low < 0


def test_the_planted_fall_is_found_in_noise_of_its_size() -> None:
    assert strongest_window.planted(noise(3), 0)[0].low > 0
    assert strongest_window.planted(noise(3, scale=200), 0)[0].low < 0


def test_an_earlier_arrival_is_found_per_fact() -> None:
    subject, others = noise(0) + dip(9, 30), noise(1) + dip(4, 30)
    difference = arrival.depths(subject) - arrival.depths(others)
    found = arrival.measure_all("toy", "other", difference, np.zeros(N_UNITS), difference, 0)
    assert found[0].effect == pytest.approx(5 / 11, abs=0.05)
    assert found[0].low > 0
    assert found[1].low > 0
    assert found[2].low == found[2].high == 0
    backwards = arrival.measure_all("toy", "other", -difference, np.zeros(N_UNITS), difference, 0)
    assert backwards[0].high < 0


# --- enrichment -------------------------------------------------------------------------------------------------------


def enrichment_table(rise: float, seed: int = 0) -> pd.DataFrame:
    """Subjects whose own words rise over the blocks at their last token, in the paper's way of decoding."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(N_UNITS):
        shared = {"subject": f"subject {number}", "several": number % 2 == 0}
        for way in (PLAIN, NORMED, CENTRED):
            rows.append({**shared, "place": EMBEDDING, "way": way, "block": -1, "own": 0.1, "other": 0.1})
            for place in (LAST, END, FIRST)[: 3 if number % 2 == 0 else 2]:
                for block in range(N_BLOCKS):
                    own = 0.1 + rng.normal(0, 0.02) + rise * block / N_BLOCKS * (place == LAST)
                    rows.append({**shared, "place": place, "way": way, "block": block, "own": own, "other": 0.1})
    return pd.DataFrame(rows)


def test_a_rise_of_the_subjects_words_is_found_against_every_control() -> None:
    flat = enrichment_table(0.0, seed=1)
    found = subject_words.measure_all("toy", enrichment_table(0.3), flat, 0)
    assert all(one.low > 0.2 for one in found)
    assert [one.n for one in found] == [*[N_UNITS] * 4, N_UNITS // 2]
    assert subject_words.that_decide(found) == found
    none = subject_words.measure_all("toy", enrichment_table(0.0), flat, 0)
    assert not any(one.low > 0.03 for one in none)


def test_a_fall_that_is_smaller_than_a_controls_fall_is_no_rise() -> None:
    falling, worse = enrichment_table(-0.3), enrichment_table(-0.3)
    for table, embedding in ((falling, 0.2), (worse, 0.4)):
        table.loc[table["place"] == EMBEDDING, "own"] = embedding
    found = subject_words.measure_all("toy", falling, worse, 0)
    assert any(one.low > 0 for one in found)
    assert subject_words.that_decide(found) == [found[1]]
    assert found[1].high < 0


def test_a_rise_counts_from_the_embedding() -> None:
    table = enrichment_table(0.0)
    table.loc[table["place"] == EMBEDDING, "own"] = 0.4
    assert by_block(table, "own").to_numpy().mean() == pytest.approx(-0.3, abs=0.01)


def test_other_words_are_of_other_countries() -> None:
    facts = [known(n_tokens, (1,)) for n_tokens in (5, 6, 7, 8)]
    renamed = [
        KnownFact(replace(one.fact, subject=name), one.tokens, one.subject, 9, 0.5)
        for one, name in zip(facts, "pqrs", strict=True)
    ]
    subjects = [Subject(one, country, frozenset({country})) for one, country in zip(renamed, "abca", strict=True)]
    others = other_words(subjects, 0)
    assert set().union(*others["p"]) == set().union(*others["s"]) == {"b", "c"}
    assert set().union(*others["q"]) == {"a", "c"}


# --- removals ---------------------------------------------------------------------------------------------------------


def removal_table(early_mlp: float, other: float) -> pd.DataFrame:
    """Rates that fall by `early_mlp` without early MLPs and by `other` without anything else; damage alike."""
    rng, rows = np.random.default_rng(0), []
    for removal in removals_of(24, 0):
        early = removal.group == "mlp_out" and removal.start < 6
        fall = 0.0 if removal.group == NOTHING else early_mlp if early else other
        for number in range(N_UNITS):
            own = 0.4 - fall + rng.normal(0, 0.02)
            shared = {"group": removal.group, "start": removal.start, "loss": 3.0 + 10 * (fall > 0), "way": PLAIN}
            rows.append({**shared, "subject": f"subject {number}", "own": own, "other": 0.1})
    return pd.DataFrame(rows)


def test_a_fall_without_early_mlps_alone_is_found_and_general_damage_is_not() -> None:
    alone = removed_sublayers.measure_all(
        "toy", PLAIN, removed_sublayers.Removed(removal_table(0.3, 0.0), PLAIN, 24), 0
    )
    assert len(alone) == 4
    assert all(one.low > 0.1 for one in alone)
    damage = removed_sublayers.Removed(removal_table(0.3, 0.3), PLAIN, 24)
    assert not any(one.low > 0.02 for one in removed_sublayers.measure_all("toy", PLAIN, damage, 0))


def test_there_must_be_something_to_lose() -> None:
    table = removal_table(0.3, 0.0)
    assert removed_sublayers.to_lose("toy", PLAIN, table, 0).low > removed_sublayers.LEAST
    assert removed_sublayers.to_lose("toy", PLAIN, table.assign(own=0.1), 0).low == pytest.approx(0)


def test_the_matched_removal_is_the_nearest_in_damage_and_no_early_mlp() -> None:
    table = removal_table(0.3, 0.0)
    chosen = (table["group"] == f"{LARGER} late") & (table["start"] == 1)
    table.loc[chosen, "loss"] = 12.5
    removed = removed_sublayers.Removed(table, PLAIN, 24)
    assert set(removed.matched()) == {(f"{LARGER} late", 1)}
    assert removed.loss(removed.early("mlp_out")) == pytest.approx(13)


def test_removals_hold_windows_of_both_kinds_and_as_many_random_blocks() -> None:
    listed = removals_of(30, 0)
    windows = [one for one in listed if one.group == "mlp_out"]
    assert [one.start for one in windows] == list(range(0, 21, 2))
    assert windows[0].sites == tuple(f"blocks.{block}.mlp_out" for block in range(6))
    random = [one for one in listed if one.group.startswith(RANDOM_BLOCKS)]
    assert {len(one.sites) for one in random} == {6}
    assert len({one.sites for one in random}) == len(random)


# --- extraction -------------------------------------------------------------------------------------------------------


def test_an_answer_said_by_any_block_counts_once() -> None:
    rows = [
        {"fact": f"{number:02d}", "state": state, "kind": kind, "block": block, "answer": hit, "rival": False}
        for number in range(20)
        for state in (extracted.INTACT, extracted.BLOCKED, extracted.RANDOM)
        for kind in ("attn_out", "mlp_out")
        for block in range(4)
        for hit in [state == extracted.INTACT and kind == "attn_out" and number < 15 and block >= 2]
    ]
    table = pd.DataFrame(rows)
    assert extracted.extracted(table, extracted.INTACT, "attn_out").tolist() == [1.0] * 15 + [0.0] * 5
    found = extracted.measure_all("toy", PLAIN, table, 0)
    assert [one.effect for one in found] == pytest.approx([0.75] * 4)
    assert all(one.low > 0.4 for one in found)
    assert extracted.measure_all("toy", PLAIN, table.assign(answer=False), 0)[0].effect == 0


def test_a_rival_is_another_answer_of_the_same_relation() -> None:
    one, two, three = known(4, (1,)), known(5, (1,)), known(6, (1,))
    other = KnownFact(Fact("language", "x", "x", " y"), (5,), (0,), 33, 0.5)
    two = KnownFact(two.fact, two.tokens, two.subject, 11, 0.5)
    assert extracted.rival_answers([one, two, three, other]) == [11, 9, 11, -1]


# --- the trained network ----------------------------------------------------------------------------------------------


def test_no_name_alone_gives_a_subject_away_and_every_subject_has_every_relation() -> None:
    facts = triples(0)
    subjects = {(one.first, one.last) for one in facts}
    assert len(subjects) * N_RELATIONS == len(facts) == len({one.prompt for one in facts})
    for place in range(2):
        names = [subject[place] for subject in subjects]
        assert min(names.count(name) for name in names) >= 3
    assert all(word.isalpha() and len(word) > 3 for one in facts for word in one.prompt.split() if word != LINK)


def test_a_measure_of_the_trained_network_unfolds_by_fact_and_place() -> None:
    rows = [
        {"fact": fact, "measure": "knockout", "series": "subject", "place": place, "value": 10.0 * place}
        for fact in ("b", "a")
        for place in (1, 0)
    ]
    assert wide(pd.DataFrame(rows), "knockout", "subject").tolist() == [[0, 10], [0, 10]]


def test_a_planted_direction_is_as_long_as_the_state_and_says_its_token() -> None:
    model = load_toy("llama")
    state = torch.ones(16, dtype=torch.float64)
    direction = saying(model, [20], state)
    assert direction.norm() == pytest.approx(float(state.norm()))
    weight = model.part(model.body.unembed).get_parameter("weight").detach()
    assert float(weight[20] @ direction) > float((weight @ direction).mean())


# --- the top ----------------------------------------------------------------------------------------------------------


def test_the_top_of_each_kind_is_removed_and_random_blocks_lie_below_it() -> None:
    listed = top_sublayers.removals_of(30, 0)
    tops = {one.group: one.sites for one in listed if one.group in top_sublayers.KINDS}
    assert tops == {kind: tuple(f"blocks.{block}.{kind}" for block in range(24, 30)) for kind in top_sublayers.KINDS}
    for one in listed:
        if one.group.startswith(RANDOM_BLOCKS):
            assert len(set(one.sites)) == 6
            assert max(int(site.split(".")[1]) for site in one.sites) < 24


def top_table(left: float, left_below: float) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for removal in top_sublayers.removals_of(30, 0):
        own = 0.4 if removal.group == NOTHING else left_below if removal.group.startswith(RANDOM_BLOCKS) else left
        told = {"group": removal.group, "start": removal.start, "n": len(removal.sites), "loss": 3.0}
        rows += [
            {**told, "way": way, "subject": f"s{n}", "own": own + rng.normal(0, 0.01), "other": 0.1}
            for way in (PLAIN, CENTRED)
            for n in range(20)
        ]
    return pd.DataFrame(rows)


def test_what_the_top_takes_beyond_random_blocks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = top_table(0.1, 0.3)
    taken = top_sublayers.rate(table, NOTHING, PLAIN) - top_sublayers.rate(table, "mlp_out", PLAIN)
    assert taken.mean() == pytest.approx(0.3, abs=0.01)
    assert top_sublayers.rate(table, f"{RANDOM_BLOCKS} mlp_out", PLAIN).mean() == pytest.approx(0.3, abs=0.01)
    monkeypatch.setattr(top_sublayers, "measure", lambda model, context: table)
    part = top_sublayers.run(Context((load_toy("llama"),), True, 0, tmp_path))
    assert re.search(r"further fall by the top 0\.(199|2|20\d) \[0\.", part.sections[0].text)
    assert part.figures[0].table["text"].iloc[0].startswith("40 [")


def test_removing_sublayers_moves_what_the_last_block_says() -> None:
    model = load_toy("llama")
    subjects = [Subject(known(4 + n, (1, 2)), "c", frozenset({"w7", "w9"})) for n in range(3)]
    removal = removals.Removal("mlp_out", 2, ("blocks.2.mlp_out",))
    whole = removals.Removal(NOTHING, -1, ())
    above, below = (removals.states_of(model, subjects, whole, block) for block in (2, 1))
    assert not torch.allclose(above, below)
    assert not torch.allclose(above, removals.states_of(model, subjects, removal, 2))
