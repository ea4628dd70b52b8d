"""`AuditLog`: what was asked and answered, one JSON line each, in a chain that cannot be cut or changed unnoticed.

Each line holds its number, the hash of the line before it, and its own hash: SHA-256 of the rest of the line. Beside
the log lies its head: number and hash of the last line, under an HMAC of the server's secret. Who changes a line breaks
the chain; who cuts off the end contradicts the head, which cannot be made anew without the secret. A log and a head
that were both set back to an earlier state agree with each other; then any later answer contradicts them, for each
carries the number and hash of its line (`witness`).
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from rheostat.base.errors import AuditBroken, FileNotUsable
from rheostat.base.files import atomic_file

START = "0" * 64
"""What the first line names as the hash before it."""


@dataclass(frozen=True)
class Place:
    """A line of the log, as it is named elsewhere."""

    n: int
    """Counted from 1; 0: before the first."""
    hash: str


@dataclass(frozen=True)
class _Head:
    place: Place
    size: int
    """Of the log up to here, in bytes."""


class AuditLog:
    """A log that several processes may append to: the server, and the command that changes keys."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self._path = path
        self._secret = secret
        self._lock = FileLock(f"{path}.lock", timeout=30)

    def append(self, event: str, **content: object) -> Place:
        """Write a line, and return its place. A line is in the file, whole, when this returns.

        Raises:
            FileNotUsable: the log cannot be written, or its head is not this log's.
        """
        with self._writing():
            head = self._caught_up(_read_head(self._path, self._secret))
            line = {"n": head.place.n + 1, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event}
            line |= content | {"previous": head.place.hash}
            line["hash"] = line_hash(line)
            data = (json.dumps(line, ensure_ascii=True) + "\n").encode()
            with self._path.open("ab") as stream:
                stream.write(data)
            place = Place(int(str(line["n"])), str(line["hash"]))
            self._write_head(_Head(place, head.size + len(data)))
        return place

    def _caught_up(self, head: _Head) -> _Head:
        """Take in what a process wrote before it was killed: whole lines are kept, the beginning of one is cut off."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < head.size:
            raise FileNotUsable(
                f"the audit log {self._path} was shortened: it has {size} bytes, its head says {head.size}. Put it "
                "back, or move log and head away to begin a new one."
            )
        if size == head.size:
            return head
        with self._path.open("rb+") as stream:
            stream.seek(head.size)
            rest = stream.read()
            kept, place = 0, head.place
            for raw in rest.splitlines(keepends=True):
                found = _follows(raw, place) if raw.endswith(b"\n") else None
                if found is None:
                    break
                kept, place = kept + len(raw), found
            stream.truncate(head.size + kept)
        return _Head(place, head.size + kept)

    def _write_head(self, head: _Head) -> None:
        content = {"n": head.place.n, "hash": head.place.hash, "size": head.size}
        with atomic_file(_head_path(self._path)) as target:
            target.write_text(json.dumps({**content, "mac": _mac(content, self._secret)}), encoding="ascii")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                yield
        except OSError as error:  # a lock that is never free is one too
            raise FileNotUsable(f"the audit log {self._path} cannot be written ({error.strerror or error}).") from error


def verify(path: Path, secret: bytes | None = None, *, witness: Place | None = None) -> Place:
    """Check a log against its chain, its head, and a place that an answer named; return its last place.

    Args:
        path: the log; its head lies beside it.
        secret: the server's; None: the head's own hash is not checked.
        witness: a place that must be in the log.

    Raises:
        AuditBroken: a line was changed, taken out, put in or moved, or the end was cut off.
        FileNotUsable: there is no log, or no head.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise FileNotUsable(f"the audit log {path} cannot be read ({error.strerror or error}).") from error
    if not _head_path(path).exists():
        raise FileNotUsable(f"the head {_head_path(path)} is missing; without it nobody knows where the log ends.")
    head = _read_head(path, secret)
    places = [Place(0, START)]
    for raw in lines:
        found = _follows(raw, places[-1])
        if found is None:
            if not raw.endswith(b"\n") and len(places) - 1 >= head.place.n:
                break  # the beginning of a line that was being written when the process was killed
            raise AuditBroken(
                f"{path}: line {len(places)} is not the one that was written after line {len(places) - 1}."
            )
        places.append(found)
    for what, place in (("its head", head.place), ("an answer", witness)):
        if place is not None and (place.n >= len(places) or places[place.n] != place):
            raise AuditBroken(
                f"{path}: {what} names line {place.n} with the hash {place.hash[:12]}…; "
                + (f"the log ends after line {len(places) - 1}." if place.n >= len(places) else "the log has another.")
            )
    return places[-1]


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log, unchecked."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def line_hash(line: Mapping[str, object]) -> str:
    """Return the SHA-256 of a line without its own hash."""
    rest = {name: value for name, value in line.items() if name != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _follows(raw: bytes, before: Place) -> Place | None:
    """Return the place of a line, or None where it is not the line after `before`."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not raw.endswith(b"\n"):
        return None
    fits = line.get("n") == before.n + 1 and line.get("previous") == before.hash and line.get("hash") == line_hash(line)
    return Place(before.n + 1, line["hash"]) if fits else None


def _head_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _read_head(path: Path, secret: bytes | None) -> _Head:
    head = _head_path(path)
    if not head.exists() and not (path.exists() and path.stat().st_size):
        return _Head(Place(0, START), 0)
    try:
        content = json.loads(head.read_text(encoding="ascii"))
        mac = content.pop("mac")
        found = _Head(Place(content["n"], content["hash"]), content["size"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileNotUsable(f"the head {head} of the audit log is missing or damaged ({error}).") from error
    if secret is not None and not hmac.compare_digest(str(mac), _mac(content, secret)):
        raise AuditBroken(f"{head} was not written by the server with this secret.")
    return found


def _mac(content: Mapping[str, object], secret: bytes) -> str:
    message = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(secret, b"audit|" + message, hashlib.sha256).hexdigest()
