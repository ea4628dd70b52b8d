"""The nearest known names to a mistyped one, for error messages."""

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str], *, n: int = 3) -> list[str]:
    """Return up to `n` of the known names, nearest first."""
    return difflib.get_close_matches(name, list(known), n=n, cutoff=0.4)


def did_you_mean(name: str, known: Iterable[str], *, n: int = 3) -> str:
    """Return ` Closest: a, b.`, or nothing when no known name is near."""
    near = closest(name, known, n=n)
    return f" Closest: {', '.join(near)}." if near else ""
