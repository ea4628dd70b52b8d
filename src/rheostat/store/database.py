"""The file of a store: how it is opened, what is in it, and what its errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from rheostat.base.errors import FileNotUsable
from rheostat.base.files import output_path

APPLICATION = 0x5248454F
"""What the header of the file says of its owner: `RHEO`."""
VERSION = 1

_SCHEMA = """
CREATE TABLE results (
    key TEXT PRIMARY KEY,
    numbers BLOB NOT NULL,  -- little-endian float64
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the number of a removed run is not given again
    identity TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    labels TEXT NOT NULL,
    started TEXT NOT NULL
);
CREATE TABLE cells (
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    place INTEGER NOT NULL,
    key TEXT NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (run, place)
) WITHOUT ROWID;
CREATE INDEX cells_by_key ON cells (key);
"""

_NOT_OPENED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def open_for_writing(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open a store, and create it when there is none.

    Raises:
        FileNotUsable: the file is damaged or no store, or its folder cannot be written.
    """
    output_path(path, overwrite=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with reported(path):
        database = _connect(path, "mode=rwc", timeout)
        with _closed_on_error(database):
            if _is_new(database):
                _create(database, path)
            _check_kind(database, path)
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA foreign_keys = ON")
    return database


def open_for_reading(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open a store that exists, also in a folder that cannot be written.

    Raises:
        FileNotUsable: there is no such file, or it is damaged or no store.
    """
    if not path.is_file():
        raise FileNotUsable(f"there is no store {path}.")
    with reported(path):
        try:
            database = _connect(path, "mode=rw", timeout)
        except sqlite3.OperationalError as error:
            if _primary(error) not in _NOT_OPENED or _has_journal(path):
                raise
            database = _connect(path, "immutable=1", timeout)
        with _closed_on_error(database):
            _check_kind(database, path)
            database.execute("PRAGMA query_only = ON")
    return database


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Let errors of the database name the file and what to do.

    Raises:
        FileNotUsable: the file is damaged, locked or not writable, or the disk is full.
    """
    try:
        yield
    except sqlite3.Error as error:
        message = _meaning(error)
        if message is None:
            raise
        raise FileNotUsable(f"the store {path} {message}") from error


def damaged(path: Path, what: str) -> FileNotUsable:
    """Return the error of a store whose content is not what was written."""
    return FileNotUsable(
        f"the store {path} is damaged ({what}). Move it away and run again; other stores are untouched."
    )


def _meaning(error: sqlite3.Error) -> str | None:
    """Return what an error of SQLite says of the file, or None for a mistake of ours."""
    code = _primary(error)
    if code in _DAMAGED or str(error).startswith("Could not decode"):
        return f"is damaged ({error}). Move it away and run again; other stores are untouched."
    if code in _BUSY:
        return "is being written by another process. Try again when it is done."
    if code in _NOT_OPENED:
        return f"cannot be opened for this ({error}). Check the permissions of the file and its folder."
    if code == sqlite3.SQLITE_FULL:
        return "cannot be written (the disk is full). Free some space; everything committed is kept."
    if code == sqlite3.SQLITE_IOERR:
        return f"cannot be read or written ({error})."
    return None


def _primary(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Connect, and read the header, which is where a file that cannot be opened says so."""
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    database = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None)
    with _closed_on_error(database):
        database.execute("PRAGMA application_id").fetchone()
    return database


@contextmanager
def _closed_on_error(database: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, FileNotUsable):
        database.close()
        raise


def _is_new(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(tables == 0)


def _create(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables, one process at a time: switching a file to WAL does not wait for another that does the same."""
    with FileLock(path.parent / f".{path.name}.lock"):
        if not _is_new(database):
            return
        database.execute("PRAGMA journal_mode = WAL")
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
        database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT;")


def _check_kind(database: sqlite3.Connection, path: Path) -> None:
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise FileNotUsable(f"{path} is no store of rheostat, or only the beginning of one. Give another name.")
    if version != VERSION:
        raise FileNotUsable(f"the store {path} has format {version}; this version of rheostat reads format {VERSION}.")


def _has_journal(path: Path) -> bool:
    """Tell whether commits wait beside the file; reading it alone would miss them."""
    journal = path.with_name(f"{path.name}-wal")
    return journal.exists() and journal.stat().st_size > 0
