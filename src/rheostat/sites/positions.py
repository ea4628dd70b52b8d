"""Which tokens: `Positions`, always counted in the row's own tokens (special tokens included), never in pads."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, cast

from rheostat.base.errors import AmbiguousPosition, BadArgument, NeedsTokenizer, PositionNotFound
from rheostat.models.tokens import Row

PositionsLike: TypeAlias = "str | int | slice | Sequence[int] | Positions"
"""What an argument `positions` accepts; see `Positions.parse`."""

Keyword: TypeAlias = Literal["all", "prompt", "generated", "last"]
_KEYWORDS: dict[str, Keyword] = {"all": "all", "prompt": "prompt", "generated": "generated", "last": "last"}


@dataclass(frozen=True)
class Positions:
    """Which tokens of a row.

    `all`: every token, generated ones too. `prompt`: the prompt's. `generated`: those that the model wrote, or the
    first few of them. `last`: the prompt's last. `index`, `indices`, `slice`: counted within the prompt, negative ones
    from its end. `substring`: the prompt's tokens that cover a text.
    """

    kind: Literal["all", "prompt", "generated", "last", "index", "indices", "slice", "substring"]
    value: Any = None
    """Index: int; indices: tuple of int; slice: (start, stop, step); substring: str; generated: None or how many."""

    @classmethod
    def parse(cls, asked: PositionsLike) -> "Positions":
        """Read a keyword, an index, a slice, several indices, or a substring of the prompt.

        A text other than the four keywords is a substring; for a substring that is spelled like a keyword, write
        `Positions.substring("last")`.
        """
        if isinstance(asked, Positions):
            return asked
        if isinstance(asked, str):
            if asked == "":
                raise BadArgument("positions='' names no token. Use 'all', 'last', an index, a slice or a substring.")
            return cls(_KEYWORDS[asked]) if asked in _KEYWORDS else cls("substring", asked)
        if isinstance(asked, slice):
            if asked.step == 0:
                raise BadArgument("positions: the step of a slice is not 0.")
            return cls("slice", (asked.start, asked.stop, asked.step))
        if isinstance(asked, Sequence):
            return cls("indices", tuple(map(_as_index, asked)))
        return cls("index", _as_index(asked))

    @classmethod
    def substring(cls, text: str) -> "Positions":
        """The tokens that cover `text`, also where it is spelled like a keyword."""
        return cls("substring", text)

    @classmethod
    def generated(cls, first: int) -> "Positions":
        """The first so many tokens that the model writes.

        Raises:
            BadArgument: fewer than one.
        """
        if _as_index(first) < 1:
            raise BadArgument(f"positions: the first {first} generated tokens are none. Give at least 1.")
        return cls("generated", _as_index(first))

    @property
    def reaches_generated(self) -> bool:
        """Whether tokens that the model writes are meant too."""
        return self.kind in ("all", "generated")

    def in_prompt(self, row: Row) -> tuple[int, ...]:
        """Return the positions within a prompt, ascending for keywords and slices, in the order given for indices.

        Raises:
            PositionNotFound: an index is outside the row, or the substring does not occur.
            AmbiguousPosition: the substring occurs several times.
        """
        if self.kind == "substring":
            return _covering(row, self.value)
        return self.in_length(len(row))

    def in_length(self, n: int) -> tuple[int, ...]:
        """Return the positions within a prompt of `n` tokens; substrings need the row itself (`in_prompt`)."""
        match self.kind:
            case "all" | "prompt":
                return tuple(range(n))
            case "generated":
                return ()
            case "last":
                return (n - 1,)
            case "slice":
                found = tuple(range(n)[slice(*self.value)])
                if not found:
                    raise PositionNotFound(f"the slice {self} is empty in a row of {n} tokens.")
                return found
            case "index":
                return (_inside(self.value, n),)
            case "indices":
                if not self.value:
                    raise PositionNotFound("positions=[] names no token.")
                return tuple(_inside(index, n) for index in self.value)
        raise BadArgument(f"the substring {self.value!r} can only be found in a prompt that was given as text.")

    def to_json(self) -> object:
        """Return a JSON value that `from_json` reads back."""
        if self._is_keyword:
            return self.kind
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {self.kind: value}

    @classmethod
    def from_json(cls, data: object) -> "Positions":
        """Read what `to_json` wrote.

        Raises:
            BadArgument: it is something else.
        """
        if isinstance(data, str) and data in _KEYWORDS:
            return cls(_KEYWORDS[data])
        if isinstance(data, dict) and len(data) == 1:
            ((kind, value),) = data.items()
            if kind == "substring" and isinstance(value, str) and value:
                return cls("substring", value)
            if kind == "generated" and isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return cls.generated(value)
            if kind == "index" and isinstance(value, int):
                return cls("index", value)
            if kind == "indices" and isinstance(value, list) and all(isinstance(one, int) for one in value):
                return cls("indices", tuple(value))
            if kind == "slice" and _is_slice(value):
                return cls.parse(slice(*value))
        raise BadArgument(
            f'{data!r} names no positions: one of {", ".join(_KEYWORDS)}, or {{"index": 3}} and the like.'
        )

    @property
    def _is_keyword(self) -> bool:
        return self.kind in _KEYWORDS and self.value is None

    def __str__(self) -> str:
        if self._is_keyword:
            return self.kind
        if self.kind == "generated":
            return f"first {self.value} generated"
        if self.kind == "slice":
            start, stop, step = ("" if one is None else str(one) for one in self.value)
            return f"[{start}:{stop}{':' + step if step else ''}]"
        return repr(self.value)


def _as_index(asked: object) -> int:
    """Return an integer, numpy's too."""
    try:
        if not isinstance(asked, bool):
            return operator.index(cast(SupportsIndex, asked))
    except TypeError:
        pass
    raise BadArgument(f"positions: {asked!r} is no keyword, index, slice, list of indices or substring.")


def _is_slice(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(one is None or isinstance(one, int) for one in value)


def _inside(index: int, n: int) -> int:
    if not -n <= index < n:
        raise PositionNotFound(f"position {index} does not exist in a row of {n} tokens (0 to {n - 1}, or -{n} to -1).")
    return index % n


def _covering(row: Row, text: str) -> tuple[int, ...]:
    if row.text is None or row.offsets is None:
        raise NeedsTokenizer(f"the substring {text!r} can only be found in a text, tokenized by a fast tokenizer.")
    starts = [start for start in range(len(row.text)) if row.text.startswith(text, start)]
    if not starts:
        raise PositionNotFound(f"the prompt does not contain {text!r}: {row.text!r}")
    if len(starts) > 1:
        places = "; ".join(f"…{row.text[max(0, s - 12) : s + len(text) + 12]}… at character {s}" for s in starts)
        raise AmbiguousPosition(f"{text!r} occurs {len(starts)} times: {places}. Give a longer text, or an index.")
    first, last = starts[0], starts[0] + len(text)
    return tuple(i for i, (a, b) in enumerate(row.offsets) if a < last and b > first and b > a)
