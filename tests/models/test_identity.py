"""Which weights a network has: noticed when they change, and known at another precision."""

import copy
import pickle

import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.base.errors import DirectionNotUsable
from rheostat.models.identity import hash_weights
from rheostat.models.network import Network, Provenance
from rheostat.models.toy import toy
from rheostat.neurons.cluster import Cluster
from rheostat.steering.plan import as_steering_plan


def direction(model):
    return rh.Direction("c", "blocks.1.resid_post", torch.ones(16), "planted", model.name, model.weight_hash)


@torch.no_grad()
def write(module):
    module.lm_head.weight[3] += 1


@torch.no_grad()
def replaced(module):
    module.lm_head.weight = nn.Parameter(module.lm_head.weight + 1)


def moved(module):
    module.to(torch.float64)


@pytest.mark.parametrize("change", [write, replaced, moved])
def test_the_hash_follows_the_weights(change):
    model = rh.load(toy("llama"))
    before = model.weight_hash
    assert model.weight_hash == before == hash_weights(model.module)
    change(model.module)
    assert model.weight_hash == hash_weights(model.module) != before


def test_a_hash_that_came_with_the_file_holds_only_while_the_weights_are_as_loaded():
    module = toy("llama")
    known = Provenance("file", weight_hash="of the file", stored_hash="of the file")
    network = Network(module, name="toy", provenance=known)
    assert network.weight_hash == "of the file"
    assert network.has_weights("of the file")
    write(module)
    assert network.weight_hash == hash_weights(module)
    assert not network.has_weights("of the file")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_has_the_weights_of_its_own_module(copied):
    model = rh.load(toy("llama"))
    before, other = model.weight_hash, copied(model)
    write(model.module)
    assert other.weight_hash == before == hash_weights(other.module) != model.weight_hash


def test_weights_are_not_read_again_while_nothing_changed(monkeypatch):
    model = rh.load(toy("llama"))
    before = model.weight_hash
    model.run([[5, 6, 7]])
    monkeypatch.setattr("rheostat.models.identity.hash_weights", None)
    assert model.weight_hash == before


@pytest.mark.parametrize(
    ("fitted", "used"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float64), (torch.float16, torch.float32)],
)
def test_what_was_fitted_at_another_precision_belongs_to_the_same_weights(fitted, used):
    first, second = (rh.load(toy("llama", dtype=torch.float32).to(fitted).to(dtype)) for dtype in (fitted, used))
    assert first.weight_hash != second.weight_hash
    for one, other in ((first, second), (second, first)):
        direction(one).check(other)
        Cluster("mlp_out", {1: (2,)}, method="own", topic="t", model=one.name, weights=one.weight_hash).check(other)
    with pytest.raises(DirectionNotUsable, match="whose weights are not those"):
        direction(rh.load(toy("llama", seed=1))).check(second)


def test_a_converted_file_loaded_at_less_precision_still_has_its_weights(tmp_path):
    module = toy("llama")
    whole = hash_weights(module)
    known = Provenance("file", stored_hash=whole)
    network = Network(module.to(torch.bfloat16), name="toy", provenance=known)
    assert network.weight_hash != whole
    assert network.has_weights(whole)


def test_where_precision_was_lost_the_line_says_so_and_the_hash_can_be_left_out():
    fitted, model = rh.load(toy("llama")), rh.load(toy("llama").to(torch.bfloat16))
    vector = direction(fitted)
    with pytest.raises(DirectionNotUsable, match=r"loaded, in bfloat16: .*less precision.*without_weights\(\)"):
        as_steering_plan(model, vector)
    assert as_steering_plan(model, rh.Directions.of(vector).without_weights()) == as_steering_plan(fitted, vector)
