"""Where the time of a run goes, by the file whose code, and whose tensor operations, take it."""

import cProfile
import pstats
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

PLACES: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("torch/nn/modules/linear.py",),
    "attention": ("integrations/sdpa_attention.py", "integrations/eager_paged.py", "integrations/eager.py"),
    "norms, rotary embedding, activation function": ("transformers/models/", "transformers/activations.py", "torch/nn/"),
    "masks": ("transformers/masking_utils.py",),
    "keys and values": ("transformers/cache_utils.py", "engine/prefix.py"),
    "hooks and rows that join": ("engine/branch.py", "engine/taps.py", "engine/departure.py"),
    "cells and plans": ("engine/cells.py", "engine/binding.py", "engine/schedule.py", "engine/program.py", "edit/"),
    "the rest of rheostat": ("rheostat/", "bench/"),
}
"""Place → parts of paths; the first that fits counts."""
OTHER = "everything else in Python"


def where_time_goes(run: Callable[[], Any]) -> dict[str, float]:
    """Return place → seconds of one profiled run, which is slower than others: each Python call is charged for.

    A built-in, such as a matrix product, counts for the file that calls it.
    """
    with cProfile.Profile() as profile:
        run()
    spent: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, callers) in stats.stats.items():
        if file == "~" and callers:
            for (caller, _, _), (_, _, own_from_there, _) in callers.items():
                spent[_place(caller)] += own_from_there
        else:
            spent[_place(file)] += own
    return {place: spent[place] for place in [*PLACES, OTHER] if spent[place]}


def _place(file: str) -> str:
    path = file.replace("\\", "/")
    return next((place for place, parts in PLACES.items() if any(part in path for part in parts)), OTHER)
