"""How far clusters share their units: the Jaccard index, of all blocks together and block by block."""

from collections.abc import Mapping
from itertools import combinations

import pandas as pd

from rheostat.base.errors import ClusterNotUsable
from rheostat.base.shapes import Profile
from rheostat.neurons.cluster import Cluster


def jaccard(first: Cluster, second: Cluster) -> float:
    """Return |both| / |either|, 0 to 1, over the units of all blocks.

    Raises:
        ClusterNotUsable: they hold units of different sites, or of different networks.
    """
    _check(first, second)
    own, other = ({(block, unit) for block, units in one.units.items() for unit in units} for one in (first, second))
    return len(own & other) / len(own | other)


def overlaps(clusters: Mapping[str, Cluster]) -> pd.DataFrame:
    """Return the Jaccard index of every two clusters in every block: rows {first, second, block, jaccard}.

    Raises:
        ClusterNotUsable: two hold units of different sites, or of different networks.
    """
    rows = []
    for (first, own), (second, other) in combinations(clusters.items(), 2):
        _check(own, other)
        for block in sorted(set(own.units) & set(other.units)):
            here, there = set(own.units[block]), set(other.units[block])
            rows.append((first, second, block, len(here & there) / len(here | there)))
    return pd.DataFrame(rows, columns=["first", "second", "block", "jaccard"])


def overlap_profile(
    families: Mapping[str, Mapping[str, Cluster]], *, name: str = "cluster-overlap", note: str = ""
) -> Profile:
    """Return a figure of how far the clusters of a family share units, block by block: the mean over pairs.

    Args:
        families: name of a line (a ranking; `random` as the control) → clusters, two or more.
        name: of the figure.
        note: below it.
    """
    rows = [
        {"x": block, "value": float(own["jaccard"].mean()), "series": family}
        for family, clusters in families.items()
        for block, own in overlaps(clusters).groupby("block")
    ]
    return Profile(
        name=name,
        title="How far clusters share their units, by block",
        x_label="block",
        y_label="Jaccard index, mean over pairs of clusters",
        table=pd.DataFrame(rows),
        note=note,
    )


def _check(first: Cluster, second: Cluster) -> None:
    if (first.kind, first.weights) != (second.kind, second.weights):
        raise ClusterNotUsable(
            f"{first.label} holds units of {first.kind} of {first.model}, {second.label} of {second.kind} of "
            f"{second.model}: they share none."
        )
