"""The study of activation addition on digits finds what is planted and nothing else; its measures are those by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.base.errors import BadArgument
from rheostat.data.mnist import load_mnist
from rheostat.studies import run
from rheostat.studies.mnist_addition import (
    answers,
    depth,
    destruction,
    dose,
    network,
    planted,
    prediction,
    published,
    signs,
    table_of_post,
)
from rheostat.studies.mnist_addition import study as whole
from rheostat.studies.mnist_addition.digits import Digits, digits
from rheostat.studies.mnist_addition.geometry import PREDICTORS, describe, margins
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS
from rheostat.studies.mnist_addition.measuring import Extent, Measured, measure
from rheostat.studies.mnist_addition.network import OF_THE_POST, Architecture, log_loss, train
from rheostat.studies.mnist_addition.responses import PAIRS, Responses, over_pairs, respond
from rheostat.studies.mnist_addition.vectors import KINDS, differences, norms, random_like, states
from rheostat.studies.study import Context, Findings, Study

N_NETWORKS = 5
COEFFICIENTS = (0.5, 1.0)
COUNTS = np.full(10, 10)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_of_post, "DRAWS", 10)
    monkeypatch.setattr(answers, "DRAWS", 10)


Losses = Callable[[int], np.ndarray]
"""Layer → loss of the 100 pairs in nats."""


# --- measures against a plain way -------------------------------------------------------------------------------------


def lively(seed: int = 0) -> rh.Model:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(784, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 10))
    with torch.no_grad():
        for part in (module[2], module[4]):
            part.weight.mul_(3)
    return rh.load(module.eval().requires_grad_(False))


def shown() -> Digits:
    return planted.patches(3, seed=1)


def test_responses_are_those_of_one_pair_and_image_at_a_time():
    model, on = lively(), shown()
    vectors = torch.randn(10, 10, 12, generator=torch.Generator().manual_seed(0))
    vectors[range(10), range(10)] = 0
    found = Responses.of([respond(model, "1", vectors, 0.7, on)])
    for a, b in [(3, 1), (0, 9), (4, 4)]:
        hidden = model.module[:2](on.images) + 0.7 * vectors[a, b]
        logits = model.module[2:](hidden)
        nll = nn.functional.cross_entropy(logits, on.labels, reduction="none")
        right = logits.argmax(-1) == on.labels
        assert found.loss[0, a, b] == pytest.approx(float(nll[on.labels != b].mean()), rel=1e-5)
        assert found.accuracy[0, a, b] == pytest.approx(float(right[on.labels != b].float().mean()), abs=1e-6)
        for digit in range(10):
            here = logits[on.labels == digit]
            assert found.probability[0, a, b, digit] == pytest.approx(here.softmax(-1).mean(0).numpy(), abs=1e-6)
            assert found.logit[0, a, b, digit] == pytest.approx(here.mean(0).numpy(), rel=1e-4, abs=1e-5)
            counts = np.bincount(here.argmax(-1).numpy(), minlength=10) / len(here)
            assert found.answer[0, a, b, digit] == pytest.approx(counts, abs=1e-6)
    assert np.ptp(found.loss[0][PAIRS]) > 0.1


def test_a_vector_before_a_linear_module_equals_its_image_behind_it_and_a_relu_is_another_matter():
    model, on = lively(), shown()
    own = model.run_plain(on.first_of_each(), capture=OF_THE_POST.layers).activations
    losses = [Responses.of([respond(model, path, differences(own[path]), 1.0, on)]).nll for path in OF_THE_POST.layers]
    for first, second in depth.SAME:
        assert losses[first] == pytest.approx(losses[second], abs=1e-4)
    assert np.abs(losses[0] - losses[1]).max() > 0.1
    assert np.abs(losses[2] - losses[3]).max() > 0.1


def test_random_vectors_have_the_length_of_their_pair_and_another_direction():
    vectors = differences(torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    drawn = random_like(vectors, seed=(1, 2))
    assert torch.allclose(norms(drawn), norms(vectors), rtol=1e-5)
    assert (drawn[range(10), range(10)] == 0).all()
    cosines = torch.nn.functional.cosine_similarity(drawn.flatten(2), vectors.flatten(2), dim=-1)
    assert cosines.abs().mean() < 0.3
    assert torch.equal(drawn, random_like(vectors, seed=(1, 2)))
    assert not torch.equal(drawn, random_like(vectors, seed=(1, 3)))


def test_states_are_the_first_image_and_the_mean_of_all():
    model, on = lively(), shown()
    found = states(model, OF_THE_POST, on)
    hidden = model.module[:2](on.images)
    for digit in range(10):
        here = hidden[on.labels == digit]
        assert torch.allclose(found["first image"][1][digit], here[0], atol=1e-5)
        assert torch.allclose(found["class mean"][1][digit], here.mean(0), atol=1e-5)


def test_the_geometry_of_a_vector_is_that_of_the_definitions():
    model, on = lively(), shown()
    of_digits = states(model, OF_THE_POST, on)
    table = describe(model, OF_THE_POST, of_digits, on)
    row = table[(table["layer"] == 1) & (table["a"] == 3) & (table["b"] == 1)].iloc[0]
    vector = of_digits["first image"][1][3] - of_digits["first image"][1][1]
    means = of_digits["class mean"][1]
    size = model.module[:2](on.images).norm(dim=-1).mean()
    assert row["norm"] == pytest.approx(float(vector.norm()), rel=1e-5)
    assert row["dose"] == pytest.approx(float(vector.norm() / size), rel=1e-4)
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(vector, means[3] - means[1], dim=0)), abs=1e-5)
    centred = means - means.mean(0)
    assert row["aligned"] == int(torch.cosine_similarity(vector[None], centred).argmax())
    onto = torch.linalg.pinv(centred.double(), rtol=1e-5) @ centred.double()
    rest = vector.double() - onto @ vector.double()
    assert row["outside"] == pytest.approx(float(rest.square().sum() / vector.double().square().sum()), abs=1e-3)
    shift = model.module(on.first_of_each())[3] - model.module(on.first_of_each())[1]
    assert row["largest"] == int(shift.argmax())
    assert row["shift"] == pytest.approx(float(shift.max() - shift.mean()), rel=1e-4)
    logits = model.module(on.first_of_each())
    rival = torch.cat([logits[3, :3], logits[3, 4:]]).max()
    assert row["margin_a"] == pytest.approx(float(logits[3, 3] - rival), abs=1e-4)
    assert margins(torch.eye(10)).tolist() == [1.0] * 10


def test_training_stops_at_its_target_and_gives_the_same_network_for_the_same_seed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "CHECKS", 2)
    data = planted.patches(26, seed=0)
    linear = Architecture("small", lambda: nn.Sequential(nn.Linear(784, 10)))
    one, same, other = (train(linear, data, data, seed=seed, epochs=60, target=0.5) for seed in (1, 1, 2))
    assert one.weight_hash == same.weight_hash != other.weight_hash
    assert 0.3 < log_loss(one.module, data) <= 0.5
    assert not any(parameter.requires_grad for parameter in one.module.parameters())


def test_where_a_rising_curve_reaches_a_level():
    rising = np.array([[0.0, 0.2, 0.6, 0.9], [0.0, 0.1, 0.2, 0.3], [0.0, 0.7, 0.1, 0.9]])
    along = np.array([[0.0, 1.0, 2.0, 3.0]] * 3)
    found = dose.crossing(rising, along, 0.5)
    assert found == pytest.approx([1.75, np.nan, 5 / 7], nan_ok=True)


# --- verdicts on planted responses ------------------------------------------------------------------------------------


def responses(losses: np.ndarray, *, turned: float, spilled: float, seed: int) -> Responses:
    """Return answers where a share of the images of b turns to a, and a share of those of other digits too."""
    rng = np.random.default_rng(seed)
    a, b, digit, answer = np.indices((10, 10, 10, 10))
    share = np.where(digit == b, turned, spilled) * (a != b)
    shares = np.where(answer == a, share, 0) + np.where(answer == digit, 1 - share, 0)
    shares = np.where((a == digit) & (a != b), (answer == digit).astype(float), shares)
    shares = np.clip(0.98 * shares + 0.002, 0, 1)[None] * np.ones((N_NETWORKS, 1, 1, 1, 1))
    noise = np.where(PAIRS, np.exp(rng.normal(0, 0.05, (N_NETWORKS, 10, 10))), 1.0)
    nll = np.where(PAIRS, losses, 0.09) * noise
    logit = np.log(shares)
    return Responses(COUNTS, np.repeat(nll[..., None], 10, axis=-1), shares, logit, shares)


def of_post(layer: int) -> np.ndarray:
    """Return losses with the post's rows, growing with depth."""
    within = np.linspace(0.5, 1.5, 10)[None, :]
    return np.array(published.ROW_MEANS)[:, None] * within * (1.0, 1.5, 1.5, 2.0, 2.0)[layer]


def measured(losses: Losses, *, turned: float = 0.8, spilled: float = 0.6, mean_spilled: float = 0.6) -> Measured:
    """Return an architecture whose networks all do what is planted, with random vectors that do nothing."""
    flat = np.full((10, 10), 0.1)
    graded = {}
    for number, layer in enumerate(GRADED_LAYERS):
        for strength in COEFFICIENTS:
            mild = {"turned": turned * strength, "seed": number}
            graded["first image", strength, layer] = responses(losses(layer), spilled=spilled * strength, **mild)
            graded["class mean", strength, layer] = responses(losses(layer), spilled=mean_spilled * strength, **mild)
            none = responses(flat + 0.01, turned=0.0, spilled=0.0, seed=50 + number)
            graded["random", strength, layer] = none
    a, b = (index.ravel() for index in np.indices((10, 10)))
    rng = np.random.default_rng(0)
    vectors = [
        pd.DataFrame({"network": number, "layer": layer, "a": a, "b": b, "largest": a, "aligned": a})
        .assign(**{name: rng.random(100) for name in PREDICTORS}, dose=0.5, class_dose=0.5)
        .assign(norm=losses(layer).ravel())
        for number in range(N_NETWORKS)
        for layer in range(5)
    ]
    tables = tuple(responses(losses(layer), turned=turned, spilled=spilled, seed=7) for layer in range(5))
    networks = pd.DataFrame({"network": range(N_NETWORKS), "loss": 0.085})
    return Measured(OF_THE_POST, networks, pd.concat(vectors, ignore_index=True), tables, graded)


CLAIMS = {
    "mnist-1": signs.run,
    "mnist-2": destruction.run,
    "mnist-3": depth.run,
    "mnist-4": depth.run,
    "mnist-5": table_of_post.run,
    "mnist-6": answers.run,
    "mnist-7": lambda one, seed, planted_found: dose.run([one], seed, planted_found=planted_found),
}


def verdict(claim: str, one: Measured, *, planted_found: bool = True) -> str:
    part = CLAIMS[claim](one, 0, planted_found=planted_found)
    (found,) = (each for each in part.verdicts if each.claim == claim)
    assert found.measurements and found.statement == whole.CLAIMS[claim]
    return found.verdict


def nothing(_layer: int) -> np.ndarray:
    return np.full((10, 10), 0.09)


def upside_down(layer: int) -> np.ndarray:
    return of_post((4, 1, 1, 0, 0)[layer])


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_what_the_post_says_is_reproduced_where_it_is_planted(claim: str):
    assert verdict(claim, measured(of_post)) == "reproduced"


@pytest.mark.parametrize("claim", ["mnist-1", "mnist-2", "mnist-3", "mnist-4", "mnist-5"])
def test_nothing_is_reproduced_where_nothing_happens(claim: str):
    quiet = measured(nothing, turned=0.0, spilled=0.0)
    assert verdict(claim, quiet, planted_found=False) in ("not testable here", "contradicted")


@pytest.mark.parametrize("claim", ["mnist-3", "mnist-4"])
def test_damage_that_falls_with_depth_contradicts(claim: str):
    assert verdict(claim, measured(upside_down)) == "contradicted"


def test_layers_that_must_agree_and_do_not_contradict_whatever_the_order():
    one = measured(of_post)
    odd = responses(of_post(2) * 1.01, turned=0.8, spilled=0.6, seed=7)
    tables = (*one.tables[:2], odd, *one.tables[3:])
    broken = Measured(one.architecture, one.networks, one.vectors, tables, one.graded)
    assert verdict("mnist-3", broken) == "contradicted"


def test_steering_that_costs_the_other_digits_nothing_contradicts_the_last_claim():
    assert verdict("mnist-7", measured(of_post, mean_spilled=0.0)) == "contradicted"


def test_rows_in_another_order_than_the_posts_are_noticed():
    def shuffled(layer: int) -> np.ndarray:
        return of_post(layer)[[9, 1, 0, 8, 2, 4, 3, 6, 5, 7]]

    part = table_of_post.run(measured(shuffled), 0, planted_found=True)
    like = [one for one in part.verdicts[0].measurements if one.quantity.startswith(table_of_post.LIKENESS)]
    assert max(one.effect for one in like) < 0.5
    assert part.verdicts[0].verdict != "reproduced"


def test_the_length_is_found_as_a_predictor_where_it_is_planted():
    table = prediction.run(measured(of_post), 0).tables["predictors"]
    best = table.sort_values("rho").groupby("layer").last()
    assert set(best["predictor"]) == {PREDICTORS["norm"]}
    assert best["rho"].min() > 0.9
    assert table["shuffled"].abs().max() < 0.2


# --- the planted network ----------------------------------------------------------------------------------------------


def test_the_planted_network_is_found_and_a_measure_that_looks_elsewhere_is_not(monkeypatch: pytest.MonkeyPatch):
    assert planted.run(0)[0]
    monkeypatch.setattr(planted, "harm", dose.steering)
    assert not planted.run(0)[0]


def test_the_figures_of_the_post_fit_one_another():
    rows = np.array(published.ROW_MEANS)
    assert rows.mean() == pytest.approx(published.ALL_PAIRS, abs=0.06)
    assert pytest.approx(published.ALL_CELLS, abs=0.01) == (90 * published.ALL_PAIRS + 10 * published.UNPATCHED) / 100
    assert published.CELLS[3, 1] == pytest.approx(published.BY_LAYER[1], abs=0.05)


# --- the study --------------------------------------------------------------------------------------------------------


def test_a_study_that_trains_its_own_networks_takes_no_model(tmp_path: Path):
    with pytest.raises(BadArgument, match="takes no model"):
        rh.run_study("mnist-addition", folder=tmp_path, models=["smollm2-135m-instruct"])


def test_a_record_states_the_networks_that_a_study_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def loads_nothing(*_names: object, **_settings: object) -> rh.Model:
        raise AssertionError("a model was loaded")

    own = {"name": "small, network 0", "weights": "abc"}
    nothing_found = Findings((), (), {}, (), trained=(own,))
    fake = Study("own", "title", "source", {}, lambda context: nothing_found, trains_its_own=True)
    monkeypatch.setattr(run, "find_study", lambda _name: fake)
    monkeypatch.setattr(run, "load", loads_nothing)
    assert run.run_study("own", folder=tmp_path).models == (own,)


@pytest.mark.slow
def test_real_digits_show_what_the_issue_asks_for(tmp_path: Path):
    data = load_mnist()
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(data.test.labels).tolist()[:3] == [980, 1135, 1032]
    extent = Extent(networks=1, images=600, graded=10, coefficients=(1.0,), epochs=12)
    context = Context((), quick=False, seed=0, folder=tmp_path, show_progress=False)
    found = measure(OF_THE_POST, data, extent, context)
    assert found.networks["loss"].max() <= 0.09
    assert 4 < over_pairs(found.tables[0].loss)[0] < 12
    assert max(depth.differences(found).values()) <= depth.EXACT
    for table in found.tables:
        assert np.rint(90 * signs.own(table)["both"])[0] >= signs.ENOUGH
    for single, random in zip(found.single, found.random, strict=True):
        assert over_pairs(destruction.damage(random))[0] <= over_pairs(destruction.damage(single))[0] / 3
    assert KINDS == ("first image", "class mean", "random")
    again = measure(OF_THE_POST, data, extent, Context((), False, 0, tmp_path, False))
    assert np.array_equal(again.tables[0].nll, found.tables[0].nll)
    assert digits(data.test).images.mean().abs() < 0.02
