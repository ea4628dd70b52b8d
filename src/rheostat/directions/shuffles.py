"""Labels in chance order, as freely as groups of near-copies allow: the null that a control is drawn from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shuffled_by_group(
    labels: NDArray[Any], groups: NDArray[np.int64], *, n: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Return labels (shuffle, text) in chance order.

    Texts of one group with one label may be near-copies, and then they are one observation: where any group holds two
    such texts, they keep together. Groups of one label exchange it with other such groups; in groups of several labels
    these change places. Where no group holds two texts of a label, labels are permuted text by text.

    Args:
        labels: one per text, whole numbers or truth values.
        groups: the number of each text's group.
        n: how many shuffles.
        rng: the source of chance; it moves on.
    """
    pairs = np.stack([groups, labels.astype(np.int64)])
    _, first, member = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    own, group = labels[first], groups[first]
    alone = np.bincount(group)[group] == 1
    among = np.where(alone, -1, group)  # labels change places among those with the same number
    places = np.argsort(among, kind="stable")
    found = np.empty((n, len(labels)), dtype=labels.dtype)
    for row in found:
        if len(own) == len(labels):
            row[:] = rng.permutation(labels)
            continue
        drawn = np.empty_like(own)
        drawn[places] = own[np.lexsort((rng.random(len(own)), among))]
        row[:] = drawn[member.ravel()]
    return found
