"""Hypothesis B: the statistic on made-up damage, the planted network, and the rules of the verdict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rheostat.studies.impairment.matched_damage import Setting
from rheostat.studies.impairment.planted import planted_model, planted_tasks
from rheostat.studies.impairment.specificity import damage_of, of_ranking, of_topic, own_less_others
from rheostat.studies.impairment.topic_bound import Size, judge_null, judged, measure, shortest
from rheostat.studies.record import Measurement
from rheostat.studies.study import Context

TOPICS = ("a", "b", "c", "d")
RANDOM = [f"r{number}" for number in range(20)]


def table(own: float, *, importance: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Return made-up losses: topics differ in sensitivity, clusters in importance, own topics suffer more by `own`."""
    rng = np.random.default_rng(seed)
    rows = []
    for place, topic in enumerate(TOPICS):
        for item in range(30):
            base = rng.uniform(1, 4)
            rows.append(("", topic, item, f"{topic}{item // 3}", base))
            for dial in (*(f"m{one}" for one in TOPICS), *RANDOM):
                rise = (importance if dial in {f"m{one}" for one in TOPICS} else 1.0) * (1 + place) * 0.2
                rise += own * (dial == f"m{topic}") + rng.normal(0, 0.1)
                rows.append((dial, topic, item, f"{topic}{item // 3}", base + rise))
    return pd.DataFrame(rows, columns=["dial", "task", "item", "group", "loss"])


OWN = {topic: f"m{topic}" for topic in TOPICS}


def test_what_was_put_in_comes_out():
    found = of_ranking(damage_of(table(0.3), seed=0, draws=300), OWN, RANDOM, seed=0)
    assert found.effect == pytest.approx(0.3, abs=0.05)
    assert found.difference.low > 0.2 and found.difference.high < 0.4
    assert found.reached == 1 / 24
    assert found.control == pytest.approx(0, abs=1e-9)
    assert found.difference.n == 40


@pytest.mark.parametrize("importance", [1.0, 4.0])
def test_an_important_cluster_is_not_taken_for_a_specific_one(importance):
    found = of_ranking(damage_of(table(0.0, importance=importance), seed=0, draws=300), OWN, RANDOM, seed=0)
    assert found.difference.low < 0 < found.difference.high
    assert found.overall / found.overall_random == pytest.approx(importance, rel=0.1)


def test_one_topic_is_held_against_random_clusters_on_its_own_prompts():
    damage = damage_of(table(0.3), seed=0, draws=300)
    found = of_topic(damage, "d", "md", RANDOM, seed=0)
    assert found.difference.value == pytest.approx(0.3, abs=0.1) and found.reached == 0
    assert found.control > 0.2  # the topic is sensitive whatever is damaged
    other = of_topic(damage, "d", "ma", RANDOM, seed=0)
    assert other.difference.high < 0.1


def test_any_cluster_taken_for_every_topic_in_turn_is_exactly_unspecific():
    rises = np.random.default_rng(0).normal(size=(7, 5))
    statistic = own_less_others(rises)
    np.testing.assert_allclose(statistic.mean(-1), 0, atol=1e-12)
    assert statistic[0, 2] == pytest.approx(rises[0, 2] - np.delete(rises[0], 2).mean())


@pytest.mark.slow  # a whole study
def test_a_planted_network_is_found_specific_and_resumes(tmp_path):
    size = Size(
        8, 8, 5, 6, ("attribution",), (Setting("neurons", ("negative", "magnitude"), 2, 3, 0.25, 10.0),), (), 0.01
    )
    context = Context((), True, 0, Path(tmp_path), show_progress=False)
    model = planted_model()
    find, tasks = planted_tasks(8, seed=0), planted_tasks(5, seed=1)
    (first,) = measure(context, model, size, find, tasks)
    assert context.reused == []
    part = judged([first], [], seed=0)
    assert (part.tables["specificity"]["low"] > 0).all()
    assert (part.tables["specificity"]["own_less_others"] > 0.5).all()
    assert part.verdicts[0].verdict == "contradicted"
    assert set(part.tables["rises"]["mode"]) == {"negative", "magnitude"}
    (again,) = measure(context, model, size, find, tasks)
    assert len(context.reused) == 5
    pd.testing.assert_frame_equal(again.table, first.table)


def measured(low: float, high: float) -> Measurement:
    return Measurement("m", "q", (low + high) / 2, 0.0, low, high, 10, "articles")


@pytest.mark.parametrize(
    ("intervals", "planted", "verdict"),
    [
        ([(0.1, 0.3), (0.2, 0.4)], True, "contradicted"),
        ([(0.1, 0.3), (-0.1, 0.1)], True, "partly"),
        ([(-0.1, 0.1), (-0.2, 0.1)], True, "reproduced"),
        ([(-0.1, 0.1), (-0.2, 0.1)], False, "not testable here"),
        ([(-0.1, 0.1), (-0.2, 0.6)], True, "not testable here"),
        ([], True, "not testable here"),
    ],
)
def test_a_claim_of_no_effect_needs_narrow_intervals_and_a_planted_case(intervals, planted, verdict):
    deciding = [measured(*one) for one in intervals]
    assert judge_null(deciding, planted_found=planted, useful=0.25) == verdict


def test_the_shortest_items_are_taken_in_their_order():
    tasks = planted_tasks(10, seed=3)
    for task, few in zip(tasks, shortest(tasks, 4), strict=True):
        lengths = sorted(len(item.prompt) for item in task.items)
        assert sorted(len(item.prompt) for item in few.items) == lengths[:4]
        assert [item for item in task.items if item in few.items][:4] == list(few.items)
