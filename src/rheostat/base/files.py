"""Files that appear whole or not at all, and the folders where rheostat keeps things."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from rheostat.base.errors import CacheNotWritable, FileNotUsable, WouldOverwrite


def cache_dir() -> Path:
    """Return the folder for converted models and fetched data: `RHEOSTAT_CACHE`, else the system's user cache."""
    given = os.environ.get("RHEOSTAT_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("rheostat"))


def prepare_cache(folder: Path, *, bytes_needed: int) -> Path:
    """Create `folder` and make sure that it can be written and has `bytes_needed` free bytes.

    Raises:
        CacheNotWritable: it cannot be created or written, or the disk has too little space.
    """
    hint = "Free some space or point RHEOSTAT_CACHE to another folder."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CacheNotWritable(f"the cache {folder} cannot be written ({error.strerror or error}). {hint}") from error
    free = shutil.disk_usage(folder).free
    if free < bytes_needed:
        raise CacheNotWritable(
            f"the cache {folder} has {free / 1e6:.1f} MB free, {bytes_needed / 1e6:.1f} MB are needed. {hint}"
        )
    return folder


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, and vanishes otherwise.

    Raises:
        FileNotUsable: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FileNotUsable(f"{path} cannot be written ({os.strerror(error.errno)}). Free some space.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it becomes `path` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            file.chmod(0o644)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def output_path(path: Path, *, overwrite: bool) -> Path:
    """Check, without leaving a trace, that a file can be written at `path`; `atomic_file` creates its folders.

    Raises:
        WouldOverwrite: the file exists and `overwrite` is false.
        FileNotUsable: it is a folder or a device, or its parent folder cannot be created or written.
    """
    try:
        if path.is_dir():
            raise FileNotUsable(f"{path} is a folder; a file is written here. Give another name.")
        if path.exists():
            _may_replace(path, overwrite=overwrite)
            if not path.is_file():
                raise FileNotUsable(f"{path} is no regular file, so it cannot be replaced. Give another name.")
        _check_writable(path.parent)
    except OSError as error:
        raise FileNotUsable(f"{path} cannot be written ({error.strerror or error}).") from error
    return path


def output_folder(path: Path, *, overwrite: bool) -> Path:
    """Check, without leaving a trace, that files can be written into a folder `path`.

    Raises:
        WouldOverwrite: the folder exists and `overwrite` is false.
        FileNotUsable: it is a file, or cannot be created or written.
    """
    try:
        if path.is_dir():
            _may_replace(path, overwrite=overwrite)
        _check_writable(path)
    except OSError as error:
        raise FileNotUsable(f"{path} cannot be written ({error.strerror or error}).") from error
    return path


def _may_replace(path: Path, *, overwrite: bool) -> None:
    if not overwrite:
        raise WouldOverwrite(f"{path} exists. Give another name, or allow overwriting (--overwrite, overwrite=True).")


def _check_writable(folder: Path) -> None:
    """Make sure that `folder`, or the nearest parent that exists, takes a file; `OSError` if not."""
    absolute = folder.absolute()
    nearest = next(one for one in (absolute, *absolute.parents) if one.exists() or one.is_symlink())
    with tempfile.TemporaryFile(dir=nearest):
        pass
