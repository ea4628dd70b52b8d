"""Pictures of hypothesis B: own topic less others, the rises behind it, and the units that topics share."""

import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.neurons.overlap import overlap_profile
from rheostat.studies.impairment.found_clusters import RANDOM
from rheostat.studies.impairment.matched_damage import Measured

SHORT = {
    "attribution": "attribution",
    "attribution_difference": "attr.diff",
    "activation_difference": "act.diff",
    "indirect_effect": "indirect",
    "predictivity": "predict",
    RANDOM: "random",
}
"""Names of rankings in figures."""


def specificity_figure(one: Measured, table: pd.DataFrame, number_of: int) -> Figure:
    """Return how much more the own topic suffers, by ranking and mode."""
    here = table[(table["model"] == one.model) & (table["kind"] == one.kind)]
    cells = pd.DataFrame(
        {
            "x": here["mode"],
            "y": here["ranking"].map(SHORT),
            "value": here["own_less_others"] - here["random"],
            "text": [
                f"{row['own_less_others'] - row['random']:.2f}{'' if row['low'] <= 0 <= row['high'] else ' *'}"
                for row in here.to_dict("records")
            ],
        }
    )
    return Grid(
        name=f"specificity-{number_of}",
        title=f"Own topic less others, beyond random: {one.label}",
        x_label="mode",
        y_label="ranking",
        value_label="nats",
        table=cells,
        centre=0.0,
        note="Rise of the loss on the topic's own prompts less the mean of the others', mean over topics, at matched "
        "overall damage where the mode reaches it; minus random clusters of equal size. *: the 95 % bootstrap interval "
        f"over {here['n_articles'].iloc[0]} articles and the random clusters excludes 0.",
    )


def rises_figure(one: Measured, rises: pd.DataFrame, number_of: int) -> Figure:
    """Return what damage to each cluster does to each topic's prompts."""
    here = rises[rises["where"] == one.label]
    cells = pd.DataFrame(
        {
            "x": here["mode"].str[:5] + " " + here["prompts"].str[:5],
            "y": here["ranking"].map(SHORT) + " " + here["cluster"].str[:5],
            "value": here["rise"],
        }
    )
    return Grid(
        name=f"rises-{number_of}",
        title=f"What damage to each cluster does to each topic's prompts: {one.label}",
        x_label="mode: topic of the prompts",
        y_label="ranking: topic of the cluster",
        value_label="rise of the loss, nats",
        table=cells,
        centre=0.0,
        note="If clusters were bound to their topics, cells where both topics agree would stand out from their row.",
    )


def overlap_figure(one: Measured, number_of: int) -> Figure:
    """Return how many units the clusters of two topics share, block by block."""
    note = f"{one.label}: pairs of topics within a ranking; pairs of random clusters of the same size as the control."
    return overlap_profile(one.clusters, name=f"cluster-overlap-{number_of}", note=note)
