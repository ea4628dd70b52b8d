"""Rankings on a network whose topics have known units of their own: they find them, and not under shuffled labels."""

from functools import lru_cache

import numpy as np
import pytest
import torch

import rheostat as rh
from rheostat.base.errors import BadArgument, ClusterNotUsable, FileNotUsable
from rheostat.impairment.rank_units import rank_units
from rheostat.neurons.cluster import Cluster
from rheostat.neurons.methods.registry import METHODS
from rheostat.neurons.observation import Observation, observe
from rheostat.neurons.overlap import jaccard, overlap_profile, overlaps
from rheostat.neurons.picture import MOST_DRAWN, cluster_grid, cluster_table
from rheostat.neurons.rank import rank_observed
from rheostat.neurons.ranking import Ranking, random_ranking
from rheostat.report.figures import png
from rheostat.studies.impairment.planted import TOPICS, planted_model, planted_tasks, planted_units
from rheostat.tasks.item import Task, ask

SHARE = 0.01
CONTRASTIVE = [name for name, method in METHODS.items() if method.needs_others]


@lru_cache(maxsize=1)
def network() -> rh.Model:
    return planted_model()


@lru_cache(maxsize=2)
def observed(shuffled: bool = False) -> dict[str, Observation]:
    """Return what was seen on every topic's items, or on items dealt out to the topics at random."""
    tasks = planted_tasks(16, seed=1)
    items = [item for task in tasks for item in task.items]
    if shuffled:
        items = [items[place] for place in np.random.default_rng(0).permutation(len(items))]
    dealt = [Task(topic, tuple(items[16 * place : 16 * place + 16])) for place, topic in enumerate(TOPICS)]
    return {task.name: observe(network(), ask(network(), task.items), "neurons") for task in dealt}


def hits(method: str, *, shuffled: bool = False) -> float:
    """Return the share of planted units of blocks 0 and 1 that no unit outside their topics' clusters surpasses."""
    seen, found = observed(shuffled), []
    for topic in TOPICS:
        others = [one for name, one in seen.items() if name != topic]
        scores = rank_observed(network(), method, seen[topic], others, topic=topic).scores
        for block in (0, 1):
            lowest = scores[block].sort(descending=True).values[len(planted_units(topic)) - 1]
            found += [bool(scores[block][unit] >= lowest) for unit in planted_units(topic)]
    return float(np.mean(found))


@pytest.mark.parametrize("method", METHODS)
def test_every_ranking_finds_the_units_of_its_topic(method):
    assert hits(method) >= 0.8


@pytest.mark.parametrize("method", METHODS)
def test_under_shuffled_labels_no_ranking_tells_whose_units_they_are(method):
    assert hits(method, shuffled=True) <= 0.4


def test_a_random_ranking_finds_none_of_them_and_depends_on_its_seed():
    first, again, other = (random_ranking(network(), "neurons", seed=seed).top(SHARE) for seed in (3, 3, 4))
    assert first == again and first != other
    assert jaccard(first, other) < 0.2
    found = [unit in first.units[0] for topic in TOPICS for unit in planted_units(topic)]
    assert np.mean(found) < 0.3


def test_tasks_are_ranked_by_name():
    tasks = planted_tasks(8, seed=1)
    found = rank_units(network(), tasks, TOPICS[1], method="activation_difference")
    assert found.top(SHARE).units[0] == planted_units(TOPICS[1])
    assert rank_units(network(), tasks, TOPICS[1], method="random", seed=2).top(SHARE) == random_ranking(
        network(), "neurons", seed=2
    ).top(SHARE)
    with pytest.raises(BadArgument, match="no topic 'f'"):
        rank_units(network(), tasks, "f")
    with pytest.raises(BadArgument, match=r"no ranking 'attributoin'\. Closest: attribution"):
        rank_units(network(), tasks, TOPICS[0], method="attributoin")


# --- clusters as values -----------------------------------------------------------------------------------------------


def cluster(units: dict[int, tuple[int, ...]], **fields: str) -> Cluster:
    known = {"kind": "neurons", "method": "m", "topic": "t", "model": "n", "weights": "w"} | fields
    return Cluster(units=units, **known)


def test_the_jaccard_index_is_what_two_clusters_share():
    first, second = cluster({0: (1, 2), 1: (5,)}), cluster({0: (2, 3), 1: (5,)})
    assert jaccard(first, second) == 2 / 4
    table = overlaps({"a": first, "b": second, "c": first})
    assert dict(zip(table["block"] + 0.1 * (table["second"] == "c"), table["jaccard"], strict=False))[0] == 1 / 3
    figure = overlap_profile({"m": {"a": first, "b": second, "c": first}})
    assert figure.table["value"].tolist() == [pytest.approx((1 / 3 + 1 + 1 / 3) / 3), 1.0]
    for other in (cluster({0: (1,)}, kind="mlp_out"), cluster({0: (1,)}, weights="x")):
        with pytest.raises(ClusterNotUsable, match="they share none"):
            jaccard(first, other)


@pytest.mark.parametrize("units", [{}, {0: ()}, {0: (3, 2)}, {0: (2, 2)}, {0: (-1, 2)}])
def test_units_that_make_no_cluster_are_refused(units):
    with pytest.raises(ClusterNotUsable):
        cluster(units)


def test_a_cluster_of_another_network_or_with_other_units_is_refused():
    model = network()
    own = random_ranking(model, "neurons", seed=0).top(SHARE)
    own.check(model)
    with pytest.raises(ClusterNotUsable, match="was made on n"):
        cluster({0: (1,)}).check(model)
    for wrong in ({0: (1, 200)}, {3: (1,)}):
        with pytest.raises(ClusterNotUsable, match="blocks 0 to 2 with units 0 to 199"):
            cluster(wrong, weights=model.weight_hash).check(model)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "x"}', '{"format": "rheostat-cluster-1", "units": {}}'])
def test_what_is_no_cluster_is_not_loaded(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(FileNotUsable, match=r"c\.json"):
        Cluster.load(tmp_path / "c.json")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(BadArgument, match="above 0, at most 1"):
        random_ranking(network(), "neurons", seed=0).top(share)


def test_ties_go_to_the_lower_unit_and_scores_without_a_number_are_refused():
    fields = {"kind": "neurons", "method": "m", "topic": "t", "model": "n", "weights": "w"}
    assert Ranking(scores={0: torch.tensor([1.0, 2.0, 2.0, 2.0])}, **fields).top(0.5).units == {0: (1, 2)}
    with pytest.raises(ClusterNotUsable, match="NaN in block 1"):
        Ranking(scores={0: torch.ones(2), 1: torch.tensor([1.0, float("nan")])}, **fields)


def test_a_cluster_is_drawn_block_by_block_highest_first():
    seen = observed()
    ranking = rank_observed(network(), "attribution", seen[TOPICS[0]], topic=TOPICS[0])
    table = cluster_table(ranking, 0.2)
    assert table.groupby("block").size().tolist() == [40, 40, 40]
    assert all(own["score"].is_monotonic_decreasing for _, own in table.groupby("block"))
    first = table[(table["block"] == 0) & (table["place"] <= 2)]
    assert set(first["unit"]) == set(planted_units(TOPICS[0])) and (first["standard_score"] > 3).all()
    figure = cluster_grid(ranking, 0.2)
    assert len(figure.table) == 3 * MOST_DRAWN and "120 units" in figure.note
    assert png(figure).startswith(b"\x89PNG")
