"""`Store`: numbers under their keys, and the runs that asked for them.

A key says everything that its numbers depend on (`key.result_key`), so what is there is never computed again, whichever
run asks. A run is a list of wanted keys with labels, written down before anything is computed; its table is what is
there by now.
"""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from rheostat.base.errors import BadArgument, FileNotUsable, RunNotFound
from rheostat.store.database import damaged, open_for_reading, open_for_writing, reported
from rheostat.store.key import Plain, as_json, digest

SUFFIX = ".sqlite"


@dataclass(frozen=True)
class Wanted:
    """A result that a run asks for."""

    key: str
    """What it depends on; see `result_key`."""
    labels: Mapping[str, Plain]
    """Its columns in the run's table: block, position, prompt, metric."""


@dataclass(frozen=True)
class StoredRun:
    """One run as it stands in a store."""

    id: int
    name: str
    arguments: dict[str, Any]
    labels: dict[str, Plain]
    started: str
    """UTC, ISO 8601."""
    n_wanted: int
    n_done: int
    """How many of the wanted results are there."""


class Store:
    """One SQLite file of results. Several processes may write it at once; what is committed survives `kill -9`.

    It must lie on a local disk: SQLite's write-ahead log does not work over network file systems.

    Args:
        path: the file; it is created when it does not exist.
        read_only: open what exists, and change nothing.
        timeout: seconds to wait for another process that is writing.

    Raises:
        FileNotUsable: the file is damaged, no store, locked for longer than `timeout`, or cannot be written.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, timeout: float = 60.0) -> None:
        self.path = Path(path)
        opened = open_for_reading if read_only else open_for_writing
        self._database = opened(self.path, timeout=timeout)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the log into it."""
        self._database.close()

    # --- results ------------------------------------------------------------------------------------------------------

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without a result, in order, each once."""
        asked = dict.fromkeys(keys)
        found = self._rows(
            "SELECT key FROM results WHERE key IN (SELECT value FROM json_each(?))", as_json(list(asked))
        )
        present = {key for (key,) in found}
        return [key for key in asked if key not in present]

    def commit(self, results: Mapping[str, Sequence[float]]) -> int:
        """Write the results of a chunk, all of them or none, and return how many were new.

        Results that another process wrote first are kept.

        Raises:
            FileNotUsable: the disk is full, or another process keeps the file locked.
        """
        rows = [(key, *_packed(key, numbers)) for key, numbers in results.items()]
        with self._transaction() as database:
            return database.executemany(
                "INSERT INTO results (key, numbers, checksum) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING", rows
            ).rowcount

    def results(self, keys: Iterable[str]) -> dict[str, tuple[float, ...]]:
        """Return the numbers of those keys that have a result.

        Raises:
            FileNotUsable: the file is damaged.
        """
        rows = self._rows(
            "SELECT key, numbers, checksum FROM results WHERE key IN (SELECT value FROM json_each(?))",
            as_json(list(keys)),
        )
        return {key: self._unpacked(key, numbers, checksum) for key, numbers, checksum in rows}

    # --- runs ---------------------------------------------------------------------------------------------------------

    def begin(
        self,
        name: str,
        arguments: Mapping[str, Any],
        wanted: Sequence[Wanted],
        *,
        labels: Mapping[str, Plain] | None = None,
    ) -> int:
        """Write down what a run asks for, and return its number. The same run again is the same run, and goes on.

        Args:
            name: what is done, such as `patch`.
            arguments: what it was asked to do, as JSON values.
            wanted: every result, in the order of the table.
            labels: anything to find it by.

        Raises:
            BadArgument: something is no JSON value, or a label is named like the columns of the values.
        """
        _check_labels(wanted)
        cells = [(one.key, as_json(dict(one.labels), ordered=False)) for one in wanted]
        texts = name, as_json(dict(arguments)), as_json(dict(labels or {}))
        identity, started = digest([*texts, cells]), datetime.now(UTC).isoformat(timespec="seconds")
        with self._transaction() as database:
            written = database.execute(
                "INSERT INTO runs (identity, name, arguments, labels, started) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (identity) DO NOTHING",
                (identity, *texts, started),
            ).rowcount
            (run,) = database.execute("SELECT id FROM runs WHERE identity = ?", (identity,)).fetchone()
            if written:
                database.executemany(
                    "INSERT INTO cells (run, place, key, labels) VALUES (?, ?, ?, ?)",
                    ((run, place, *cell) for place, cell in enumerate(cells)),
                )
        return int(run)

    def runs(self) -> list[StoredRun]:
        """Return every run, the oldest first.

        Raises:
            FileNotUsable: the file is damaged.
        """
        return self._runs(None)

    def run(self, number: int) -> StoredRun:
        """Return one run.

        Raises:
            RunNotFound: there is none of this number.
        """
        for run in self._runs(number):
            return run
        numbers = ", ".join(str(run.id) for run in self.runs()) or "none"
        raise RunNotFound(f"no run {number} in {self.path}. Runs there: {numbers}.")

    def rows(self, number: int) -> list[tuple[dict[str, Plain], tuple[float, ...]]]:
        """Return the labels and numbers of the results that a run has so far, in its own order.

        Raises:
            RunNotFound: there is no run of this number.
            FileNotUsable: the file is damaged.
        """
        self._check_whole(self.run(number).id)
        rows = self._rows(
            "SELECT results.key, numbers, checksum, labels FROM cells JOIN results USING (key) "
            "WHERE run = ? ORDER BY place",
            number,
        )
        return [(self._read(labels), self._unpacked(key, numbers, check)) for key, numbers, check, labels in rows]

    def remove(self, number: int) -> int:
        """Remove a run, with the results that no other run asks for; return how many these were.

        Raises:
            RunNotFound: there is no run of this number.
        """
        self.run(number)
        with self._transaction() as database:
            gone = database.execute(
                "DELETE FROM results WHERE key IN (SELECT key FROM cells WHERE run = ?) "
                "AND key NOT IN (SELECT key FROM cells WHERE run <> ?)",
                (number, number),
            ).rowcount
            database.execute("DELETE FROM runs WHERE id = ?", (number,))
        return gone

    # --- the file -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the database inside a transaction that is committed at the end, or not at all."""
        with reported(self.path), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database

    def _rows(self, query: str, *parameters: Plain) -> list[tuple[Any, ...]]:
        with reported(self.path):
            return self._database.execute(query, parameters).fetchall()

    def _runs(self, number: int | None) -> list[StoredRun]:
        rows = self._rows(
            "SELECT id, name, arguments, runs.labels, started, count(cells.key), count(results.key) FROM runs "
            "LEFT JOIN cells ON cells.run = runs.id LEFT JOIN results ON results.key = cells.key "
            "WHERE ?1 IS NULL OR id = ?1 GROUP BY id ORDER BY id",
            number,
        )
        return [
            StoredRun(found, name, self._read(arguments), self._read(labels), *others)
            for found, name, arguments, labels, *others in rows
        ]

    def _check_whole(self, number: int) -> None:
        """Refuse a run whose cells are not those that were written down.

        Raises:
            FileNotUsable: the file is damaged.
        """
        cells = self._rows("SELECT key, labels FROM cells WHERE run = ? ORDER BY place", number)
        ((identity, *texts),) = self._rows("SELECT identity, name, arguments, labels FROM runs WHERE id = ?", number)
        if digest([*texts, cells]) != identity:
            raise damaged(self.path, f"run {number} is not what was written")

    def _read(self, text: str) -> dict[str, Any]:
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise damaged(self.path, f"{error}") from error

    def _unpacked(self, key: str, numbers: bytes, checksum: int) -> tuple[float, ...]:
        if not isinstance(numbers, bytes) or len(numbers) % 8 or _checksum(key, numbers) != checksum:
            raise damaged(self.path, f"the result {key} is not what was written")
        return struct.unpack(f"<{len(numbers) // 8}d", numbers)


def store_files(places: Iterable[Path]) -> list[Path]:
    """Return the stores that are named, and those that lie directly in the folders that are named.

    Raises:
        FileNotUsable: a place does not exist, or a folder holds no store.
    """
    found = []
    for place in places:
        inside = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
        if not place.exists() or not inside:
            raise FileNotUsable(f"there is no store {'in ' if place.is_dir() else ''}{place}.")
        found += inside
    return found


def _packed(key: str, numbers: Sequence[float]) -> tuple[bytes, int]:
    packed = struct.pack(f"<{len(numbers)}d", *numbers)
    return packed, _checksum(key, packed)


def _checksum(key: str, numbers: bytes) -> int:
    """Return what a flipped bit changes: SQLite itself keeps no checksum."""
    return zlib.crc32(key.encode() + numbers)


def _check_labels(wanted: Sequence[Wanted]) -> None:
    taken = {label for one in wanted for label in one.labels if label == "value" or label.startswith("value_")}
    if taken:
        raise BadArgument(f"the label {sorted(taken)[0]!r} is named like the column of the values; give another name.")
