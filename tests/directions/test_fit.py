"""Fitting: the numbers are those of the plain way, groups stay whole, and figures come from texts held out."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import rheostat as rh
from rheostat.base.errors import BadArgument, DirectionNotUsable, PositionNotFound, SiteNotFound
from rheostat.directions import stream as streaming
from rheostat.directions.methods.registry import METHODS
from rheostat.directions.pairs import ContrastPair
from rheostat.directions.texts import divide, shuffled_labels, texts_of_classes, texts_of_pairs
from rheostat.models.toy import toy
from tests.contract.conftest import word_tokenizer
from tests.directions.conftest import some_pairs

SITE = "blocks.1.resid_post"


def plainly(model: rh.Model, pairs: list[ContrastPair], site: str = SITE) -> torch.Tensor:
    """Return (pair, side, width): last tokens, one prompt at a time."""
    texts = [(pair.positive, pair.negative) for pair in pairs]
    return torch.stack([torch.stack([model.capture(one, site, "last")[site][0, 0] for one in two]) for two in texts])


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), dim=0))


# --- the methods against the plain way --------------------------------------------------------------------------------


def test_the_mean_difference_is_that_of_prompts_run_one_by_one(model):
    pairs = some_pairs(9)
    found = rh.fit_directions(model, pairs, held_out=0, batch_size=5)
    for site, direction in found.items():
        held = plainly(model, pairs, site)
        torch.testing.assert_close(direction.vector, (held[:, 0] - held[:, 1]).mean(0), rtol=1e-9, atol=1e-12)
    assert list(found) == [f"blocks.{block}.resid_post" for block in range(3)]
    assert found.table.empty


def test_pca_is_the_first_component_of_differences_in_drawn_order_turned_to_the_positive_class(model):
    pairs = some_pairs(14)
    found = rh.fit_directions(model, pairs, method="pca", held_out=0)[SITE]
    held = plainly(model, pairs)
    order = torch.from_numpy(np.random.default_rng((0, 1)).permutation(np.resize([1.0, -1.0], 14)))
    differences = (held[:, 0] - held[:, 1]) * order[:, None]
    axis = torch.linalg.svd(differences - differences.mean(0)).Vh[0]
    assert abs(cosine(found.vector, axis)) == pytest.approx(1, abs=1e-9)
    assert cosine(found.vector, (held[:, 0] - held[:, 1]).mean(0)) > 0


def test_logistic_regression_is_scikit_learns_on_standardised_activations(model):
    pairs = some_pairs(14)
    found = rh.fit_directions(model, pairs, method="logistic", held_out=0, shuffles=0)[SITE]
    held = plainly(model, pairs).flatten(0, 1).numpy()
    spread = held.std(0)
    plain = LogisticRegression(max_iter=5000).fit((held - held.mean(0)) / spread, [1, 0] * 14)
    assert cosine(found.vector, torch.from_numpy(plain.coef_[0] / spread)) > 0.9999


def test_leace_reads_fishers_discriminant(model):
    pairs = some_pairs(60)
    found = rh.fit_directions(model, pairs, method="leace", held_out=0)[SITE]
    held = plainly(model, pairs)
    flat = held.flatten(0, 1)
    covariance = torch.cov(flat.T, correction=0)
    plain = torch.linalg.solve(covariance, (held[:, 0] - held[:, 1]).mean(0))
    assert cosine(found.vector, plain) > 0.9  # the covariance is shrunk
    assert cosine(found.vector, (held[:, 0] - held[:, 1]).mean(0)) < 0.9


def test_the_token_embedding_baseline_is_the_difference_of_mean_embeddings_at_every_site(model):
    pairs = some_pairs(8)
    found = rh.fit_directions(model, pairs, method="token_embedding", held_out=0)
    embeddings = model.module.get_input_embeddings().weight.detach()
    sides = [
        torch.stack([embeddings[list(model.row(text).ids)].mean(0) for text in texts]).mean(0)
        for texts in zip(*((pair.positive, pair.negative) for pair in pairs), strict=True)
    ]
    for site, direction in found.items():
        assert cosine(direction.vector, sides[0] - sides[1]) == pytest.approx(1, abs=1e-9)
        held = plainly(model, pairs, site)
        assert direction.length == pytest.approx(float((held[:, 0] - held[:, 1]).mean(0).norm()))
    with pytest.raises(BadArgument, match="residual stream"):
        rh.fit_directions(model, pairs, method="token_embedding", sites="blocks.0.neurons", held_out=0)


def test_a_baseline_that_the_classes_lie_against_gives_no_scores(model):
    """The last token of each text belongs to the other class, so the mean embeddings point the wrong way."""
    starts = [f"w{20 + k} w{40 + k // 2}" for k in range(16)]
    pairs = [ContrastPair(f"w7 w7 w7 {start} w9", f"w9 w9 w9 {start} w7") for start in starts]
    found = rh.fit_directions(model, pairs, method="token_embedding", sites="blocks.0.resid_post", shuffles=0)
    direction = found["blocks.0.resid_post"]
    held = plainly(model, pairs, direction.site)
    assert float(direction.projections(held[:, 0] - held[:, 1]).mean()) < 0
    assert direction.calibration is None
    with pytest.raises(DirectionNotUsable, match="no calibration"):
        direction.scores(held)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "token_embedding"])
def test_a_direction_is_as_long_as_the_class_means_lie_apart_along_it(model, method):
    pairs = some_pairs(14)
    found = rh.fit_directions(model, pairs, method=method, held_out=0, shuffles=2)[SITE]
    held = plainly(model, pairs)
    apart = float(found.projections(held[:, 0]).mean() - found.projections(held[:, 1]).mean())
    assert found.length == pytest.approx(apart, rel=1e-6)
    assert found.calibration.positive - found.calibration.negative == pytest.approx(apart, rel=1e-6)
    assert (found.model, found.weights, found.method) == (model.name, model.weight_hash, method)


@pytest.mark.parametrize("method", METHODS)
def test_neither_batches_nor_their_order_change_what_is_fitted(model, method):
    pairs = some_pairs(12)
    one, other = (rh.fit_directions(model, pairs, method=method, batch_size=size, shuffles=1) for size in (1, 64))
    for site in one:
        torch.testing.assert_close(one[site].vector, other[site].vector, rtol=1e-3, atol=1e-5)
    assert np.allclose(one.table["accuracy"], other.table["accuracy"])


def test_several_tokens_are_averaged_within_each_text(model):
    pairs = some_pairs(6)
    sides = [[getattr(pair, side) for pair in pairs] for side in ("positive", "negative")]
    for positions, first in (("all", 1), (slice(None), 0)):
        found = rh.fit_directions(model, pairs, positions=positions, held_out=0)[SITE]
        held = [[model.capture(text, SITE)[SITE][0, first:].mean(0) for text in texts] for texts in sides]
        means = [torch.stack(rows).mean(0) for rows in held]
        torch.testing.assert_close(found.vector, means[0] - means[1], rtol=1e-9, atol=1e-12)


def test_sites_of_any_shape_are_fitted_in_their_own_shape(model):
    found = rh.fit_directions(model, some_pairs(6), sites=["blocks.0.heads", "blocks.2.neurons", "final"], held_out=0)
    assert [tuple(one.vector.shape) for one in found.values()] == [(4, 4), (24,), (16,)]
    model.run("w7 w8", found["blocks.0.heads"].add())


def test_texts_without_pairs_give_the_same_mean_difference(model):
    pairs = some_pairs(12)
    positives, negatives = ([getattr(pair, side) for pair in pairs] for side in ("positive", "negative"))
    by_pairs = rh.fit_directions(model, pairs, held_out=0)
    by_texts = rh.fit_directions_from_texts(model, positives, negatives[::-1], held_out=0)
    torch.testing.assert_close(by_pairs[SITE].vector, by_texts[SITE].vector, rtol=1e-9, atol=1e-12)
    found = rh.fit_directions_from_texts(
        model, positives, negatives[:9], groups=[*"abcdefghijkl", *"abcdefghi"], seed=1
    )
    assert (found.table["accuracy"] == found.table["auroc"]).all()


# --- one pass, and memory that stays ----------------------------------------------------------------------------------


def test_every_text_passes_once_through_the_network_for_all_sites(model, monkeypatch):
    passed: list[str] = []
    true = streaming.capture

    def counting(network, prompts, sites, **settings):
        passed.extend(prompts)
        return true(network, prompts, sites, **settings)

    monkeypatch.setattr(streaming, "capture", counting)
    pairs = some_pairs(20)
    rh.fit_directions(model, pairs)
    assert sorted(passed) == sorted(text for pair in pairs for text in (pair.positive, pair.negative))
    lengths = [len(text.split()) for text in passed[: len(passed) // 2]]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(
    ("method", "flat"), [("mean_difference", True), ("pca", True), ("leace", True), ("logistic", False)]
)
def test_what_a_fit_holds_does_not_grow_with_the_pairs(model, monkeypatch, method, flat):
    held: list[int] = []
    true = METHODS[method].vectors

    def measured(self):
        held.append(_bytes(self))
        return true(self)

    monkeypatch.setattr(METHODS[method], "vectors", measured)
    for n in (10, 40):
        rh.fit_directions(model, some_pairs(n), method=method, sites=SITE, held_out=0, shuffles=1, batch_size=4)
    assert (held[0] == held[1]) == flat
    assert held[0] > 0


def _bytes(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    parts = value if isinstance(value, list) else vars(value).values() if hasattr(value, "__dict__") else ()
    return sum(map(_bytes, parts))


# --- held out ---------------------------------------------------------------------------------------------------------


def test_groups_stay_whole_and_the_three_parts_share_none(model):
    texts = texts_of_pairs(model, some_pairs(40))
    for seed in range(5):
        division = divide(texts, held_out=0.3, seed=seed)
        parts = [set(texts.groups[part]) for part in (division.fit, division.choice, division.report)]
        assert [len(part) for part in parts] == [14, 3, 3]
        assert len(set.union(*parts)) == sum(map(len, parts)) == 20
        indices = np.concatenate([division.fit, division.held_out])
        assert sorted(indices) == list(range(80))


def test_shuffled_labels_exchange_half_of_the_fitted_pairs_and_no_other(model):
    texts = texts_of_pairs(model, some_pairs(40))
    division = divide(texts, held_out=0.3, seed=0)
    labels = shuffled_labels(texts, division.fit, n=5, seed=0)
    assert np.array_equal(labels[0], texts.positive)
    for row in labels[1:]:
        assert (row[::2] != row[1::2]).all()
        assert (row[division.fit] != texts.positive[division.fit]).sum() == len(division.fit) // 2
        assert np.array_equal(row[division.held_out], texts.positive[division.held_out])


def test_a_text_of_one_token_has_nothing_behind_its_first(model):
    words = [(f"w{n}", f"w{n + 20}") for n in range(10, 22)]
    with pytest.raises(DirectionNotUsable, match=r"has one token, and positions='all' leaves the first out"):
        rh.fit_directions(model, words, positions="all")
    assert rh.fit_directions(model, words, positions=slice(None)).table["accuracy"].notna().all()


def test_shuffled_labels_exchange_whole_groups(model):
    for texts in (
        texts_of_pairs(model, some_pairs(40)),
        texts_of_classes(
            model,
            [f"w5 w{n}" for n in range(20, 40)],
            [f"w6 w{n}" for n in range(20, 40)],
            [*"aabbccddeeffgghhiijj"] * 2,
        ),
    ):
        division = divide(texts, held_out=0.4, seed=0)
        labels = shuffled_labels(texts, division.fit, n=8, seed=0)
        changed = labels[1:] != texts.positive
        for group in set(texts.groups):
            own = changed[:, texts.groups == group]
            assert (own.all(axis=1) | ~own.any(axis=1)).all(), "all of a group, or none"
        assert changed[:, division.fit].any() and not changed[:, division.fit].all()
        assert not changed[:, division.held_out].any()


def test_pairs_that_all_come_out_right_leave_room_for_chance(model):
    pairs = [replace(pair, group="") for pair in some_pairs(12)]
    row = rh.fit_directions(model, pairs).table.set_index("site").loc[SITE]
    assert (row["accuracy"], row["n_groups"]) == (1, 2)
    assert (row["low"], row["high"]) == (pytest.approx(0.025 ** (1 / 2)), 1)
    assert row["auroc_low"] < 0.5


def test_the_table_is_what_a_plain_evaluation_of_the_held_out_pairs_gives(model):
    pairs = some_pairs(40)
    found = rh.fit_directions(model, pairs, seed=3)
    texts = texts_of_pairs(model, pairs)
    division = divide(texts, held_out=0.25, seed=3)
    direction, row = found[SITE], found.table.set_index("site").loc[SITE]
    report = [pairs[index // 2] for index in division.report[::2]]
    held = plainly(model, report)
    reached = direction.projections(held)
    assert row["accuracy"] == pytest.approx(float((reached[:, 0] > reached[:, 1]).double().mean()))
    fitted_pairs = [pairs[index // 2] for index in division.fit[::2]]
    fitted = direction.projections(plainly(model, fitted_pairs))
    middle = float(fitted.mean())
    above = torch.cat([reached[:, 0] > middle, reached[:, 1] <= middle]).double().mean()
    assert row["threshold"] == pytest.approx(float(above))
    auroc = (reached[:, 0][:, None] > reached[:, 1][None]).double().mean()
    assert row["auroc"] == pytest.approx(float(auroc))
    pooled = ((reached[:, 0].var() + reached[:, 1].var()) / 2).sqrt()
    assert row["effect_size"] == pytest.approx(float((reached[:, 0].mean() - reached[:, 1].mean()) / pooled))
    everything = plainly(model, [pairs[index // 2] for index in division.held_out[::2]])
    spread = (direction.projections(everything).var(0).mean()).sqrt()
    assert direction.calibration.spread == pytest.approx(float(spread))
    for side, score in ((0, 1), (1, -1)):
        assert direction.scores(plainly(model, fitted_pairs)[:, side]).mean() == pytest.approx(score)
    assert (row["low"], row["n"], row["n_groups"]) <= (row["accuracy"], len(report), len(set(division.report)))


def test_best_is_chosen_by_other_pairs_than_those_reported(model):
    found = rh.fit_directions(model, some_pairs(40))
    table = found.table.assign(choice=[0.4, 0.9, 0.9], choice_effect=[9.0, 1.0, 2.0], accuracy=[1.0, 0.7, 0.6])
    changed = dataclasses.replace(found, table=table)
    assert changed.best.site == "blocks.2.resid_post"
    assert changed.best_figures["accuracy"] == 0.6
    with pytest.raises(BadArgument, match="no held-out accuracy"):
        _ = rh.fit_directions(model, some_pairs(8), held_out=0).best


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("<bos>", "w5")] + [("w5", "w6")] * 7, "pair 0, positive text: '<bos>' holds no token of its own"),
        ([("w5", "   ")] + [("w5", "w6")] * 7, "pair 0, negative text: '   ' holds no token"),
        ([ContrastPair("w5 w9", "w6 w9", "all")] * 30, r"1 group of texts cannot be divided: at least 6"),
        ([(f"w{one}", f"w{one + 9}") for one in range(5, 9)], "4 groups of texts cannot be divided"),
        ([("w5 w9", "w9 w5")] * 3 + [("w9 w5", "w5 w9")] * 3, "both classes have the same mean"),
    ],
)
def test_pairs_that_no_direction_can_be_fitted_from_are_refused(model, pairs, said):
    held_out = 0 if "same mean" in said else 0.25
    with pytest.raises(DirectionNotUsable, match=said):
        rh.fit_directions(model, pairs, held_out=held_out)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"method": "pcaa"}, BadArgument, r"no method 'pcaa'\. Closest: pca"),
        ({"held_out": 1.0}, BadArgument, "held_out=1.0"),
        ({"shuffles": -1}, BadArgument, "shuffles=-1"),
        ({"batch_size": 0}, BadArgument, "batch_size=0"),
        ({"sites": "blocks.9.resid_post"}, SiteNotFound, "blocks 0 to 2"),
        ({"positions": 7}, PositionNotFound, "position 7"),
    ],
)
def test_settings_outside_their_range_are_refused(model, settings, error, said):
    with pytest.raises(error, match=said):
        rh.fit_directions(model, some_pairs(12), **settings)


def test_a_missing_class_and_a_method_that_needs_pairs_are_refused(model):
    with pytest.raises(DirectionNotUsable, match="negatives is empty"):
        rh.fit_directions_from_texts(model, ["w5"], [])
    with pytest.raises(DirectionNotUsable, match="pca needs contrast pairs"):
        rh.fit_directions_from_texts(model, ["w5"], ["w6"], method="pca")
    with pytest.raises(BadArgument, match="a list of texts"):
        rh.fit_directions_from_texts(model, "w5", ["w6"])
    with pytest.raises(BadArgument, match="1 groups for 2 texts"):
        rh.fit_directions_from_texts(model, ["w5"], ["w6"], groups=["a"])
    words = [f"w{one}" for one in range(5, 15)]
    with pytest.raises(DirectionNotUsable, match="all of one class"):
        rh.fit_directions_from_texts(model, words[:8], words[8:], groups=[*"abcdefghij"])


def test_a_network_that_gives_nan_is_named_with_the_site():
    module = toy("llama")
    with torch.no_grad():
        module.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(DirectionNotUsable, match=r"NaN or infinity at blocks\.1\.resid_post"):
        rh.fit_directions(rh.load(module, tokenizer=word_tokenizer()), some_pairs(12))


def test_the_number_of_tokens_alone_is_a_figure(model):
    pairs = [ContrastPair(f"w{20 + k} w{30 + k % 3} w5", f"w{20 + k} w6") for k in range(16)]
    assert (rh.fit_directions(model, pairs, shuffles=0).table["by_length"] == 1).all()
    opposite = [ContrastPair(pair.negative, pair.positive) for pair in pairs]
    assert (rh.fit_directions(model, opposite, shuffles=0).table["by_length"] == 1).all()
    same = [ContrastPair(pair.positive, pair.positive.replace("w5", "w6")) for pair in pairs]
    assert (rh.fit_directions(model, same, shuffles=0).table["by_length"] == 0.5).all()


@pytest.mark.parametrize("paired", [True, False])
def test_a_text_never_stands_on_both_sides_of_the_division(model, paired):
    """Twenty texts stand in three pairs each, so their meaningless labels could be learned by heart."""
    drawn = np.random.default_rng(1)
    words = [" ".join(f"w{word}" for word in drawn.integers(4, 60, size=5)) for _ in range(40)]
    pairs = [ContrastPair(words[k], words[20 + 2 * (k // 2) + shift]) for k in range(20) for shift in (0, 1)]
    pairs += pairs[:6]
    if paired:
        texts = texts_of_pairs(model, pairs)
    else:
        texts = texts_of_classes(model, [pair.positive for pair in pairs], [pair.negative for pair in pairs], None)
    assert texts.n_groups == 10
    for seed in range(3):
        parts = divide(texts, held_out=0.5, seed=seed)
        sides = [{texts.texts[place] for place in part} for part in (parts.fit, parts.choice, parts.report)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    one = [ContrastPair(pair.positive, "w6") for pair in pairs]
    with pytest.raises(DirectionNotUsable, match=r"1 group of texts .* share a text count as one"):
        rh.fit_directions(model, one)
