"""Rotary positions whose frequencies depend on the longest row of a pass: up to which length no row changes another.

transformers takes one set of frequencies for a whole pass. For the types `dynamic` and `longrope` the set depends on
the largest position in it, so that a long row gives the short ones beside it other numbers than they have alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


def steady_length(module: nn.Module) -> int | None:
    """Return how many tokens rows may have for all to have the frequencies that they have alone; None: any number."""
    return min((length for part in module.modules() for length in _lengths(part)), default=None)


def changes_with_length(part: nn.Module) -> bool:
    """Tell whether a module itself, not one inside it, sets its frequencies anew by the longest row of a pass."""
    return any(True for _ in _lengths(part))


def _lengths(part: Any) -> Iterator[int]:
    found = getattr(part, "rope_type", None)
    by_layer = isinstance(found, Mapping)
    for layer, kind in found.items() if isinstance(found, Mapping) else [(None, found)]:
        if isinstance(kind, str) and "dynamic" in kind:
            yield int(part.original_max_seq_len) - 1  # a row of just that length keeps what a longer one left behind
        elif kind == "longrope":
            parameters = part.config.rope_parameters
            yield int((parameters[layer] if by_layer else parameters)["original_max_position_embeddings"])
