"""Whether the evaluator's record and the owner's audit log tell of the same requests."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheostat.base.errors import FileNotUsable


@dataclass(frozen=True)
class Agreement:
    """The comparison of a record with an audit log."""

    n_both: int
    """Requests that stand in both and say the same."""
    differing: tuple[str, ...]
    """Requests that stand in both and say something else, each with what differs."""
    only_record: tuple[str, ...]
    """Requests of the record that the log does not know."""
    only_log: tuple[str, ...]
    """Completions that the log gave this evaluator in that time and the record does not know."""

    @property
    def holds(self) -> bool:
        """Whether both tell of the same requests."""
        return not (self.differing or self.only_record)


def compare_logs(content: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> Agreement:
    """Compare a record's content with the entries of an audit log.

    An answer and an entry are one request where they carry the same `request_id`. They agree where impairment, draw and
    success do. A refusal of the record must stand in the log as one. The log may know completions that the record does
    not: those that were under way when the evaluator was killed.

    Args:
        content: of the record.
        entries: of the log, each with `request_id`; with `impairment`, `draw`, `status` and `key` where it has them.
    """
    logged = {str(entry["request_id"]): entry for entry in entries if entry.get("request_id")}
    asked = [_asked(one, 200) for one in content["answers"]]
    asked += [_asked(one, int(one["status"])) for one in content["refusals"] if one["request_id"]]
    both, differing, only_record = 0, [], []
    for request, values in asked:
        if request not in logged:
            only_record.append(request)
            continue
        entry = logged[request]
        wrong = [
            f"{name}: {value} in the record, {entry[name]} in the log"
            for name, value in values.items()
            if name in entry and entry[name] is not None and entry[name] != value
        ]
        both += not wrong
        differing += [f"{request}: {'; '.join(wrong)}"] if wrong else []
    known = {request for request, _ in asked}
    keys = {logged[request].get("key") for request in known & logged.keys()}
    left = [
        request
        for request, entry in logged.items()
        if request not in known and entry.get("key") in keys and entry.get("status") == 200 and "impairment" in entry
    ]
    return Agreement(both, tuple(differing), tuple(only_record), tuple(left))


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Return the entries of an audit log in a JSONL file.

    Raises:
        FileNotUsable: the file is missing, or a line is no entry.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as an audit log ({error}).") from error
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise FileNotUsable(f"{path}, line {number}, is no entry of an audit log.")
        entries.append(entry)
    return entries


def _asked(one: Mapping[str, Any], status: int) -> tuple[str, dict[str, Any]]:
    """Return a request's number, and what the log must say of it."""
    values = {"impairment": one["level"], "draw": one.get("draw"), "status": status}
    return str(one["request_id"]), {name: value for name, value in values.items() if value is not None}
