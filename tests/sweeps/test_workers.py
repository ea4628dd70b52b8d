"""What workers of a cluster do, without a cluster: they are sent data, check it, and the pool survives their death."""

import copy
import json
import logging
import sys
import types
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec

import pandas as pd
import pytest
import torch
from tokenizers import normalizers

import rheostat as rh
from rheostat.base import progress as bar
from rheostat.base.errors import BadArgument, FileNotUsable, MissingExtra, WorkerDiffers, WorkerLost
from rheostat.metrics.accuracy import Accuracy
from rheostat.metrics.function import OfLogits
from rheostat.metrics.loss import GreedyMatch, Perplexity
from rheostat.metrics.registry import METRICS, metric_from_dict, metric_to_dict
from rheostat.metrics.tokens import LogProbability
from rheostat.models.toy import toy
from rheostat.sweeps import on_ray
from rheostat.sweeps import sweep as home
from rheostat.sweeps.executor import make_executor
from rheostat.sweeps.pieces import cut
from rheostat.sweeps.question import Question
from tests.contract.conftest import load_toy
from tests.sweeps.conftest import CELLS, PROMPTS, save_toy
from tests.sweeps.conftest import METRICS as ASKED
from tests.sweeps.fake_ray import FakeRay

SWEEP = {"prompts": PROMPTS, "cells": CELLS, "metrics": ASKED}


@pytest.fixture(scope="module")
def model(toy_folder):
    return rh.load(toy_folder)


@pytest.fixture(scope="module")
def local(model):
    return model.sweep(**SWEEP)


@pytest.fixture
def fake(monkeypatch):
    """Ray without Ray: each sweep of the test runs on workers in this process."""
    ray = FakeRay()

    @contextmanager
    def connected(address, *, n_workers):
        yield ray

    monkeypatch.setattr(FakeRay, "cluster_resources", lambda _: {"CPU": 2.0}, raising=False)
    monkeypatch.setattr(on_ray, "connected", connected)
    monkeypatch.setattr(on_ray, "SMALLEST", 4)
    return ray


def pieces_asked(ray):
    return [json.loads(argument) for _, verb, argument in ray.asked if verb == "values"]


def test_the_table_is_that_of_a_local_sweep(model, local, fake):
    table = model.sweep(**SWEEP, executor="ray")
    pd.testing.assert_frame_equal(table, local, rtol=1e-9)
    assert table["kl_to_clean"].max() > 1e-3
    assert [verb for _, verb, _ in fake.asked].count("open") == 2
    asked = [tuple(place) for piece in pieces_asked(fake) for place in piece]
    assert sorted(asked) == sorted((prompt, cell) for prompt in range(3) for cell in range(len(CELLS)))
    assert len(pieces_asked(fake)) > 4


def test_pieces_keep_a_prompt_and_its_tokens_together():
    places = [(prompt, cell) for prompt in range(3) for cell in range(10)]
    whole = cut(places, lambda place: 0, size=20)
    assert [sorted({prompt for prompt, _ in piece}) for piece in whole] == [[0, 1], [2]]
    by_token = cut(places, lambda place: place[1] % 2, size=5)
    assert all(len({prompt for prompt, _ in piece}) == 1 for piece in by_token)
    assert all(len({cell % 2 for _, cell in piece}) == 1 for piece in by_token)
    assert sorted(place for piece in by_token for place in piece) == places


def test_a_piece_whose_worker_dies_goes_to_another(model, local, fake, caplog):
    victims = set()

    def dies(number, verb, argument):
        if verb == "values" and len(victims) < 3 and argument not in victims:
            victims.add(argument)
            return True
        return False

    fake.dies = dies
    with caplog.at_level(logging.WARNING, logger="rheostat"):
        table = model.sweep(**SWEEP, executor="ray")
    pd.testing.assert_frame_equal(table, local, rtol=1e-9)
    assert len(victims) == 3
    assert len(fake.actors) == 5
    assert caplog.text.count("another one takes over the piece with cells") == 3
    assert not any(actor.alive for actor in fake.actors)


def test_a_piece_that_kills_every_worker_is_named(model, fake):
    fake.dies = lambda number, verb, argument: verb == "values" and [1, 7] in json.loads(argument)
    with pytest.raises(WorkerLost, match=r"the piece with cells .*7.* of prompt 1 lost its worker 3 times.*actor died"):
        model.sweep(**SWEEP, executor="ray")
    assert len(fake.actors) == 4


def test_workers_that_never_load_the_model_are_given_up(model, fake):
    fake.dies = lambda number, verb, argument: verb == "open"
    with pytest.raises(WorkerLost, match="the loading of the model lost its worker 3 times"):
        model.sweep(**SWEEP, executor="ray")
    assert len(fake.actors) == 4


def test_ctrl_c_keeps_what_is_done_and_ends_the_workers(model, local, fake, tmp_path, monkeypatch):
    fake.interrupt_at = 6
    store = tmp_path / "store.sqlite"
    with pytest.raises(KeyboardInterrupt):
        model.sweep(**SWEEP, executor="ray", store=store)
    assert not any(actor.alive for actor in fake.actors)
    first = pieces_asked(fake)
    fake.interrupt_at = None
    table = model.sweep(**SWEEP, executor="ray", store=store)
    pd.testing.assert_frame_equal(table, local, rtol=1e-9)
    again = [place for piece in pieces_asked(fake)[len(first) :] for place in piece]
    assert not [place for piece in first for place in piece if place in again]
    before = len(fake.asked)
    pd.testing.assert_frame_equal(model.sweep(**SWEEP, store=store), table, rtol=0)
    model.sweep(**SWEEP, executor="ray", store=store)
    assert len(fake.asked) == before


def test_a_worker_with_other_weights_is_refused(tmp_path, fake):
    model = rh.load(save_toy(tmp_path))
    model.sweep(**SWEEP, executor="ray")
    save_toy(tmp_path, seed=1)
    with pytest.raises(WorkerDiffers, match="another weights"):
        model.sweep(**SWEEP, executor="ray")


def test_a_worker_that_reads_other_tokens_is_refused(toy_folder, fake):
    texts = copy.deepcopy(load_toy("llama").tokenizer)
    texts._tokenizer.normalizer = normalizers.Replace("w44", "w45")
    with pytest.raises(WorkerDiffers, match="another tokens"):
        rh.load(toy_folder, tokenizer=texts).sweep(**SWEEP, executor="ray")
    texts._tokenizer.normalizer = normalizers.Replace("w5", "w6")
    with pytest.raises(WorkerDiffers, match="another tokens of prompts that edits read"):
        rh.load(toy_folder, tokenizer=texts).sweep(**SWEEP, executor="ray")


def test_what_a_worker_refuses_is_said_here(tmp_path, fake):
    model = rh.load(save_toy(tmp_path / "toy"))
    (tmp_path / "toy").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotUsable, match="on a worker: there is no folder"):
        model.sweep(**SWEEP, executor="ray")


@pytest.mark.parametrize(
    ("metric", "arguments", "says"),
    [
        (OfLogits("top", lambda logits: logits[:, 0].amax(-1)), {}, "'top' is code of your own"),
        (rh.Probability(7), {"n_workers": 0}, "n_workers=0"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_a_worker_starts(model, fake, metric, arguments, says):
    with pytest.raises(BadArgument, match=says):
        model.sweep(PROMPTS, CELLS, metric, executor="ray", **arguments)
    assert not fake.actors


def test_an_edit_of_ones_own_is_refused(model, fake):
    @dataclass(frozen=True, eq=False)
    class Negate(rh.Edit):
        def change(self, activation, value):
            return -activation

    with pytest.raises(BadArgument, match="the edit Negate is code of your own"):
        model.sweep(PROMPTS, [Negate("blocks.0.mlp_out")], ASKED, executor="ray")


def test_a_module_in_memory_is_refused_saying_what_to_do(fake):
    model = rh.load(toy("llama", dtype=torch.float64), tokenizer=load_toy("llama").tokenizer)
    with pytest.raises(BadArgument, match=r"handed over as a module.*save_pretrained"):
        model.sweep(**SWEEP, executor="ray")


def test_an_unknown_executor_and_arguments_of_another_are_refused(model):
    with pytest.raises(BadArgument, match="one of local, ray"):
        make_executor("rya", Question(model, [[5]], CELLS, ASKED, 64))
    with pytest.raises(BadArgument, match="belong to executor='ray'"):
        model.sweep(**SWEEP, address="10.0.0.5:6379")


def test_without_the_package_one_line_says_what_to_type(model, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[ray\]'"):
        model.sweep(**SWEEP, executor="ray")


def test_a_local_sweep_needs_no_ray(model, local, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # an import would fail
    pd.testing.assert_frame_equal(model.sweep(**SWEEP), local, rtol=0)


@pytest.mark.parametrize(
    "metric",
    [
        Accuracy([(4, 5), (6,)], at=-2),
        GreedyMatch(slice(-2, None)),
        rh.KLToClean(at="all"),
        LogProbability((4, 5)),
        rh.LogitDifference(" a", (4, 5)),
        rh.Loss(),
        Perplexity("prompt"),
        rh.Probability(7, at=rh.Positions.substring("last")),
        rh.Rank(7),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_a_metric_round_trips_as_data(metric):
    assert metric_from_dict(json.loads(json.dumps(metric_to_dict(metric)))) == metric


def test_every_metric_is_in_the_round_trip_above():
    assert len(METRICS) == 9


@pytest.mark.parametrize("data", [{"metric": "Probabilty", "token": 3}, {"metric": "Rank", "tokens": 3}, {}])
def test_damaged_data_of_a_metric_is_refused(data):
    with pytest.raises(BadArgument, match="metric"):
        metric_from_dict(data)


def test_progress_counts_every_place_once(model, monkeypatch, fake):
    counted = []

    @contextmanager
    def progress(label, total, *, show):
        counted.append([total])
        yield counted[-1].append

    monkeypatch.setattr(home, "show_progress", progress)
    model.sweep(**SWEEP)
    model.sweep(**SWEEP, executor="ray")
    for total, *steps in counted:
        assert sum(steps) == total == len(PROMPTS) * len(CELLS)
        assert len(steps) > 3


@pytest.mark.parametrize(
    ("address", "says"),
    [("192.0.2.77", "an address is HOST:PORT"), ("[::1]:1", "reached at"), ("10.0.0.5:port", "reached at")],
)
def test_an_address_where_nobody_listens_is_refused(model, address, says, monkeypatch):
    ray = types.SimpleNamespace(is_initialized=lambda: False, shutdown=lambda: None, __spec__=ModuleSpec("ray", None))
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(BadArgument, match=says):
        model.sweep(**SWEEP, executor="ray", address=address)


def test_a_bar_is_shown_when_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(bar, "PATIENCE", 0.0)
    for show in (None, False, True):
        with bar.progress("cells", 2, show=show) as advance:
            advance(1)
            advance(1)
        shown = capsys.readouterr()
        assert ("2/2" in shown.err) == bool(show)
        assert shown.out == ""
