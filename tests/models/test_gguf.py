"""GGUF files: converted once, whole or not at all, and refused in one line when damaged."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError

import rheostat as rh
from rheostat.base.errors import CacheNotWritable, DamagedFile, RheostatError, UnknownArchitecture
from rheostat.models import gguf
from rheostat.models.gguf import converted_folder
from tests.models.tiny_gguf import write_tiny_gguf

PROMPT = "The capital of Germany is"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RHEOSTAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def leftovers(cache: Path) -> list[str]:
    """Return what a finished or failed conversion may not leave: everything but locks and whole folders."""
    models = cache / "models"
    return [one.name for one in models.iterdir() if one.suffix != ".lock" and one.name.startswith(".")]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_converted_model_adds_up_and_knows_its_tokens(tiny: Path, cache: Path):
    model = rh.load(tiny)
    assert model.check().holds
    assert [model.show_token(token) for token in model.encode(PROMPT)] == [
        "The", "␣capital", "␣of", "␣Germany", "␣is",
    ]  # fmt: skip
    assert leftovers(cache) == []


def test_converting_prints_nothing(tiny: Path, capfd: pytest.CaptureFixture[str]):
    rh.load(tiny)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "no GGUF file"),
        (lambda content: b"hello world\n", "no GGUF file"),
        (lambda content: content[:20], "truncated or damaged"),
        (lambda content: content[:3000], "truncated or damaged"),
        (lambda content: content[:-4], "truncated or damaged"),
        (lambda content: content[:4] + b"\xff" * 40 + content[44:], "truncated or damaged"),
    ],
    ids=["empty", "another kind", "cut in the counts", "cut in the header", "cut in the tensors", "wrong counts"],
)
def test_a_damaged_file_is_refused_in_one_line(tiny: Path, tmp_path: Path, cache: Path, damage, message: str):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(damage(tiny.read_bytes()))
    with pytest.raises(DamagedFile, match=message) as caught:
        rh.load(bad)
    assert "bad.gguf" in str(caught.value) and "\n" not in str(caught.value)
    assert leftovers(cache) == []


def test_a_missing_tensor_is_refused_instead_of_drawn_at_random(
    tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
):
    bad = write_tiny_gguf(tmp_path / "bad.gguf", leave_out="blk.1.ffn_up.weight")
    with pytest.raises(DamagedFile, match=r"lacks 1 .*layers\.1\.mlp\.up_proj"):
        rh.load(bad)
    assert capfd.readouterr().err == ""
    assert leftovers(cache) == [] and not list((cache / "models").glob("gguf-*"))


def test_an_architecture_that_transformers_cannot_convert_is_named(tmp_path: Path):
    bad = write_tiny_gguf(tmp_path / "bad.gguf", architecture="starfish")
    with pytest.raises(UnknownArchitecture, match="starfish") as caught:
        rh.load(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")],
    ids=["from the system", "from safetensors"],
)
def test_a_disk_that_fills_up_on_the_way_leaves_nothing(tiny: Path, cache: Path, monkeypatch, error: Exception):
    def fill_up(file: Path, target: Path, source: str) -> None:
        (target / "half.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(gguf, "_convert", fill_up)
    with pytest.raises(CacheNotWritable, match=r"filled up .*RHEOSTAT_CACHE"):
        converted_folder(tiny)
    assert leftovers(cache) == [] and not list((cache / "models").glob("gguf-*"))


def test_too_little_space_is_said_before_converting(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(CacheNotWritable, match=r"0\.0 MB free, 0\.\d MB are needed"):
        converted_folder(tiny)


def test_a_file_in_the_place_of_the_cache_is_named(tiny: Path, cache: Path):
    cache.write_text("a file")
    with pytest.raises(CacheNotWritable, match=r"cannot be written \(Not a directory\)"):
        converted_folder(tiny)


def test_a_cache_that_holds_the_model_needs_no_writing(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    folder = converted_folder(tiny)

    def refuse(folder: Path, *, bytes_needed: int) -> Path:
        raise CacheNotWritable("read-only")

    monkeypatch.setattr(gguf, "prepare_cache", refuse)
    assert converted_folder(tiny) == folder
    with pytest.raises(RheostatError, match="read-only"):
        converted_folder(write_tiny_gguf(tiny.parent / "other.gguf", seed=1))


def test_whoever_can_read_the_cache_can_read_what_it_holds(tiny: Path):
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in converted_folder(tiny).iterdir())


SECOND_LOAD = """
import json, sys, rheostat
model = rheostat.load(sys.argv[1])
print(json.dumps([model.weight_hash, model.generate(sys.argv[2]).text, "gguf" in sys.modules]))
"""


@pytest.mark.slow
def test_the_second_load_is_equal_and_touches_no_gguf_code(tiny: Path):
    first = rh.load(tiny)
    second = start(SECOND_LOAD, tiny, PROMPT)
    out, err = second.communicate(timeout=120)
    assert err == ""
    assert json.loads(out) == [first.weight_hash, first.generate(PROMPT).text, False]
    assert first.provenance.source == "tiny.gguf"
    assert first.dtype == torch.float32


CONVERT = """
import sys
from pathlib import Path
from rheostat.models import gguf
convert = gguf._convert
def counted(file, target, source):
    print("converting", flush=True)
    convert(file, target, source)
gguf._convert = counted
print("ready", flush=True)
sys.stdin.readline()
gguf.converted_folder(Path(sys.argv[1]))
print("done")
"""


@pytest.mark.slow
def test_two_processes_at_once_convert_once(tiny: Path, cache: Path):
    command = [sys.executable, "-c", CONVERT, str(tiny)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    written = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(text.split() for text in written) == [["converting", "done"], ["done"]]
    assert leftovers(cache) == []


HANG = """
import sys, time
from pathlib import Path
from rheostat.models import gguf
def hang(file, target, source):
    (target / "half.safetensors").write_bytes(b"half")
    print("converting", flush=True)
    time.sleep(600)
gguf._convert = hang
gguf.converted_folder(Path(sys.argv[1]))
"""


@pytest.mark.slow  # processes of their own
def test_a_conversion_killed_half_way_is_done_again_and_leaves_nothing(tiny: Path, cache: Path):
    killed = start(HANG, tiny)
    assert killed.stdout.readline() == "converting\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert len(leftovers(cache)) == 2  # the control: the temporary folder and the half-written one
    assert rh.load(tiny).check().holds
    assert leftovers(cache) == []
