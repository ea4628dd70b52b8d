"""Contrast pairs: two texts that differ in one concept, from tuples, dictionaries or JSONL files."""

import json
from collections.abc import Iterable, Iterator, Mapping
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


def as_pairs(asked: "Iterable[PairLike] | Mapping[str, Any]") -> list[ContrastPair]:
    """Return contrast pairs from what other libraries use for them.

    Read are `(positive, negative)`, objects with these two attributes, `{positive, negative}`, the format of
    contrastive activation addition, `{question, answer_matching_behavior, answer_not_matching_behavior}`, whose answers
    are appended to the question, and lists side by side, `{positives, negatives}`, with `prompts` put before both texts
    where given. A text or whole number `group` may stand beside the texts of a pair.

    Raises:
        BadArgument: one is none of these, a text is empty, or both texts are equal; the message names its number.
    """
    listed = [asked] if isinstance(asked, Mapping) else asked
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise BadArgument(f"{listed!r} is no list of pairs. A pair is (text with more of the concept, text with less).")
    pairs = [_as_pair(one, number) for number, one in enumerate(_one_by_one(listed))]
    if not pairs:
        raise BadArgument("no pairs were given. A pair is (text with more of the concept, text with less).")
    return pairs


def read_pairs(path: str | Path) -> list[ContrastPair]:
    """Read pairs from a JSONL file, one dictionary or `[positive, negative]` per line, or from one JSON list of these.

    Raises:
        FileNotUsable: the file cannot be read, or a line is no JSON.
        BadArgument: a line is no pair; see `as_pairs`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileNotUsable(f"{path} cannot be read as pairs: {error}") from error
    try:
        return as_pairs(_listed(text) or list(_lines(text, path)))
    except BadArgument as error:
        raise BadArgument(f"{path}: {error}") from error


def _listed(text: str) -> list[Any] | None:
    """Return the entries of a file that is one JSON list; None for any other."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError:  # several lists, one per line
        return None
    return [found] if all(isinstance(one, str) for one in found) else found


def _lines(text: str, path: str | Path) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):  # other breaks may stand inside a JSON text
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise FileNotUsable(
                    f"{path}, line {number} is no JSON ({error.msg}). Each line holds one pair."
                ) from error


def _one_by_one(asked: Iterable[Any]) -> Iterator[Any]:
    """Yield pair by pair, taking lists that stand side by side apart."""
    for one in asked:
        if not isinstance(one, Mapping) or not {"positives", "negatives"} <= set(one):
            yield one
            continue
        columns = [one["positives"], one["negatives"]]
        if one.get("prompts"):
            columns.append(one["prompts"])
        if not all(isinstance(column, list | tuple) for column in columns) or len(set(map(len, columns))) > 1:
            raise BadArgument("positives, negatives and prompts are lists of equal length.")
        for positive, negative, *prompt in zip(*columns, strict=True):
            texts = (positive, negative, *prompt)
            start = "".join(prompt) if all(isinstance(text, str) for text in texts) else ""
            yield (start + positive, start + negative) if start else (positive, negative)


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
        group = _group(asked.get("group", ""))
        if {"positive", "negative"} <= set(asked):
            return asked["positive"], asked["negative"], group
        question, yes, no = (asked.get(name) for name in _CAA)
        if isinstance(question, str) and isinstance(yes, str) and isinstance(no, str):
            return question + yes, question + no, group
        return None
    if isinstance(asked, tuple | list):
        return (asked[0], asked[1], "") if len(asked) == 2 else None
    if hasattr(asked, "positive") and hasattr(asked, "negative"):
        return asked.positive, asked.negative, _group(getattr(asked, "group", ""))
    return None


def _group(asked: Any) -> Any:
    """Return a number as text; none as the empty group."""
    if asked is None:
        return ""
    return str(asked) if isinstance(asked, int) and not isinstance(asked, bool) else asked
