"""Where the time of a run goes, by the file whose code, and whose tensor operations, take it."""

import cProfile
import pstats
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

PRODUCTS = "matrix products of the blocks"
UNEMBEDDING = "unembedding"
PLACES: Mapping[str, tuple[str, ...]] = {
    PRODUCTS: ("torch/nn/modules/linear.py",),
    "attention": ("integrations/sdpa_attention.py", "integrations/eager_paged.py", "integrations/eager.py"),
    "norms, rotary embedding, activation function": (
        "transformers/models/",
        "transformers/activations.py",
        "torch/nn/",
    ),
    "masks": ("transformers/masking_utils.py",),
    "keys and values": ("transformers/cache_utils.py", "engine/prefix.py"),
    "hooks and rows that join": ("engine/branch.py", "engine/taps.py", "engine/departure.py"),
    "cells and plans": ("engine/cells.py", "engine/binding.py", "engine/schedule.py", "engine/program.py", "edit/"),
    "the rest of rheostat": ("rheostat/", "bench/"),
}
"""Place → parts of paths; the first that fits counts."""
OTHER = "everything else in Python"


def where_time_goes(run: Callable[[], Any], unembedding: nn.Module) -> dict[str, float]:
    """Return place → seconds of one profiled run, which is slower than others: each Python call is charged for.

    A built-in, such as a matrix product, counts for the file that calls it; the unembedding is timed by itself, which
    says nothing of an accelerator.
    """
    with _timed(unembedding) as unembedded, cProfile.Profile() as profile:
        run()
    spent: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, _, _), (_, _, own, _, callers) in stats.stats.items():
        if file == "~" and callers:
            for (caller, _, _), (_, _, own_from_there, _) in callers.items():
                spent[_place(caller)] += own_from_there
        else:
            spent[_place(file)] += own
    spent[UNEMBEDDING] = sum(unembedded)
    spent[PRODUCTS] -= spent[UNEMBEDDING]
    return {place: spent[place] for place in [UNEMBEDDING, *PLACES, OTHER]}


@contextmanager
def _timed(module: nn.Module) -> Iterator[list[float]]:
    """Collect the seconds of each call of a module."""
    started: list[float] = []
    seconds: list[float] = []
    before = module.register_forward_pre_hook(lambda *_arguments: started.append(time.perf_counter()))
    after = module.register_forward_hook(lambda *_arguments: seconds.append(time.perf_counter() - started[-1]))
    try:
        yield seconds
    finally:
        before.remove()
        after.remove()


def _place(file: str) -> str:
    path = file.replace("\\", "/")
    return next((place for place, parts in PLACES.items() if any(part in path for part in parts)), OTHER)
