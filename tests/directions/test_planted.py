"""Planted answers: what each method must find in activations made for it, and what it must not find in noise."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from rheostat.directions.evaluation import Projections, evaluate
from rheostat.directions.methods.leace import Leace
from rheostat.directions.methods.method import ClassMeans, Method, Seen
from rheostat.directions.methods.registry import METHODS
from rheostat.directions.texts import LabelledTexts, divide

WIDTH, N_PAIRS = 24, 300
FITTED = sorted(set(METHODS) - {"token_embedding"})


def planted(seed: int, *, size: float, n: int = N_PAIRS) -> tuple[torch.Tensor, torch.Tensor]:
    """Return activations (text, width) of pairs that differ by a concept, and the concept's unit vector.

    Both texts of a pair share what the pair is about, which is larger than the concept.
    """
    drawn = torch.Generator().manual_seed(seed)
    concept = torch.nn.functional.normalize(torch.randn(WIDTH, generator=drawn, dtype=torch.float64), dim=0)
    about = 3 * torch.randn(n, 1, WIDTH, generator=drawn, dtype=torch.float64)
    noise = 0.5 * torch.randn(n, 2, WIDTH, generator=drawn, dtype=torch.float64)
    strength = size * (1 + 0.1 * torch.randn(n, 1, generator=drawn, dtype=torch.float64))
    side = torch.tensor([0.5, -0.5], dtype=torch.float64)[None, :, None] * strength[:, None] * concept
    return (about + noise + side + 5).flatten(0, 1), concept


def fitted(name: str, activation: torch.Tensor, labels: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    means = ClassMeans()
    method: Method = METHODS[name](means)
    for part in range(0, len(activation), 100):
        rows = slice(part, part + 100)
        means.take(activation[rows], labels[:, rows])
        method.take(Seen(activation[rows], labels[:, rows], order[part // 2 : part // 2 + 50]))
    return method.units()


def labels_of(n: int) -> torch.Tensor:
    return torch.tensor([[True, False]]).repeat(1, n)


def drawn_order(n: int) -> torch.Tensor:
    return torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(n)[
        torch.randperm(n, generator=torch.Generator().manual_seed(1))
    ]


@pytest.mark.parametrize("name", ["mean_difference", "pca"])
@pytest.mark.parametrize("seed", range(3))
def test_the_planted_concept_is_found_with_its_sign(name, seed):
    activation, concept = planted(seed, size=4.0)
    unit = fitted(name, activation, labels_of(N_PAIRS), drawn_order(N_PAIRS))[0]
    assert float(unit @ concept) > 0.95


@pytest.mark.parametrize("name", ["logistic", "leace"])
def test_a_discriminant_leans_towards_the_planted_concept(name):
    activation, concept = planted(0, size=4.0)
    unit = fitted(name, activation, labels_of(N_PAIRS), drawn_order(N_PAIRS))[0]
    assert float(unit @ concept) > 0.8


def test_without_drawing_the_order_pca_loses_the_concept_that_centring_takes_away():
    activation, concept = planted(0, size=4.0)
    ordered = torch.ones(N_PAIRS, dtype=torch.float64)
    lost = fitted("pca", activation, labels_of(N_PAIRS), ordered)[0]
    found = fitted("pca", activation, labels_of(N_PAIRS), drawn_order(N_PAIRS))[0]
    assert abs(float(lost @ concept)) < 0.5
    assert float(found @ concept) > 0.95


def test_exchanged_labels_turn_every_direction_around():
    activation, _ = planted(0, size=4.0)
    labels = torch.cat([labels_of(N_PAIRS), ~labels_of(N_PAIRS)])
    for name in FITTED:
        true, exchanged = fitted(name, activation, labels, drawn_order(N_PAIRS))
        torch.testing.assert_close(true, -exchanged, rtol=1e-3, atol=1e-3)


# --- figures that tell a concept from noise ---------------------------------------------------------------------------


def figures(name: str, seed: int, *, size: float) -> dict[str, float]:
    """Fit and evaluate as `fit_directions` does, on planted activations."""
    activation, _ = planted(seed, size=size)
    texts = LabelledTexts(
        ("",) * len(activation),
        np.ones(len(activation), dtype=np.int64),
        np.tile([True, False], N_PAIRS),
        np.repeat(np.arange(N_PAIRS) // 2, 2),
        True,
    )
    division = divide(texts, held_out=0.5, seed=seed)
    drawn = np.random.default_rng(seed)
    exchanged = drawn.permutation(len(division.fit) // 2) < len(division.fit) // 4
    labels = torch.from_numpy(texts.positive[division.fit])[None].repeat(2, 1)
    labels[1] ^= torch.from_numpy(np.repeat(exchanged, 2))
    units = fitted(name, activation[division.fit], labels, drawn_order(len(division.fit) // 2))
    random = torch.nn.functional.normalize(torch.from_numpy(drawn.standard_normal((5, WIDTH))), dim=-1)
    reached = (activation[division.held_out] @ torch.cat([units, random]).T).numpy()
    middle = float((activation[division.fit] @ units[0]).mean())
    return evaluate(
        texts, division, Projections(reached[:, 0], reached[:, 1:2], reached[:, 2:]), midpoint=middle, seed=seed
    )


@pytest.mark.parametrize("name", FITTED)
def test_a_planted_concept_stands_out_from_its_controls(name):
    found = figures(name, 0, size=4.0)
    assert found["low"] > 0.9
    assert 0.2 < found["random"] < 0.8
    assert found["accuracy"] > found["auroc"] > 0.6  # what pairs are about differs more than their sides
    assert found["n"] == 76 or found["n"] == 75
    assert found["low"] <= found["accuracy"] <= found["high"]


@pytest.mark.parametrize("name", FITTED)
def test_where_nothing_is_planted_the_interval_holds_one_half(name):
    found = figures(name, 0, size=0.0)
    assert found["low"] < 0.5 < found["high"]
    assert abs(found["effect_size"]) < 0.5


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_after_the_erasure_no_linear_classifier_tells_the_classes_apart_and_before_it_did():
    activation, _ = planted(0, size=10.0)
    means, labels = ClassMeans(), labels_of(N_PAIRS)
    method = Leace(means)
    means.take(activation, labels)
    method.take(Seen(activation, labels))
    difference, read = means.difference[0], method.vectors()[0]
    erased = activation - torch.outer((activation - method.mean) @ read, difference / (read @ difference))
    truth = labels[0].numpy()
    before, after = (LogisticRegression(C=1e6, max_iter=5000).fit(rows.numpy(), truth) for rows in (activation, erased))
    assert before.score(activation.numpy(), truth) > 0.85
    assert abs(after.score(erased.numpy(), truth) - 0.5) < 0.02
    torch.testing.assert_close(erased[labels[0]].mean(0), erased[~labels[0]].mean(0), rtol=0, atol=1e-9)
    axis = torch.nn.functional.normalize(difference, dim=0)
    projected = activation - torch.outer((activation - method.mean) @ axis, axis)
    changed, plainly = (float((rows - activation).square().sum()) for rows in (erased, projected))
    assert changed < plainly * 1.01
