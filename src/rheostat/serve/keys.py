"""`KeyBook`: who may ask, and what; one SQLite file that holds no key in clear.

A key is `rh-ID-SECRET`, its secret 256 random bits. Kept is an HMAC-SHA256 of the whole under a salt of its own: what
nobody can guess needs no slow hash.
"""

import hashlib
import hmac
import json
import math
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rheostat.base.errors import BadArgument, FileNotUsable, KeyNotFound

ENDPOINTS = ("models", "completions", "chat", "lens", "metrics")
"""What a key may be allowed to ask; `models` is open to every key."""
FORM = re.compile(r"rh-(?P<id>[0-9a-f]{8})-[\w-]{43}", re.ASCII)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    verifier BLOB NOT NULL,  -- HMAC-SHA256 of the key under the salt
    grants TEXT NOT NULL,
    created TEXT NOT NULL,
    revoked TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    key TEXT NOT NULL,
    day TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (key, day)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Grants:
    """What a key allows."""

    name: str
    """Whose it is, for people."""
    floor: float
    """The least impairment that it may ask for, 0 to 1."""
    endpoints: tuple[str, ...] = ("models", "completions", "chat")
    sites: tuple[str, ...] = ()
    """Names and patterns of sites that it may edit and read; `*` is every one."""
    directions: tuple[str, ...] = ()
    """Names and patterns of the server's directions that it may steer by; `*` is every one."""
    logits: bool = False
    """Whether it may see probabilities."""
    activations: bool = False
    """Whether it may see what activations decode to."""
    rate: int = 60
    """Requests a minute."""
    tokens_per_day: int = 1_000_000
    """Of prompts and answers, by days in UTC."""
    concurrency: int = 4
    """Requests at the same time."""
    draws: int = 1
    """Independent draws of the noise that it may ask for, by the field `draw`: 0 to draws − 1."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor) and 0 <= self.floor <= 1):
            raise BadArgument(f"floor {self.floor:g}: from 0 (the intact model) to 1.")
        if unknown := set(self.endpoints) - set(ENDPOINTS):
            raise BadArgument(f"no endpoint {sorted(unknown)[0]!r}. One of: {', '.join(ENDPOINTS)}.")
        for setting, least in (("rate", 1), ("tokens_per_day", 0), ("concurrency", 1), ("draws", 1)):
            if getattr(self, setting) < least:
                raise BadArgument(f"{setting} {getattr(self, setting)}: at least {least}.")


@dataclass(frozen=True)
class Key(Grants):
    """A key that exists, without its secret."""

    id: str = ""
    created: str = ""
    revoked: str | None = None
    """When; None: it is good."""


class KeyBook:
    """The keys of one server. Every call reads the file, so that what another process changes holds at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def create(self, grants: Grants) -> tuple[Key, str]:
        """Make a key; return it with the text that its owner must keep, which is written nowhere."""
        key_id, salt = secrets.token_hex(4), secrets.token_bytes(16)
        text = f"rh-{key_id}-{secrets.token_urlsafe(32)}"
        row = (key_id, salt, _verifier(salt, text), json.dumps(asdict(grants)), _now())
        self._do("INSERT INTO keys (id, salt, verifier, grants, created) VALUES (?, ?, ?, ?, ?)", *row)
        return self.get(key_id), text

    def find(self, text: str) -> Key | None:
        """Return the key that a text is; None where it is none, or was revoked."""
        form = FORM.fullmatch(text)
        found = self._rows("SELECT salt, verifier FROM keys WHERE id = ?", form["id"] if form else "")
        salt, verifier = found[0] if found else (b"", bytes(32))
        if not hmac.compare_digest(_verifier(salt, text), verifier) or form is None:
            return None
        key = self.get(form["id"])
        return None if key.revoked else key

    def get(self, key_id: str) -> Key:
        """Return a key by its id.

        Raises:
            KeyNotFound: there is none.
        """
        found = self._rows("SELECT grants, id, created, revoked FROM keys WHERE id = ?", key_id)
        if not found:
            known = ", ".join(key.id for key in self.all()) or "none"
            raise KeyNotFound(f"no key has the id {key_id!r}. There are: {known}.")
        return _key(*found[0])

    def all(self) -> list[Key]:
        """Return every key, revoked ones too, in the order of their creation."""
        return [_key(*row) for row in self._rows("SELECT grants, id, created, revoked FROM keys ORDER BY created, id")]

    def change(self, key_id: str, **changes: object) -> Key:
        """Give a key other grants.

        Raises:
            KeyNotFound, BadArgument
        """
        key = self.get(key_id)
        grants = Grants(**{one.name: getattr(key, one.name) for one in fields(Grants)})
        changed = replace(grants, **changes)  # type: ignore[arg-type]  # names are those of the command line
        self._do("UPDATE keys SET grants = ? WHERE id = ?", json.dumps(asdict(changed)), key_id)
        return self.get(key_id)

    def revoke(self, key_id: str) -> Key:
        """End a key for good.

        Raises:
            KeyNotFound: there is none.
        """
        self.get(key_id)
        self._do("UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ?", _now(), key_id)
        return self.get(key_id)

    def reserve(self, key: Key, n_tokens: int) -> str | None:
        """Count tokens of today, and return the day; None where the key may not have them, and none is counted."""
        day = _now()[:10]
        self._do("INSERT OR IGNORE INTO usage VALUES (?, ?, 0)", key.id, day)
        n_counted = self._do(
            "UPDATE usage SET tokens = tokens + ?1 WHERE key = ?2 AND day = ?3 AND tokens + ?1 <= ?4",
            n_tokens, key.id, day, key.tokens_per_day,
        )  # fmt: skip
        return day if n_counted else None

    def give_back(self, key: Key, n_tokens: int, day: str) -> None:
        """Take back tokens that were reserved on a day and not used."""
        if n_tokens:
            self._do("UPDATE usage SET tokens = max(0, tokens - ?) WHERE key = ? AND day = ?", n_tokens, key.id, day)

    def used_today(self, key: Key) -> int:
        """Return how many tokens of today are counted."""
        found = self._rows("SELECT tokens FROM usage WHERE key = ? AND day = ?", key.id, _now()[:10])
        return int(found[0][0]) if found else 0

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._reported(), closing(self._database.execute(statement, values)) as cursor:
            return cursor.fetchall()

    def _do(self, statement: str, *values: object) -> int:
        """Return how many rows a statement changed."""
        with self._lock, self._reported(), closing(self._database.execute(statement, values)) as cursor:
            return cursor.rowcount

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise FileNotUsable(f"the keys {self._path} cannot be used ({error}).") from error


def _key(grants: str, key_id: str, created: str, revoked: str | None) -> Key:
    found: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(grants).items()
    }
    return Key(**found, id=key_id, created=created, revoked=revoked)


def _verifier(salt: bytes, text: str) -> bytes:
    return hmac.new(salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
