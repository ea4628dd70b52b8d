"""`Evaluation`: the result, as a value; and the JSON that is signed, from which all its numbers follow again."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import groupby
from typing import Any, Literal

from rheostat.evaluation.journal import Journal, Refusal
from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.rule import Outcome, Point, judge
from rheostat.evaluation.scoring import is_right
from rheostat.evaluation.settled import Settled
from rheostat.store.key import digest
from rheostat.tasks.item import Task

FORMAT = "rheostat evaluation 1"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    points: tuple[Point, ...]
    """One per level of which every answer is there, in the order in which they were asked."""
    outcome: Outcome
    content: Mapping[str, Any]
    """The record as JSON: what was settled, points, outcome, refusals, and of each answer all but its text."""

    @property
    def refused_at(self) -> float | None:
        """The level that the server last refused, where that ended the walk."""
        level = self.content["refusals"][-1]["level"] if self.outcome.ended == "refused" else None
        return None if level is None else float(level)

    @property
    def sha256(self) -> str:
        """Of the canonical JSON: what is signed."""
        return digest(self.content)


def evaluation_of(
    settled: Settled,
    journal: Journal,
    task: Task,
    protocol: Protocol,
    stopped: Literal["refused", "budget"] | None,
) -> Evaluation:
    """Return the evaluation that a journal holds. The same journal gives the same record, byte by byte."""
    groups = [item.group for item in task.items]
    answers = [
        {
            "level": answer.level,
            "item": answer.item,
            "draw": answer.draw,
            "right": is_right(answer.text, task.items[answer.item].answer, cut=answer.cut),
            "tokens": answer.tokens,
            "prompt_sha256": answer.prompt_sha256,
            "text_sha256": sha256(answer.text.encode()).hexdigest(),
            "request_sha256": answer.request_sha256,
            "receipt": _stub(answer.receipt),
            "at": answer.at,
        }
        for answer in journal.order
    ]
    points, outcome = judge(right_by_level(answers), groups, protocol, stopped)
    content = {
        "format": FORMAT,
        **asdict(settled),
        "groups": _numbered(groups),
        "points": [asdict(point) for point in points],
        "outcome": {**asdict(outcome), "rise": None if outcome.rise is None else list(outcome.rise)},
        "refusals": _counted(journal.refusals),
        "answers": answers,
        "tokens": journal.n_tokens,
        "ended_at": max([settled.at, *(one.at for one in journal.order), *(one.at for one in journal.refusals)]),
        "versions": {"rheostat": importlib.metadata.version("rheostat")},
    }
    return Evaluation(tuple(points), outcome, content)


def right_by_level(answers: list[dict[str, Any]]) -> dict[float, dict[tuple[int, int], bool]]:
    """Return level → (item, draw) → whether the answer is right, of the answers of a record."""
    found: dict[float, dict[tuple[int, int], bool]] = {}
    for answer in answers:
        found.setdefault(float(answer["level"]), {})[int(answer["item"]), int(answer["draw"])] = bool(answer["right"])
    return found


def _stub(receipt: Any) -> dict[str, Any] | None:
    """Return of a receipt what finds it in the owner's audit log: its hash, and the line that it names."""
    if not isinstance(receipt, dict):
        return None
    place = receipt.get("audit")
    line = place if isinstance(place, dict) else {}
    return {"hash": receipt.get("hash"), "line": line.get("n"), "line_hash": line.get("hash")}


def _counted(refusals: list[Refusal]) -> list[dict[str, Any]]:
    """Return refusals in order; equal ones that follow each other are one, with their number."""
    found = []
    for _, same in groupby(refusals, key=lambda one: (one.level, one.status, one.code, one.floor)):
        first, *others = same
        found.append({**asdict(first), "n": 1 + len(others)})
    return found


def _numbered(groups: list[str]) -> list[str]:
    """Return groups by number: their names may say what the questions are about."""
    numbers = {group: str(number) for number, group in enumerate(dict.fromkeys(filter(None, groups)), 1)}
    return [numbers.get(group, "") for group in groups]
