"""`Journal`: every answer and refusal on disk before the next question is asked, so that a killed evaluation goes on.

One line of JSON each, in a file that is only ever appended to. A line that a kill cut short is dropped, and its
question asked again.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from rheostat.base.errors import FileNotUsable
from rheostat.base.files import output_folder
from rheostat.store.key import as_json

BELOW_FLOOR = ("below_floor", "impairment_below_floor")


@dataclass(frozen=True)
class Answer:
    """What an API answered to one item under one draw at one level."""

    level: float
    item: int
    draw: int
    prompt_sha256: str
    text: str
    """What followed the prompt."""
    cut: bool
    """Whether it ended for its length."""
    tokens: int
    """Of prompt and completion together, as the server counted them; 0 where it did not say."""
    request_sha256: str
    """Of the body that was sent, by which the request stands in the owner's audit log."""
    receipt: Any
    """What the server said it did (`rheostat` in its answer); None where it said nothing."""
    at: str
    """When it arrived: UTC, ISO 8601."""


@dataclass(frozen=True)
class Refusal:
    """An answer of the API that was no completion."""

    level: float
    status: int
    code: str
    """The server's name for it; one of `BELOW_FLOOR` where the level may not be asked."""
    message: str
    floor: float | None
    """Of the key, where the server said it."""
    request_sha256: str
    at: str


@dataclass
class Journal:
    """The answers and refusals of one evaluation, in a folder.

    Raises:
        FileNotUsable: the folder cannot be written, another process writes it, or a line in it is damaged.
    """

    folder: Path
    answers: dict[float, dict[tuple[int, int], Answer]] = field(default_factory=dict, init=False)
    """Level → (item, draw) → answer."""
    refusals: list[Refusal] = field(default_factory=list, init=False)
    order: list[Answer] = field(default_factory=list, init=False)
    """All answers as they came."""

    def __post_init__(self) -> None:
        output_folder(self.folder, overwrite=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path = self.folder / "answers.jsonl"
        self._lock = FileLock(self.folder / ".lock")

    def __enter__(self) -> "Journal":
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise FileNotUsable(f"another process is evaluating in {self.folder}. Wait for it, or end it.") from error
        self._path.touch(mode=0o600)
        self._read()
        self._file = self._path.open("ab")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._lock.release()

    @property
    def n_tokens(self) -> int:
        """How many tokens the server counted."""
        return sum(answer.tokens for answer in self.order)

    def keep(self, entry: Answer | Refusal) -> None:
        """Write an entry, and return when the disk has it."""
        kind = "answer" if isinstance(entry, Answer) else "refusal"
        self._file.write((as_json({"kind": kind, **asdict(entry)}, ordered=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._add(entry)

    def _add(self, entry: Answer | Refusal) -> None:
        if isinstance(entry, Refusal):
            self.refusals.append(entry)
        elif (entry.item, entry.draw) not in self.answers.setdefault(entry.level, {}):
            self.answers[entry.level][entry.item, entry.draw] = entry
            self.order.append(entry)

    def _read(self) -> None:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # a kill cut the last line
            with self._path.open("r+b") as file:
                file.truncate(whole)
        for number, line in enumerate(content[:whole].decode("utf-8", "replace").splitlines(), 1):
            self._add(self._entry(number, line))

    def _entry(self, number: int, line: str) -> Answer | Refusal:
        try:
            found: Mapping[str, Any] = json.loads(line)
            shape = {"answer": Answer, "refusal": Refusal}[found["kind"]]
            fields = {name: value for name, value in found.items() if name != "kind"}
            entry: Answer | Refusal = TypeAdapter(shape).validate_python(fields)
        except (ValueError, ValidationError, KeyError, TypeError) as error:
            raise FileNotUsable(f"{self._path}, line {number}, is damaged. Begin anew in another folder.") from error
        return entry
