"""Whether the evaluator's record and the owner's audit log tell of the same requests.

Each answer names its line in the log, with the line's hash; the hash covers all lines before it. The line names the
SHA-256 of the request's body, which the evaluator took too, and the receipt's hash; a line before it, of the same body,
says which impairment and draw were asked for.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rheostat.base.errors import FileNotUsable
from rheostat.evaluation.journal import BELOW_FLOOR


@dataclass(frozen=True)
class Agreement:
    """The comparison of a record with an audit log."""

    n_answers: int
    """Answers that stand in both and say the same."""
    n_refusals: int
    """Refusals of a level that stand in both."""
    differing: tuple[str, ...]
    """What the record says and the log does not, or says otherwise."""
    only_log: tuple[int, ...]
    """Lines of the log in which the evaluator's key was answered since the protocol was settled, and of which the
    record knows nothing: what was under way when the evaluator was ended, or what else the key was used for."""

    @property
    def holds(self) -> bool:
        """Whether the log confirms everything in the record."""
        return not self.differing


def compare_logs(content: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> Agreement:
    """Compare a record's content with the lines of an audit log, whose chain was checked before.

    Args:
        content: of the record.
        lines: each with `n`, `hash` and `event`.
    """
    log = _Log(lines)
    wrong = [log.contradicts(answer) for answer in content["answers"]]
    named = Counter((answer["receipt"] or {}).get("line") for answer in content["answers"])
    twice = [f"{n} answers name line {line} of the log" for line, n in named.items() if n > 1 and line is not None]
    refusals = [one for one in content["refusals"] if one["code"] in BELOW_FLOOR]
    unknown = [
        f"the refusal of impairment {one['level']:g} at {one['at']} is not in the log"
        for one in refusals
        if not log.refused(one)
    ]
    known = {(answer["receipt"] or {}).get("line") for answer in content["answers"]}
    keys = {log.by_number[n].get("key") for n in known if n in log.by_number}
    left = [
        n
        for n, line in log.by_number.items()
        if line["event"] == "answered" and line.get("key") in keys - {None} and str(line.get("time")) >= content["at"]
    ]
    return Agreement(
        n_answers=wrong.count(None),
        n_refusals=len(refusals) - len(unknown),
        differing=(*(one for one in wrong if one), *twice, *unknown),
        only_log=tuple(n for n in left if n not in known),
    )


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Return the lines of an audit log, unchecked.

    Raises:
        FileNotUsable: the file is missing, or a line is none of an audit log.
    """
    try:
        texts = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as an audit log ({error}).") from error
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not {"n", "hash", "event"} <= line.keys():
            raise FileNotUsable(f"{path}, line {number}, is no line of an audit log.")
        lines.append(line)
    return lines


class _Log:
    """The lines of a log, found by number and by request."""

    def __init__(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self.by_number = {line["n"]: line for line in lines}
        self._asked: dict[str, list[Mapping[str, Any]]] = {}
        for line in lines:
            self._asked.setdefault(str(line.get("request")), []).append(line)

    def contradicts(self, answer: Mapping[str, Any]) -> str | None:
        """Return what the log says otherwise of an answer; None: it confirms it."""
        receipt = answer["receipt"] or {}
        name = f"item {answer['item']}, draw {answer['draw']} at impairment {answer['level']:g}"
        line = self.by_number.get(receipt.get("line"))
        if line is None:
            return f"{name}: the answer names line {receipt.get('line')}, which the log does not have"
        asked = [
            one
            for one in self._asked.get(answer["request_sha256"], ())
            if one["event"] == "asked" and one["n"] < line["n"]
        ]
        said = asked[-1] if asked else {}
        stated = {
            "line's hash": (receipt["line_hash"], line.get("hash")),
            "event": ("answered", line["event"]),
            "request": (answer["request_sha256"], line.get("request")),
            "receipt": (receipt["hash"], line.get("receipt")),
            "impairment": (answer["level"], said.get("impairment")),
            "draw": (answer["draw"], said.get("draw")),
        }
        wrong = [f"{what} {there}, not {here}" for what, (here, there) in stated.items() if here != there]
        return f"{name}: line {line['n']} of the log has {'; '.join(wrong)}" if wrong else None

    def refused(self, refusal: Mapping[str, Any]) -> bool:
        """Tell whether the log knows a refusal of a level."""
        lines = self._asked.get(refusal["request_sha256"], ())
        return any(
            line["event"] == "refused"
            and line.get("code") in BELOW_FLOOR
            and line.get("impairment") == refusal["level"]
            for line in lines
        )
