"""Two sizes of network trained from nothing on words with a prior: does the larger override it, the smaller not?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean
from rheostat.studies.curve import curve
from rheostat.studies.flipped_labels import episodes
from rheostat.studies.flipped_labels.episodes import SIZES, Size
from rheostat.studies.flipped_labels.settings import SHARES
from rheostat.studies.part import Part
from rheostat.studies.record import Section
from rheostat.studies.study import Context

N_NETWORKS, N_NETWORKS_QUICK = 5, 2
ASKED = 10_000
"""Added to a network's seed: the rows that it is asked are not those that it learnt."""
GUESSING = 0.5


def measure(context: Context) -> pd.DataFrame:
    """Return one row per size, network and share: columns size, network (its seed), share, accuracy."""
    n = N_NETWORKS_QUICK if context.quick else N_NETWORKS
    tables = []
    for size in SIZES:
        for number in context.progress(range(n), f"training {size.name}"):

            def compute(size: Size = size, number: int = number) -> pd.DataFrame:
                seed = context.seed + number
                network = episodes.trained(size, seed=seed)
                asked = [(share, episodes.accuracy(network, share, seed=ASKED + seed)) for share in SHARES]
                found = [{"share": share, "accuracy": right} for share, right in asked]
                return pd.DataFrame(found).assign(size=size.name, network=number)

            params = {**vars(size), "seed": context.seed + number, "torch": torch.__version__, "steps": episodes.STEPS}
            name = f"pair-{size.n_blocks}-{size.width}-{number}"
            tables.append(context.step(name, {**params, "regular": episodes.REGULAR}, compute))
    return pd.concat(tables, ignore_index=True)


def flipped(table: pd.DataFrame, size: Size, share: float = 1.0) -> Values:
    """Return, per network of a size, the accuracy where a share of the labels is flipped."""
    chosen = table[(table["size"] == size.name) & (table["share"] == share)]
    return np.asarray(chosen["accuracy"], dtype=np.float64)


def below_guessing(table: pd.DataFrame, size: Size, seed: int) -> Interval:
    """Return how far the accuracy lies below guessing where all labels are flipped, over networks."""
    return bootstrap_mean(GUESSING - flipped(table, size), seed=seed)


def run(context: Context) -> Part:
    """Train both sizes and show what they do."""
    table = measure(context)
    figure = _figure(table, context.seed)
    section = Section(
        heading="Two sizes of network with a prior",
        text=_describe(table, SIZES),
        figures=(figure.name,),
    )
    return Part((section,), {"trained-pair": table}, (figure,))


def _describe(table: pd.DataFrame, sizes: Sequence[Size]) -> str:
    n = table["network"].nunique()
    each = "; ".join(
        f"{size.name}, "
        + ", ".join(f"{flipped(table, size, share).mean():.2f} at {share:.0%} flipped" for share in SHARES)
        for size in sizes
    )
    return (
        f"Networks trained from nothing on words whose label never changes but in {1 - episodes.REGULAR:.0%} of the "
        f"rows, where all labels are flipped; {n} networks of each size. Accuracy at the {episodes.N_PAIRS}th word "
        f"(labels of the words' own): {each}. The sizes differ in depth and width, and the smaller network has too few "
        "steps of computation for the rule: this shows that the measure finds an override and its absence, and that "
        "size can make the difference. It says nothing of networks trained on text."
    )


def _figure(table: pd.DataFrame, seed: int) -> Profile:
    rows = [row for size in SIZES for row in curve(size.name, _places(table, size), seed)]
    return Profile(
        name="trained-pair",
        title="Two sizes trained from nothing on words with a prior",
        x_label="labels flipped in the demonstrations (%)",
        y_label="accuracy (the words' own labels)",
        table=pd.DataFrame(rows),
        note=f"n = {table['network'].nunique()} networks of each size, 95 % bootstrap intervals over networks.",
        reference={"guessing": GUESSING},
    )


def _places(table: pd.DataFrame, size: Size) -> list[tuple[object, Values]]:
    return [(100 * share, flipped(table, size, share)) for share in SHARES]
