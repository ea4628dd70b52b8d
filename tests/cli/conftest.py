"""A way to type a command, and a small model to type it about."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rheostat.cli.main import main
from tests.models.tiny_gguf import write_tiny_gguf


@dataclass(frozen=True)
class Typed:
    """What a command did."""

    code: int
    out: str
    err: str


Type = Callable[..., Typed]


@pytest.fixture
def type_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Return a function that runs a command in an empty folder, on streams of a given encoding."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: str, encoding: str = "utf-8") -> Typed:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(arguments)
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode(encoding))
        return Typed(int(ended.value.code or 0), *texts)

    return run


@pytest.fixture(scope="session")
def _converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cli")
    return write_tiny_gguf(folder / "tiny.gguf"), folder / "cache"


@pytest.fixture
def tiny(_converted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a tiny model, converted once per session."""
    path, cache = _converted
    monkeypatch.setenv("RHEOSTAT_CACHE", str(cache))
    return str(path)
