"""Files: what was saved comes back, what is damaged or foreign is refused, and control vectors are llama.cpp's."""

import json
import warnings
from functools import partial
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import rheostat as rh
from rheostat.base.errors import DirectionNotUsable, FileNotUsable, RheostatWarning, WouldOverwrite
from rheostat.directions.control_vectors import export_gguf, import_gguf
from rheostat.directions.files import FORMAT
from tests.directions.conftest import some_pairs


@pytest.fixture
def found(model: rh.Model) -> rh.Directions:
    return rh.fit_directions(model, some_pairs(24), concept="warmth ≥ 0")


def test_directions_are_the_same_after_a_file(found, tmp_path):
    found.save(tmp_path / "a.safetensors")
    loaded = rh.Directions.load(tmp_path / "a.safetensors")
    assert list(loaded) == list(found)
    for site, one in found.items():
        other = loaded[site]
        assert torch.equal(other.vector, one.vector) and other.vector.dtype == one.vector.dtype
        assert (other.concept, other.method, other.model, other.weights) == (
            one.concept,
            one.method,
            one.model,
            one.weights,
        )
        assert other.calibration == one.calibration
    assert loaded.table.to_dict("list") == found.table.to_dict("list")
    assert loaded.best.site == found.best.site


def test_a_sum_without_calibration_and_a_table_with_gaps_come_back(model, found, tmp_path):
    rh.Directions.of((found + found)["blocks.1.resid_post"]).save(tmp_path / "sum.safetensors")
    loaded = rh.Directions.load(tmp_path / "sum.safetensors")["blocks.1.resid_post"]
    assert (loaded.calibration, loaded.concept) == (None, "warmth ≥ 0 + warmth ≥ 0")
    final = rh.fit_directions(model, some_pairs(24), sites="final", shuffles=0)
    final.save(tmp_path / "final.safetensors")
    table = rh.Directions.load(tmp_path / "final.safetensors").table
    assert table[["block", "shuffled"]].isna().all().all()
    assert table["accuracy"].equals(final.table["accuracy"])
    unspread = rh.fit_directions(model, some_pairs(24), held_out=0)
    unspread.save(tmp_path / "unspread.safetensors")
    assert np.isnan(rh.Directions.load(tmp_path / "unspread.safetensors")["blocks.0.resid_post"].calibration.spread)


def test_a_file_is_not_replaced_unasked(found, tmp_path):
    for path, write in (
        (tmp_path / "a.safetensors", found.save),
        (tmp_path / "a.gguf", partial(export_gguf, found, without_block_0=True)),
    ):
        write(path)
        with pytest.raises(WouldOverwrite):
            write(path)
        write(path, overwrite=True)


DESCRIBED = {"concept": "c", "method": "m", "model": "n", "weights": "", "calibration": None}
FIRST = "blocks.0.resid_post"

CHANGES = {
    "NaN": lambda file: file.tensors[FIRST].fill_(float("nan")),
    "zero": lambda file: file.tensors[FIRST].zero_(),
    "whole numbers": lambda file: file.tensors.update({FIRST: file.tensors[FIRST].long()}),
    "foreign": lambda file: file.header.update(format="pt"),
    "newer": lambda file: file.header.update(format="rheostat-directions-9"),
    "missing tensor": lambda file: file.tensors.pop(FIRST),
    "no JSON": lambda file: file.header.update(directions="{"),
    "missing setting": lambda file: file.described[FIRST].pop("method"),
    "a number for a name": lambda file: file.described[FIRST].update(model=3),
    "no directions": lambda file: file.described.clear(),
    "another table": lambda file: file.header.update(table=json.dumps({"site": ["x"], "block": [1]})),
}


class ChangedFile:
    """A file of directions, taken apart to be written with a mistake."""

    def __init__(self, path: Path) -> None:
        self.tensors = load_file(path)
        self.described = {site: dict(DESCRIBED) for site in self.tensors}
        self.header = {"format": FORMAT, "table": "{}"}

    def write(self, path: Path) -> None:
        save_file(self.tensors, path, metadata={"directions": json.dumps(self.described), **self.header})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("NaN", "holds NaN"),
        ("zero", "points nowhere"),
        ("whole numbers", "int64"),
        ("foreign", "holds no directions of rheostat"),
        ("newer", "has the format rheostat-directions-9; this version of rheostat reads rheostat-directions-1"),
        ("missing tensor", "cannot be read as directions|damaged"),
        ("no JSON", "damaged"),
        ("missing setting", "damaged.*method"),
        ("a number for a name", "something else than texts"),
        ("no directions", "no direction was given"),
        ("another table", "table's sites"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_its_name(found, tmp_path, change, said):
    path = tmp_path / "a.safetensors"
    found.save(path)
    file = ChangedFile(path)
    file.write(path)
    assert len(rh.Directions.load(path)) == 3  # the control
    CHANGES[change](file)
    file.write(path)
    with pytest.raises(FileNotUsable, match=said) as refused:
        rh.Directions.load(path)
    assert "a.safetensors" in str(refused.value)


@pytest.mark.parametrize("content", [b"hello", None], ids=["no safetensors", "truncated"])
def test_what_is_no_whole_safetensors_file_is_refused(found, tmp_path, content):
    path = tmp_path / "a.safetensors"
    found.save(path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(FileNotUsable, match=r"a\.safetensors cannot be read as directions"):
        rh.Directions.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotUsable, match="cannot be read"):
        rh.Directions.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotUsable, match="cannot be read"):
        rh.Directions.from_gguf(tmp_path / "none.gguf")


# --- control vectors --------------------------------------------------------------------------------------------------


def as_repeng(path: Path, directions: dict[int, np.ndarray], *, arch: str = "controlvector") -> None:
    """Write a file with the calls that repeng makes."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_string(f"{arch}.model_hint", "llama")
    writer.add_uint32(f"{arch}.layer_count", len(directions))
    for layer, vector in directions.items():
        writer.add_tensor(f"direction.{layer}", vector)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_control_vector_holds_what_llama_cpp_reads_and_comes_back(model, found, tmp_path):
    path = tmp_path / "a.gguf"
    found.to_gguf(path, model_hint="llama", without_block_0=True)
    reader = gguf.GGUFReader(path)
    fields = {name: reader.get_field(name).contents() for name in ("general.architecture", "controlvector.model_hint")}
    assert fields == {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
    assert reader.get_field("controlvector.layer_count").contents() == 2
    assert [tensor.name for tensor in reader.tensors] == ["direction.1", "direction.2"]
    for tensor in reader.tensors:
        site = f"blocks.{tensor.name.removeprefix('direction.')}.resid_post"
        assert tensor.tensor_type.name == "F32" and tensor.shape.tolist() == [16]
        assert np.array_equal(tensor.data, found[site].vector.float().numpy())
    loaded = rh.Directions.from_gguf(path, network=model)
    assert list(loaded) == ["blocks.1.resid_post", "blocks.2.resid_post"]
    for site, one in loaded.items():
        assert torch.equal(one.vector, found[site].vector.float())
        assert (one.model, one.concept, one.calibration, one.weights) == (model.name, "a", None, "")


def test_a_direction_at_block_0_is_refused_unless_it_is_left_out_by_name(found, tmp_path):
    with pytest.raises(DirectionNotUsable, match="without_block_0=True"):
        found.to_gguf(tmp_path / "a.gguf")
    with pytest.raises(DirectionNotUsable, match="nothing can be written"):
        rh.Directions.of(found["blocks.0.resid_post"]).to_gguf(tmp_path / "a.gguf", without_block_0=True)
    assert not list(tmp_path.iterdir())


def test_directions_elsewhere_than_at_block_outputs_make_no_control_vector(model, tmp_path):
    found = rh.fit_directions(model, some_pairs(24), sites="blocks.*.mlp_out", held_out=0)
    with pytest.raises(DirectionNotUsable, match=r"lies at blocks\.0\.mlp_out"):
        found.to_gguf(tmp_path / "a.gguf")


def test_a_file_of_repeng_acts_on_the_outputs_of_the_blocks_that_it_numbers(model, tmp_path):
    vectors = {layer: np.random.default_rng(layer).standard_normal(16).astype(np.float32) for layer in (2, 1)}
    as_repeng(tmp_path / "happy.gguf", vectors)
    loaded = import_gguf(tmp_path / "happy.gguf")
    assert (loaded.concept, loaded["blocks.1.resid_post"].model) == ("happy", "llama")
    rows = [[5, 9, 30], [44, 8]]
    steered = model.run(
        rows, [one.add(0.5) for one in loaded.values()], logits_at="all", capture="final", capture_at="all"
    )
    hooks = [
        model.module.model.layers[layer].register_forward_hook(
            lambda _m, _a, out, v=vector: out + 0.5 * torch.from_numpy(v)
        )
        for layer, vector in vectors.items()
    ]
    try:
        for index, row in enumerate(rows):
            with torch.no_grad():
                plain = model.module(input_ids=torch.tensor([row])).logits[0]
            torch.testing.assert_close(steered.logits[index, : len(row)], plain, rtol=0, atol=1e-9)
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize(
    ("vectors", "arch", "said"),
    [
        ({1: np.ones(16, np.float32)}, "llama", "general.architecture says 'llama'"),
        ({}, "controlvector", "no direction was given"),
        ({1: np.full(16, np.nan, np.float32)}, "controlvector", "NaN"),
        ({1: np.zeros(16, np.float32)}, "controlvector", "points nowhere"),
        ({1: np.ones((4, 4), np.float32)}, "controlvector", r"F32 of shape \(4, 4\)"),
        ({"x": np.ones(16, np.float32)}, "controlvector", "called 'direction.x'"),
    ],
)
def test_a_file_that_is_no_control_vector_is_refused(tmp_path, vectors, arch, said):
    as_repeng(tmp_path / "a.gguf", vectors, arch=arch)
    with pytest.raises(FileNotUsable, match=said):
        import_gguf(tmp_path / "a.gguf")


def test_a_damaged_control_vector_and_one_for_another_model_are_refused(model, tmp_path):
    path = tmp_path / "a.gguf"
    as_repeng(path, {1: np.ones(15, np.float32)})
    with pytest.raises(DirectionNotUsable, match=r"\(15,\).*\(16,\)"):
        import_gguf(path, network=model)
    path.write_bytes(path.read_bytes()[:-70])
    with pytest.raises(FileNotUsable, match="truncated"):
        import_gguf(path)
    as_repeng(path, {7: np.ones(16, np.float32)})
    with pytest.raises(DirectionNotUsable, match="block 7"):
        import_gguf(path, network=model)


def test_a_control_vector_for_another_architecture_is_read_with_a_warning(model, tmp_path):
    one = rh.Directions.of(rh.fit_directions(model, some_pairs(6), held_out=0)["blocks.1.resid_post"])
    for hint, other in (("qwen2", True), ("mistral", False), ("llama", False), ("a model of mine", False)):
        one.to_gguf(tmp_path / "a.gguf", model_hint=hint, overwrite=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rh.Directions.from_gguf(tmp_path / "a.gguf", network=model)
        said = [str(each.message) for each in caught if each.category is RheostatWarning]
        assert [f"for {hint}" in each for each in said] == [True] * other
    with pytest.raises(FileNotUsable, match="a control vector, which"):
        rh.Directions.load(tmp_path / "a.gguf")
