"""Contrast pairs: two texts that differ in one concept, from tuples, dictionaries or JSONL files."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rheostat.base.errors import BadArgument, FileNotUsable

_CAA = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
_PAIR = ("positive", "negative", "prompt", "group")
_COLUMNS = tuple(f"{name}s" for name in _PAIR)


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


def as_pairs(asked: Iterable[Any] | Mapping[str, Any]) -> list[ContrastPair]:
    """Return contrast pairs from what other libraries use for them.

    Read are `(positive, negative)`, objects with these two attributes, `{positive, negative}`, the format of
    contrastive activation addition, `{question, answer_matching_behavior, answer_not_matching_behavior}`, whose answers
    are appended to the question, and lists side by side, `{positives, negatives}`. A `prompt` beside a pair, `prompts`
    beside lists, is put before both texts; `group` or `groups`, texts or whole numbers, say what belongs together.
    Other fields may stand beside these and are not read, but for names that look like one of them, which are refused.

    Raises:
        BadArgument: one is none of these, a field's name is mistyped, a text is empty, or both texts are equal; the
            message names its number.
    """
    listed = [asked] if isinstance(asked, Mapping) else asked
    if isinstance(listed, str):
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
        listed = _listed(text)
        return as_pairs(list(_lines(text, path)) if listed is None else listed)
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
    return [found] if found and all(isinstance(one, str) for one in found) else found


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
        _check_names(one, _COLUMNS, "lists side by side have")
        names = [name for name in _PAIR if name in ("positive", "negative") or one.get(f"{name}s")]
        columns = [one[f"{name}s"] for name in names]
        if not all(isinstance(column, list | tuple) for column in columns) or len(set(map(len, columns))) > 1:
            raise BadArgument("positives, negatives, prompts and groups are lists of equal length.")
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _as_pair(asked: Any, number: int) -> ContrastPair:
    fields = _fields(asked, f"pair {number} has")
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


def _fields(asked: Any, who: str) -> tuple[Any, Any, Any] | None:
    """Return (positive, negative, group); None for anything else."""
    if isinstance(asked, Mapping):
        group = _group(asked.get("group", ""))
        if {"positive", "negative"} <= set(asked):
            _check_names(asked, _PAIR, who)
            positive, negative, prompt = asked["positive"], asked["negative"], asked.get("prompt") or ""
            whole = all(isinstance(text, str) for text in (positive, negative, prompt))
            return (prompt + positive, prompt + negative, group) if whole else None
        question, yes, no = (asked.get(name) for name in _CAA)
        if isinstance(question, str) and isinstance(yes, str) and isinstance(no, str):
            _check_names(asked, (*_CAA, "group"), who)
            return question + yes, question + no, group
        return None
    if isinstance(asked, tuple | list):
        return (asked[0], asked[1], "") if len(asked) == 2 else None
    if hasattr(asked, "positive") and hasattr(asked, "negative"):
        return asked.positive, asked.negative, _group(getattr(asked, "group", ""))
    return None


def _check_names(asked: Mapping[Any, Any], known: tuple[str, ...], who: str) -> None:
    """Refuse a field whose name is nearly a known one: what it holds would be lost."""
    for name in map(str, asked):
        if name in known or name[-1:].isdigit():  # group1, positive_2: columns of their own
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.85)
        if near:
            raise BadArgument(f"{who} {name!r}, which is not read. Call it {near[0]!r}, or leave it out.")


def _group(asked: Any) -> Any:
    """Return a number as text; none as the empty group."""
    if asked is None:
        return ""
    return str(asked) if isinstance(asked, int) and not isinstance(asked, bool) else asked
