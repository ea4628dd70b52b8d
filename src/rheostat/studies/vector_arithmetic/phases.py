"""Orders over blocks: which of two tokens leads, is ahead or peaks first, and the same with the blocks shuffled."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rheostat.metrics.statistics import Values

SHUFFLES = 100
HIGH = 100
Order = Callable[[Values, Values], Values]


def takeover(ranks: Values) -> NDArray[np.int64]:
    """Return, per prompt, the first block at which a token leads; the number of blocks where it never does.

    Args:
        ranks: (prompt, block), 1 the likeliest.
    """
    leads = ranks == 1
    found: NDArray[np.int64] = np.where(leads.any(axis=1), leads.argmax(axis=1), ranks.shape[1])
    return found


def leads_before(argument: Values, answer: Values) -> Values:
    """Return, per prompt, 1 where the argument leads at some block before the answer first does, else 0.

    Where the answer never leads it is 0: there is nothing to be before.
    """
    first, second = takeover(argument), takeover(answer)
    return np.asarray((first < second) & (second < answer.shape[1]), dtype=np.float64)


def peaks_before(argument: Values, answer: Values) -> Values:
    """Return, per prompt, 1 where the argument's best rank is reached at an earlier block, 1/2 at the same, else 0."""
    difference = answer.argmin(axis=1) - argument.argmin(axis=1)
    return np.asarray((np.sign(difference) + 1) / 2, dtype=np.float64)


def ahead_at_first(argument: Values, answer: Values) -> Values:
    """Return, per prompt, 1 where the argument ranks above the answer at the first block that ranks one of both high.

    High is among the best `HIGH`. 1/2 where they tie there, or where neither ever ranks so high.
    """
    seen = np.minimum(argument, answer) <= HIGH
    first, rows = seen.argmax(axis=1), np.arange(len(seen))
    ahead = (np.sign(answer[rows, first] - argument[rows, first]) + 1) / 2
    return np.asarray(np.where(seen.any(axis=1), ahead, 0.5), dtype=np.float64)


def shuffled(order: Order, argument: Values, answer: Values, seed: int) -> Values:
    """Return the mean of an order per prompt over draws in which the blocks are shuffled, the same way for both."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(argument.shape[1]) for _ in range(SHUFFLES)]
    return np.asarray(np.mean([order(argument[:, one], answer[:, one]) for one in drawn], axis=0))


def stays(answer: Values) -> Values:
    """Return 1 where the answer leads at every block from its takeover on, else 0; of prompts where it can tell.

    An answer that first leads at the last block has no block to stay for, and one that never leads none to stay from:
    such prompts are left out.
    """
    first = takeover(answer)
    known = first < answer.shape[1] - 1
    kept = [bool((row[start:] == 1).all()) for row, start in zip(answer[known], first[known], strict=True)]
    return np.asarray(kept, dtype=np.float64)
