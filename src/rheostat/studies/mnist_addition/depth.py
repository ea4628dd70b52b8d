"""Where is the addition mildest, for 3 − 1 and for all pairs?

Layers 1 and 2 must agree, and 3 and 4: what follows a ReLU is linear, W(h + v) + c = (Wh + c) + Wv, and the difference
of two images' outputs there is W times the difference of their inputs, since c cancels. So adding a − b before a linear
module, and adding a − b after it, are one change.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.published import BY_LAYER
from rheostat.studies.mnist_addition.responses import of_pairs, over_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

GROWS, BEST = "mnist-3", "mnist-4"
CLAIMS = {
    GROWS: "For 3 − 1 the damage grows with depth: 7.80, 12.69, 12.69, 17.01, 17.01 for layers 0 to 4.",
    BEST: "Layer 0 is the best place to intervene (chosen on 3 − 1, then used for all pairs).",
}
A, B = 3, 1
EXACT = 1e-4
"""Nats by which layers 1 and 2, or 3 and 4, may differ: float noise."""
SAME = ((1, 2), (3, 4))


def differences(measured: Measured) -> dict[tuple[int, int], float]:
    """Return, for the layers that must agree, by how much any loss of any network differs, in nats."""
    losses = [found.nll for found in measured.tables]
    return {(first, second): float(np.abs(losses[first] - losses[second]).max()) for first, second in SAME}


def compare(
    measured: Measured, losses: Sequence[Values], what: str, places: Sequence[tuple[int, int]], seed: int
) -> list[Measurement]:
    """Return the loss at each later layer against that at an earlier one, for pairs of (later, earlier)."""
    return [
        one
        for later, earlier in places
        for one in against(
            measured.name,
            f"loss, {what}, nats, {layer_name(later)}",
            losses[later],
            {layer_name(earlier): losses[earlier]},
            unit=UNIT,
            seed=seed,
        )
    ]


def run(measured: Measured, seed: int, *, planted_found: bool) -> Part:
    """Judge both claims."""
    of_pair = [found.loss[:, A, B] for found in measured.tables]
    of_all = [over_pairs(found.loss) for found in measured.tables]
    unequal = differences(measured)
    agree = max(unequal.values()) <= EXACT
    growing = compare(measured, of_pair, "vector 3 − 1", [(1, 0), (3, 1)], seed)
    best = compare(measured, of_all, "mean of 90 pairs", [(1, 0), (3, 0)], seed)
    verdicts = (
        Verdict(
            GROWS,
            CLAIMS[GROWS],
            judge(growing, planted_found=planted_found) if agree else "contradicted",
            f"Layers 0 to 4: {_list(of_pair)} nats. {_equal(unequal)} {held(growing)} The mean of all 90 pairs: "
            f"{_list(of_all)}.",
            tuple(growing),
        ),
        Verdict(
            BEST,
            CLAIMS[BEST],
            judge(best, planted_found=planted_found),
            f"Mean of the 90 pairs at layers 0 to 4: {_list(of_all)} nats. {held(best)} {_best_of_pairs(measured)}",
            tuple(best),
        ),
    )
    figure = _draw(measured, of_pair, of_all, seed)
    section = Section(
        heading="By layer",
        text="Layers 1 and 2 give the same numbers, and so do 3 and 4: a linear module takes a constant shift of its "
        "input to a constant shift of its output, W(h + v) + c = (Wh + c) + Wv, and the difference of two images' "
        f"outputs is W times the difference of their inputs. {_equal(unequal)} The post's figures for 3 − 1 agree in "
        "the same two places. Between layers 0 and 1, and 2 and 3, lies a ReLU, and there they differ.\n\n"
        f"{compared_all([*growing, *best])}\n\n{_best_of_pairs(measured)}",
        figures=(figure.name,),
    )
    return Part((section,), {}, (figure,), verdicts)


def _list(losses: Sequence[Values]) -> str:
    return ", ".join(f"{one.mean():.2f}" for one in losses)


def _equal(unequal: dict[tuple[int, int], float]) -> str:
    said = " and ".join(f"layers {a} and {b} by {value:.1g}" for (a, b), value in unequal.items())
    return f"Largest difference in nats over all networks, pairs and digits: {said}."


def _best_of_pairs(measured: Measured) -> str:
    losses = np.stack([of_pairs(measured.tables[layer].loss) for layer in GRADED_LAYERS])
    shares = (losses.argmin(axis=0)[None] == np.arange(len(GRADED_LAYERS))[:, None, None]).mean(axis=(1, 2))
    said = ", ".join(f"{layer_name(layer)} {share:.0%}" for layer, share in zip(GRADED_LAYERS, shares, strict=True))
    return f"The mildest place, pair by pair over all networks: {said} (by chance a third each)."


def _draw(measured: Measured, of_pair: Sequence[Values], of_all: Sequence[Values], seed: int) -> Profile:
    rows = curve("vector 3 − 1", enumerate(of_pair), seed) + curve("mean of 90 pairs", enumerate(of_all), seed)
    random = dict(zip(GRADED_LAYERS, (over_pairs(one.loss) for one in measured.random), strict=True))
    rows += curve("random vectors of their length, mean of 90", random.items(), seed)
    table = pd.DataFrame(rows)
    published = pd.DataFrame({"x": range(5), "value": BY_LAYER, "series": "vector 3 − 1, the post's network"})
    return Profile(
        name="loss-by-layer",
        title="Loss on all images but b, by the layer after which a − b is added",
        x_label="layer",
        y_label="mean cross-entropy (nats)",
        table=pd.concat([table, published], ignore_index=True),
        note=f"Bands: 95 % bootstrap intervals over n = {len(of_all[0])} networks. Random vectors: on fewer images, "
        "and not at layers 2 and 4.",
        reference={"no vector": float(np.einsum("nbb->nb", measured.tables[0].loss).mean())},
    )
