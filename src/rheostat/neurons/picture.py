"""A ranking's cluster as a table and as a figure, block by block."""

import pandas as pd
import torch

from rheostat.base.shapes import Grid
from rheostat.neurons.ranking import Ranking

MOST_DRAWN = 24
"""Units of a block that are drawn."""


def cluster_table(ranking: Ranking, share: float) -> pd.DataFrame:
    """Return the cluster's units, the highest of each block first: rows {block, place, unit, score, standard_score}.

    The standard score is the score less the block's mean, in standard deviations of the block's scores; scores of
    different blocks are not comparable otherwise.
    """
    rows = []
    for block, units in ranking.top(share).units.items():
        scores = ranking.scores[block]
        spread = float(scores.std(correction=0))
        standard = (scores - scores.mean()) / spread if spread > 0 else scores * 0
        ordered = [units[place] for place in torch.argsort(-scores[list(units)], stable=True).tolist()]
        rows += [
            (block, place, unit, float(scores[unit]), float(standard[unit])) for place, unit in enumerate(ordered, 1)
        ]
    return pd.DataFrame(rows, columns=["block", "place", "unit", "score", "standard_score"])


def cluster_grid(ranking: Ranking, share: float) -> Grid:
    """Return the figure: the highest units of every block, numbered, coloured by how far they stand out in it."""
    table = cluster_table(ranking, share)
    drawn = table[table["place"] <= MOST_DRAWN]
    left_out = f" The first {MOST_DRAWN} of each block are drawn." if len(drawn) < len(table) else ""
    return Grid(
        name="cluster",
        title=f"Units of {ranking.topic} by {ranking.method}: {ranking.kind} of {ranking.model}",
        x_label="place in the block",
        y_label="block",
        value_label="standard deviations above the block's mean score",
        table=pd.DataFrame(
            {
                "x": drawn["place"],
                "y": drawn["block"],
                "value": drawn["standard_score"],
                "text": drawn["unit"].astype(str),
            }
        ),
        note=f"{len(table)} units, {100 * share:g} % of each block; the number in a cell is the unit's.{left_out}",
    )
