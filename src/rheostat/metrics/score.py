"""The normalised patching score: how far a value moved from the corrupted run's to the clean run's."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from rheostat.base.errors import BadArgument
from rheostat.metrics.statistics import Values

Numbers: TypeAlias = Values | Sequence[float] | float


def patching_score(values: Numbers, *, clean: Numbers, corrupted: Numbers) -> Values:
    """Return (value − corrupted) / (clean − corrupted): 0 is the corrupted run, 1 the clean one; it may lie outside.

    Args:
        values: of the patched runs, any shape.
        clean: of the clean run of the same prompt, broadcast against `values`.
        corrupted: of the corrupted run of the same prompt, likewise.

    Reference: Wang et al. 2023 (arXiv:2211.00593); Heimersheim and Nanda 2024, How to use and interpret activation
    patching (arXiv:2404.15255).

    Raises:
        BadArgument: clean and corrupted run have the same value, so there is nothing to restore.
    """
    measured, top, bottom = (np.asarray(one, dtype=np.float64) for one in (values, clean, corrupted))
    gap = top - bottom
    if not gap.all():
        raise BadArgument("the clean and the corrupted run have the same value, so no score can lie between them.")
    return np.asarray((measured - bottom) / gap)
