"""Does a − b make b less likely, and a more likely, on images of b?"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.metrics.statistics import Values
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.responses import PAIRS, Responses, of_pairs, over_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "mnist-1"
STATEMENT = (
    "On images of b, every a − b vector at every layer makes the answer b less likely and the answer a more likely."
)
ENOUGH = 88
"""Of 90 pairs, in every network and at every layer."""
OTHERS = "c − d vectors with neither digit"
RANDOM = "random vectors of the same length"


def rise(found: Responses) -> Values:
    """Return how much likelier a becomes on images of b (network, a, b)."""
    patched = np.einsum("nabba->nab", found.probability)
    return np.asarray(patched - found.clean.swapaxes(1, 2))


def fall(found: Responses) -> Values:
    """Return how much less likely b becomes on images of b (network, a, b)."""
    patched = np.einsum("nabbb->nab", found.probability)
    return np.asarray(np.einsum("nbb->nb", found.clean)[:, None] - patched)


def own(found: Responses) -> dict[str, Values]:
    """Return each network's mean rise and fall over the 90 pairs, and its share of pairs with both signs."""
    up, down = rise(found), fall(found)
    both = ((up > 0) & (down > 0)).astype(float)
    return {"rise": over_pairs(up), "fall": over_pairs(down), "both": over_pairs(both)}


def by_others(found: Responses) -> dict[str, Values]:
    """Return the same three quantities, per network, under all vectors c − d with neither a nor b among c and d."""
    digits = np.arange(10)
    before_a, before_b = found.clean, np.einsum("nbb->nb", found.clean)
    sums = {name: np.zeros(len(found.nll)) for name in ("rise", "fall", "both")}
    for a, b in np.argwhere(PAIRS):
        neither = digits[(digits != a) & (digits != b)]
        free = np.ix_(np.arange(len(found.nll)), neither, neither)
        some = found.probability[..., b, :][free][:, PAIRS[:8, :8]]
        up, down = some[..., a] - before_a[:, b, a, None], before_b[:, b, None] - some[..., b]
        sums["rise"] += up.mean(1)
        sums["fall"] += down.mean(1)
        sums["both"] += ((up > 0) & (down > 0)).mean(1)
    return {name: total / PAIRS.sum() for name, total in sums.items()}


def measure_layer(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return share and mean changes at a layer, against both controls."""
    found, random = measured.tables[layer], measured.random[GRADED_LAYERS.index(layer)]
    others, where = by_others(found), layer_name(layer)
    quantities = {
        "both": f"share of the 90 pairs with both signs, {where}",
        "rise": f"rise of the probability of a on images of b, {where}",
        "fall": f"fall of the probability of b on images of b, {where}",
    }
    return [
        one
        for name, quantity in quantities.items()
        for one in against(
            measured.name,
            quantity,
            own(found)[name],
            {OTHERS: others[name], RANDOM: own(random)[name]},
            unit=UNIT,
            seed=seed,
        )
    ]


def run(measured: Measured, seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    deciding = [one for layer in GRADED_LAYERS for one in measure_layer(measured, layer, seed)]
    counts = np.array([np.rint(PAIRS.sum() * own(found)["both"]) for found in measured.tables])
    verdict = judge(deciding, planted_found=planted_found)
    if verdict == "reproduced" and counts.min() < ENOUGH:
        verdict = "partly"
    unmoved = max(
        float(np.abs(np.einsum("naad->nad", found.nll) - found.nll[:, :1, 0]).max()) for found in measured.tables
    )
    said = "; ".join(f"layer {layer}: {_spread(row)}" for layer, row in enumerate(counts))
    reason = (
        f"Pairs of 90 with both signs over {counts.shape[1]} networks: {said}. {held(deciding)} With a = b the loss "
        f"moves by {number(unmoved)} nats."
    )
    figure = _draw(measured)
    section = Section(
        heading="Does a − b turn b into a?",
        text="Per pair: the mean probability of the answers a and b on the test images of b, with the vector and "
        "without. A vector c − d that has to do with neither digit, and a random vector of the same length, say how "
        "much of it is mere damage.\n\n" + compared_all(deciding),
        figures=(figure.name,),
    )
    return Part((section,), {}, (figure,), (Verdict(CLAIM, STATEMENT, verdict, reason, tuple(deciding)),))


def _moved_without(found: Responses) -> float:
    """Return by how much the loss differs between the cells where a = b, in nats."""
    return float(np.ptp(np.einsum("naad->nad", found.nll), axis=1).max())


def _spread(counts: Values) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _draw(measured: Measured) -> Grid:
    rows = []
    for layer in GRADED_LAYERS:
        found = measured.tables[layer]
        answers = found.on_images_of_b(found.answer)[:, PAIRS].mean(axis=0)
        a, b = np.argwhere(PAIRS).T
        shares = {"a": answers[np.arange(90), a], "b": answers[np.arange(90), b]}
        shares["another digit"] = 1 - shares["a"] - shares["b"]
        rows += [{"x": name, "y": layer_name(layer), "value": float(share.mean())} for name, share in shares.items()]
    return Grid(
        name="answers-on-images-of-b",
        title="What is answered on images of b under a − b",
        x_label="answer",
        y_label="the vector is added after",
        value_label="share of the images",
        table=pd.DataFrame(rows),
        note=f"Mean over 90 pairs and n = {len(of_pairs(measured.tables[0].loss))} networks, coefficient 1.",
        limits=(0.0, 1.0),
    )
