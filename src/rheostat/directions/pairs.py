"""Contrast pairs: two texts that differ in one concept, from tuples, dictionaries or JSONL files."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rheostat.base.errors import BadArgument, FileNotUsable

_CAA = ("question", "answer_matching_behavior", "answer_not_matching_behavior")


@dataclass(frozen=True)
class ContrastPair:
    """A text with more of the concept and one with less."""

    positive: str
    negative: str
    group: str = ""
    """What must not be split between fitting and testing, such as the country a statement is about; empty: the pair
    itself."""


PairLike: TypeAlias = "ContrastPair | tuple[str, str] | Mapping[str, Any]"
"""A pair, a tuple (positive, negative), or a dictionary in one of the formats of `as_pairs`."""


def as_pairs(asked: Iterable[PairLike]) -> list[ContrastPair]:
    """Return contrast pairs from what other libraries use for them.

    Read are `(positive, negative)`, objects with these two attributes, `{positive, negative}`, and the format of
    contrastive activation addition, `{question, answer_matching_behavior, answer_not_matching_behavior}`, whose answers
    are appended to the question. `group` may stand beside them.

    Raises:
        BadArgument: one is none of these, a text is empty, or both texts are equal; the message names its number.
    """
    pairs = [_as_pair(one, number) for number, one in enumerate(asked)]
    if not pairs:
        raise BadArgument("no pairs were given. A pair is (text with more of the concept, text with less).")
    return pairs


def read_pairs(path: str | Path) -> list[ContrastPair]:
    """Read pairs from a JSONL file: one dictionary or `[positive, negative]` per line; see `as_pairs`.

    Raises:
        FileNotUsable: the file cannot be read, or a line is no JSON.
        BadArgument: a line is no pair.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as pairs: {error}") from error
    found: list[Any] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise FileNotUsable(
                    f"{path}, line {number} is no JSON ({error.msg}). Each line holds one pair."
                ) from error
    return as_pairs(found)


def _as_pair(asked: Any, number: int) -> ContrastPair:
    fields = _fields(asked)
    if fields is None or not all(isinstance(one, str) for one in fields):
        raise BadArgument(
            f"pair {number} is {asked!r}. Give (positive, negative), {{'positive': …, 'negative': …}}, or "
            "{'question': …, 'answer_matching_behavior': …, 'answer_not_matching_behavior': …}."
        )
    positive, negative, group = fields
    if not positive or not negative:
        raise BadArgument(f"pair {number} has an empty text: {positive!r} against {negative!r}.")
    if positive == negative:
        raise BadArgument(f"pair {number}: both texts are {positive!r}, so they show no difference.")
    return ContrastPair(positive, negative, group)


def _fields(asked: Any) -> tuple[Any, Any, Any] | None:
    """Return (positive, negative, group); None for anything else."""
    if isinstance(asked, Mapping):
        group = asked.get("group", "")
        if {"positive", "negative"} <= set(asked):
            return asked["positive"], asked["negative"], group
        question, yes, no = (asked.get(name) for name in _CAA)
        if isinstance(question, str) and isinstance(yes, str) and isinstance(no, str):
            return question + yes, question + no, group
        return None
    if isinstance(asked, tuple | list):
        return (asked[0], asked[1], "") if len(asked) == 2 else None
    if hasattr(asked, "positive") and hasattr(asked, "negative"):
        return asked.positive, asked.negative, getattr(asked, "group", "")
    return None
