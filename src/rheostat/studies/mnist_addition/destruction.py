"""Does a − b destroy what the network knows of the other digits?"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.published import ALL_CELLS, ALL_PAIRS, UNPATCHED
from rheostat.studies.mnist_addition.responses import Responses, of_pairs, over_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "mnist-2"
STATEMENT = "The addition destroys generalisation: the loss on all images but b goes from .089 to about 7.4."
GUESSING = float(np.log(10))
CHANCE = 1 / 9
"""Of nine digits, in turn."""


def damage(found: Responses) -> np.ndarray:
    """Return by how much the loss on all images but those of b rises (network, a, b), in nats."""
    return np.asarray(found.loss - np.einsum("nbb->nb", found.loss)[:, None])


def measure_layer(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return the loss against the unpatched network's, and a third of the damage against that of random vectors."""
    place, found = GRADED_LAYERS.index(layer), measured.tables[layer]
    unpatched = np.einsum("nbb->nb", found.loss).mean(axis=1)
    few, random = over_pairs(damage(measured.single[place])), over_pairs(damage(measured.random[place]))
    where = layer_name(layer)
    return [
        *against(
            measured.name, f"loss on all images but b, nats, {where}", over_pairs(found.loss),
            {"without a vector": unpatched}, unit=UNIT, seed=seed,
        ),
        *against(
            measured.name, f"a third of the damage, nats, {where}", few / 3,
            {"damage by random vectors of the same length": random}, unit=UNIT, seed=seed,
        ),
    ]  # fmt: skip


def run(measured: Measured, seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    deciding = [one for layer in GRADED_LAYERS for one in measure_layer(measured, layer, seed)]
    figures = tuple(_draw(measured, layer) for layer in range(5))
    losses = "; ".join(
        f"{layer_name(layer)} {over_pairs(measured.tables[layer].loss).mean():.2f} "
        f"({over_pairs(measured.tables[layer].loss).min():.2f} to {over_pairs(measured.tables[layer].loss).max():.2f})"
        for layer in GRADED_LAYERS
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason=f"Mean loss of the 90 pairs over networks, in nats: {losses}; the post's 90 cells give {ALL_PAIRS} (its "
        f"{ALL_CELLS:.1f} averages the diagonal in). {held(deciding)} {_survivors(measured)}",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="What becomes of the other digits",
        text="Mean cross-entropy, in nats, over all test images but those of b, for each pair. The post calls this "
        f"perplexity; its unpatched {UNPATCHED} could be none, since a perplexity is at least 1. On the diagonal "
        "nothing is added.\n\n" + compared_all(deciding) + "\n\n" + _ratios(measured),
        figures=tuple(figure.name for figure in figures),
        tables=("pairs",),
    )
    return Part((section,), {"pairs": table(measured)}, figures, (verdict,))


def table(measured: Measured) -> pd.DataFrame:
    """Return a row per layer and pair: means over the networks."""
    a, b = (index.ravel() for index in np.indices((10, 10)))
    parts = []
    for layer, found in enumerate(measured.tables):
        columns = {"loss": found.loss, "accuracy": found.accuracy}
        columns["a_on_b"] = np.einsum("nabba->nab", found.probability)
        columns["b_on_b"] = np.einsum("nabbb->nab", found.probability)
        means = {name: values.mean(axis=0).ravel() for name, values in columns.items()}
        parts.append(pd.DataFrame({"layer": layer, "a": a, "b": b, **means}))
    return pd.concat(parts, ignore_index=True)


def _survivors(measured: Measured) -> str:
    found = measured.tables[0]
    kept, below = over_pairs(found.accuracy).mean(), (of_pairs(found.loss) < GUESSING).mean()
    return (
        f"At layer 0 the nine digits are still told right in {kept:.0%} of the images on average (guessing: "
        f"{CHANCE:.0%}), and {below:.0%} of the pairs stay below the {GUESSING:.2f} nats of guessing: not every pair "
        "destroys."
    )


def _ratios(measured: Measured) -> str:
    shares = [
        f"{layer_name(layer)} {number(float((over_pairs(damage(random)) / over_pairs(damage(single))).max()))}"
        for layer, single, random in zip(GRADED_LAYERS, measured.single, measured.random, strict=True)
    ]
    return "Damage by random vectors of the same length, as a part of the vectors' own, largest of the networks: " + (
        ", ".join(shares) + "."
    )


def _draw(measured: Measured, layer: int) -> Grid:
    found = measured.tables[layer]
    a, b = (index.ravel() for index in np.indices((10, 10)))
    return Grid(
        name=f"loss-layer-{layer}",
        title=f"Loss on all images but b under a − b added after layer {layer}",
        x_label="b",
        y_label="a",
        value_label="mean cross-entropy (nats)",
        table=pd.DataFrame({"x": b, "y": a, "value": found.loss.mean(axis=0).ravel()}),
        note=f"Mean over n = {len(found.loss)} networks, {found.counts.sum()} test images; diagonal: nothing added.",
    )
