"""Detection, correlation and clusters on planted texts: the last token decides, so the answer is known."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import rheostat as rh
from rheostat.base.errors import BadArgument, SiteNotFound
from rheostat.directions.clusters import find_clusters
from rheostat.directions.correlation import correlate
from rheostat.directions.detection import separate
from rheostat.directions.direction import Calibration, Direction
from rheostat.directions.shuffles import shuffled_by_group
from rheostat.metrics.statistics import auroc, bootstrap_auroc
from tests.contract.conftest import load_toy
from tests.directions.planted import at_every_block, between

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def model() -> rh.Model:
    return load_toy("llama")


def ending(token: int, n: int, *, length: int = 4) -> list[list[int]]:
    """Return prompts of random tokens that end in one token."""
    return [[*map(int, RNG.integers(20, 60, size=length - 1)), token] for _ in range(n)]


# --- AUROC ------------------------------------------------------------------------------------------------------------


def test_auroc_counts_pairs_and_ties_as_scikit_learn_does():
    scores = RNG.integers(0, 6, size=(5, 40)).astype(float)
    labels = RNG.random((5, 40)) < 0.4
    expected = [roc_auc_score(one, row) for one, row in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(auroc(scores, labels), expected)
    assert np.isnan(auroc(scores[0], np.ones(40, dtype=bool)))


def test_the_interval_of_an_auroc_resamples_groups_not_texts():
    labels = np.tile([True, False], 40)
    groups = np.repeat(np.arange(8), 10)
    effects = np.array([3.0, -2, 2, -1, 4, 1, -3, 2])  # whole groups point one way or the other
    scores = labels * effects[groups] + RNG.normal(size=80)
    wide = bootstrap_auroc(scores, labels, list(groups), seed=0)
    narrow = bootstrap_auroc(scores, labels, range(80), seed=0)
    assert wide.value == narrow.value == pytest.approx(roc_auc_score(labels, scores))
    assert (wide.n, narrow.n) == (8, 80)
    assert wide.low < wide.value < wide.high
    draws = [RNG.integers(0, 8, size=8) for _ in range(400)]
    chosen = [np.concatenate([np.flatnonzero(groups == one) for one in drawn]) for drawn in draws]
    slow = np.quantile([roc_auc_score(labels[each], scores[each]) for each in chosen], [0.025, 0.975])
    np.testing.assert_allclose([wide.low, wide.high], slow, atol=0.04)
    assert wide.high - wide.low > 1.3 * (narrow.high - narrow.low)


def test_an_auroc_needs_both_classes_and_two_groups():
    for labels, groups in (([True] * 4, range(4)), ([True, False] * 2, [1] * 4)):
        with pytest.raises(BadArgument, match="both classes and 2 groups"):
            bootstrap_auroc(np.arange(4.0), np.array(labels), list(groups), seed=0)


# --- detection --------------------------------------------------------------------------------------------------------


def test_a_planted_last_token_is_found_and_labels_at_random_are_not(model):
    direction = between(model, "embed", [7], [9])
    found = separate(model, direction, ending(7, 12), ending(9, 12), seed=1).table.iloc[0]
    assert (found["auroc"], found["low"], found["high"]) == (1, pytest.approx(0.025 ** (1 / 12)), 1)
    assert 0.4 < found["shuffled"] < 0.6 < found["shuffled_high"] < 0.9
    assert (found["n_positive"], found["n_negative"], found["n_groups"]) == (12, 12, 12)
    null = separate(model, direction, ending(7, 12), ending(7, 12), seed=1).table.iloc[0]
    assert null["auroc"] == 0.5
    opposite = separate(model, -direction, ending(7, 12), ending(9, 12)).table.iloc[0]
    assert opposite["auroc"] == 0


def test_a_difference_in_length_alone_is_reported(model):
    direction = between(model, "embed", [7], [9])
    found = separate(model, direction, ending(7, 6, length=6), ending(9, 8))
    assert found.length == 1
    assert found.table["n_groups"].item() == 14, "lists of different lengths are no pairs"
    assert separate(model, direction, ending(7, 6), ending(9, 6)).length == 0.5


def test_detection_covers_every_block_and_draws_both_controls(model):
    found = separate(model, at_every_block(model), ending(7, 6), ending(44, 6), positions="all", batch_size=5)
    assert found.table["block"].tolist() == [0, 1, 2]
    table = found.profile().table
    assert set(table["series"]) == {"c", "shuffled labels", "random directions, 97.5 %"}
    assert table[table["series"] == "c"]["value"].tolist() == found.table["auroc"].tolist()


def test_the_number_of_texts_in_a_batch_changes_nothing(model):
    first, second = ending(7, 5), ending(44, 4, length=2)
    tables = [separate(model, at_every_block(model), first, second, batch_size=size).table for size in (2, 32)]
    np.testing.assert_allclose(tables[0]["auroc"], tables[1]["auroc"])
    np.testing.assert_allclose(tables[0]["random_high"], tables[1]["random_high"])


@pytest.mark.parametrize("mixed", [False, True])
def test_labels_of_near_copies_are_shuffled_together_so_that_chance_seldom_beats_its_band(mixed):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 20)
    labels = np.tile(np.repeat([True, False], 10), 10) if mixed else group % 2 == 0
    beaten = dict.fromkeys(("by group", "text by text"), 0)
    for _ in range(100):
        cell = group * 2 + labels  # what near-copies share
        scores = rng.normal(size=20)[cell] + 0.1 * rng.normal(size=200)
        found = auroc(scores, labels)
        by_group = shuffled_by_group(labels, group, n=100, rng=rng)
        by_text = np.stack([rng.permutation(labels) for _ in range(100)])
        for name, shuffled in (("by group", by_group), ("text by text", by_text)):
            band = np.quantile(auroc(np.broadcast_to(scores, shuffled.shape), shuffled), 0.975)
            beaten[name] += bool(found > band)
    assert beaten["by group"] <= 8
    assert beaten["text by text"] > 15


def test_shuffles_part_no_near_copies_and_are_free_where_there_are_none():
    rng = np.random.default_rng(1)
    group, labels = np.repeat([0, 1, 2, 3, 4], [3, 2, 4, 1, 5]), np.array([2, 2, 2, 0, 0, 1, 1, 0, 0, 1, 2, 2, 0, 0, 1])
    found = shuffled_by_group(labels, group, n=200, rng=rng)
    for row in found:
        for one in range(5):
            assert sorted(set(row[group == one])) == sorted(set(labels[group == one])) or one in (0, 1, 3)
            for label in set(labels[group == one]):
                assert len(set(row[(group == one) & (labels == label)])) == 1
        assert sorted(row[[0, 3, 9]]) == [0, 1, 2], "groups of one label exchange it"
    assert len(np.unique(found, axis=0)) > 60, "of 6 · 2 · 6 arrangements"
    free = shuffled_by_group(labels, np.arange(15), n=1, rng=np.random.default_rng(5))[0]
    assert np.array_equal(free, np.random.default_rng(5).permutation(labels))
    assert shuffled_by_group(labels, group, n=0, rng=rng).shape == (0, 15)


def test_the_bands_of_detection_and_clusters_keep_near_copies_together(model):
    texts = [[*range(20 + n, 23 + n), 40 + token] for token in range(8) for n in range(6)]
    group = [token for token in range(8) for _ in range(6)]
    direction = between(model, "embed", [7], [9])
    sides = [[text for text, one in zip(texts, group, strict=True) if one % 2 == side] for side in (0, 1)]
    groups = tuple([one for one in group if one % 2 == side] for side in (0, 1))
    apart, free = (separate(model, direction, *sides, groups=one).table.iloc[0] for one in (groups, None))
    assert apart["auroc"] == free["auroc"]
    assert apart["shuffled_high"] > free["shuffled_high"] + 0.1
    labels = ["ab"[one % 2] for one in group]
    apart, free = (find_clusters(model, texts, labels, "embed", groups=one).table.iloc[0] for one in (group, None))
    assert apart["silhouette"] == free["silhouette"]
    assert apart["silhouette_shuffled_high"] > free["silhouette_shuffled_high"] + 0.05


def test_groups_that_do_not_fit_are_refused(model):
    direction = between(model, "embed", [7], [9])
    with pytest.raises(BadArgument, match="groups name 2 positives"):
        separate(model, direction, ending(7, 3), ending(9, 3), groups=([1, 2], [1, 2, 3]))
    with pytest.raises(BadArgument, match="both classes need a text"):
        separate(model, direction, ending(7, 3), [])


# --- correlation ------------------------------------------------------------------------------------------------------


def along(model: rh.Model, vector: torch.Tensor, concept: str) -> Direction:
    return Direction(concept, "embed", vector, "planted", model.name, "", Calibration(1.0, -1.0, 1.0))


def test_a_shared_third_concept_makes_a_correlation_that_the_partial_one_takes_away(model):
    basis = torch.linalg.qr(torch.randn(16, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    shared = along(model, basis[:, 2], "shared")
    first, second = (along(model, basis[:, k] + 3 * basis[:, 2], name) for k, name in enumerate("ab"))
    texts = [[token] for token in range(4, 64)]
    found = correlate(model, first, second, texts, given=[shared], positions="all").table.iloc[0]
    assert found["spearman"] > 0.6 > found["shuffled_high"]
    assert found["low"] < found["spearman"] < found["high"]
    assert abs(found["partial"]) < 0.35
    assert found["n"] == 60
    plain = correlate(model, first, second, texts, positions="last")
    assert plain.given == ("length",)
    assert plain.table["partial"].item() == pytest.approx(plain.table["spearman"].item()), "all have one length"


def test_a_concept_goes_with_itself_and_against_its_opposite(model):
    directions = at_every_block(model)
    texts = [[*map(int, RNG.integers(4, 60, size=RNG.integers(2, 6)))] for _ in range(12)]
    same = correlate(model, directions, directions, texts)
    np.testing.assert_allclose(same.table["spearman"], 1)
    np.testing.assert_allclose(same.table["partial"], 1)
    np.testing.assert_allclose(correlate(model, directions, -directions, texts).table["spearman"], -1)
    assert len(same.scores) == 3 * 12
    assert set(same.profile().table["series"]) == {"rank correlation", "given length"}


def test_the_first_token_takes_no_part_in_a_correlation_unless_it_is_named(model):
    first, second = (between(model, "blocks.1.resid_post", *ends) for ends in (([5], [9]), ([17], [33])))
    texts = [[5, *map(int, RNG.integers(4, 60, size=3))] for _ in range(8)]
    plain, named, every = (
        correlate(model, first, second, texts, **asked).scores
        for asked in ({}, {"positions": slice(1, None)}, {"positions": "all"})
    )
    assert plain.equals(named) and not plain.equals(every)


def test_concepts_without_a_common_site_are_refused(model):
    first, second = between(model, "embed"), between(model, "blocks.1.resid_post")
    with pytest.raises(BadArgument, match="share no site"):
        correlate(model, first, second, ["w5"] * 4)
    with pytest.raises(BadArgument, match="no direction at embed"):
        correlate(model, first, first, ["w5"] * 4, given=[second])
    with pytest.raises(BadArgument, match="at least 4"):
        correlate(model, first, first, ["w5"] * 3)


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_labels_that_the_last_token_shows_are_clusters_and_shuffled_labels_are_none(model):
    texts = [text for token in (7, 9, 11) for text in ending(token, 10)]
    labels = [name for name in "abc" for _ in range(10)]
    found = find_clusters(model, texts, labels, ["embed", "blocks.1.resid_post"], batch_size=7)
    row = found.table.iloc[0]
    assert (row["accuracy"], row["silhouette"]) == (1, pytest.approx(1))
    assert row["shuffled"] < 0.6
    assert row["silhouette_shuffled"] < 0.2
    assert found.chance == pytest.approx(1 / 3)
    for picture in ("pca", "tsne"):
        scatter = found.scatter("embed", picture=picture)
        assert scatter.table["series"].tolist() == labels
        assert np.isfinite(scatter.table[["x", "y"]]).all(axis=None)
    points = found.scatter("embed", picture="pca").table.groupby("series")[["x", "y"]].std()
    assert points.max(axis=None) < 1e-6, "one point per token"


def test_texts_of_one_group_never_help_each_other(model):
    tokens = range(20, 40)
    texts = [text for token in tokens for text in ending(token, 4)]
    labels = [("a", "b")[token % 2] for token in tokens for _ in range(4)]
    groups = [token for token in tokens for _ in range(4)]
    leaking = find_clusters(model, texts, [f"{one}" for one in groups], "embed").table.iloc[0]
    assert leaking["accuracy"] == 1, "each token is its own cluster, if its texts stand on both sides"
    apart = find_clusters(model, texts, [f"{one}" for one in groups], "embed", groups=groups).table.iloc[0]
    assert apart["accuracy"] == 0, "a token whose texts are all held out has no centroid"
    held = find_clusters(model, texts, labels, "embed", groups=groups).table.iloc[0]
    assert held["accuracy"] < 0.8
    assert held["n_groups"] == 20


def test_clusters_need_labels_groups_and_folds_that_fit(model):
    texts = ending(7, 6)
    for labels, options, message in (
        (["a"] * 6, {}, "at least two labels"),
        (list("abcdef"), {}, "several texts per label"),
        (["a"] * 5, {}, "one each is needed"),
        (list("aaabbb"), {"folds": 7}, "folds=7: from 2 to 6"),
        (list("aaabbb"), {"groups": [1] * 6}, "from 2 to 1"),
    ):
        with pytest.raises(BadArgument, match=message):
            find_clusters(model, texts, labels, "embed", **options)
    found = find_clusters(model, texts, list("aaabbb"), "embed", folds=2)
    with pytest.raises(SiteNotFound):
        found.scatter("blocks.0.resid_post")
