"""What, known beforehand, says how much damage a pair's vector will do?"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.metrics.statistics import Values, bootstrap_mean, shuffled_control, spearman
from rheostat.studies.mnist_addition.destruction import damage
from rheostat.studies.mnist_addition.geometry import MEANINGS, PREDICTORS
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.responses import of_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Section


def correlations(measured: Measured, layer: int, predictor: str) -> tuple[Values, Values]:
    """Return, per network, the rank correlation of damage and predictor over the pairs, and its predictor's values."""
    rows = measured.vectors[measured.vectors["layer"] == layer]
    known = of_pairs(rows[predictor].to_numpy(dtype=float).reshape(-1, 10, 10))
    return spearman(of_pairs(damage(measured.tables[layer])), known), known


def table(measured: Measured, seed: int) -> pd.DataFrame:
    """Return rows {layer, predictor, rho, low, high, shuffled}, the intervals over networks."""
    rows = []
    for layer in GRADED_LAYERS:
        for predictor in PREDICTORS:
            rho, known = correlations(measured, layer, predictor)
            mean = bootstrap_mean(rho, seed=seed)
            chance = shuffled_control(of_pairs(damage(measured.tables[layer])), known, seed=seed).mean()
            rows.append(
                {"layer": layer, "predictor": PREDICTORS[predictor], "rho": mean.value, "low": mean.low}
                | {"high": mean.high, "shuffled": float(chance)}
            )
    return pd.DataFrame(rows)


def between_layers(measured: Measured) -> Values:
    """Return, per network, the rank correlation of damage and relative dose over all pairs of all places at once."""
    doses, harms = [], []
    for layer in GRADED_LAYERS:
        rows = measured.vectors[measured.vectors["layer"] == layer]
        doses.append(of_pairs(rows["dose"].to_numpy().reshape(-1, 10, 10)))
        harms.append(of_pairs(damage(measured.tables[layer])))
    return spearman(np.concatenate(doses, axis=1), np.concatenate(harms, axis=1))


def run(measured: Measured, seed: int) -> Part:
    """Show what goes with the damage."""
    found = table(measured, seed)
    across = bootstrap_mean(between_layers(measured), seed=seed)
    figure = Grid(
        name="predictors",
        title="What goes with the damage, over the 90 pairs",
        x_label="the vector is added after",
        y_label="known beforehand",
        value_label="rank correlation (Spearman)",
        table=pd.DataFrame(
            {"x": [layer_name(layer) for layer in found["layer"]], "y": found["predictor"], "value": found["rho"]}
        ),
        note=f"Mean over n = {len(measured.tables[0].nll)} networks; with pairs permuted the largest is "
        f"{found['shuffled'].abs().max():.2f}.",
        centre=0.0,
        limits=(-1.0, 1.0),
    )
    best = found.loc[found.groupby("layer")["rho"].apply(lambda rho: rho.abs().idxmax())]
    said = "; ".join(
        f"{layer_name(row['layer'])}: {row['predictor']}, {row['rho']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        for row in best.to_dict("records")
    )
    section = Section(
        heading="What says beforehand how much breaks",
        text="Rank correlation, over the 90 pairs of a network, of the rise of the loss with what is known of a vector "
        f"before it is added. {MEANINGS} The closest at each place: {said}. Over the pairs of all three places at once "
        f"the relative dose, the vector's length over that of an activation, gives {across}.",
        figures=(figure.name,),
        tables=("predictors",),
    )
    return Part((section,), {"predictors": found}, (figure,))
