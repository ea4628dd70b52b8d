"""Does the damage depend on the pair, the same way in every network, and the same way as in the post?"""

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile, Scatter
from rheostat.metrics.statistics import Values, spearman
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared, compared_all, held, judge
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.published import CELLS, NAMED_LAYER, NOT_GIVEN, ROW_MEANS
from rheostat.studies.mnist_addition.responses import PAIRS, of_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "mnist-5"
STATEMENT = (
    "Damage depends strongly and systematically on the pair: .6 (9 − 7) to 26.7 (5 − 2) nats; "
    "a = 3 and a = 5 are worst, a = 8 mildest."
)
DRAWS = 200
"""Orders of the digits, for the control with permuted labels."""
LIKENESS = "rank correlation of our ten row means with the post's"
PROPORTIONS = "likeness of our row means' proportions to the post's (0 is equal)"
AGREEMENT = "rank correlation of a network's 90 losses with the mean of the others'"


def row_means(losses: Values) -> Values:
    """Return the mean over b ≠ a (network, a) of losses (network, a, b)."""
    return np.asarray(np.where(PAIRS, losses, 0.0).sum(axis=2) / 9)


def with_post(rows: Values) -> Values:
    """Return each network's rank correlation of its row means (network, a) with the published ones."""
    return spearman(rows, np.broadcast_to(np.array(ROW_MEANS), rows.shape))


def permuted(rows: Values, seed: int) -> Values:
    """Return the mean of that correlation when the digits' labels are permuted, by network."""
    rng = np.random.default_rng(seed)
    return np.asarray(np.mean([with_post(rows[:, rng.permutation(10)]) for _ in range(DRAWS)], axis=0))


def agreement(losses: Values) -> Values:
    """Return, by network, the rank correlation of its 90 losses with the mean of the other networks'."""
    cells = of_pairs(losses)
    others = (cells.sum(axis=0) - cells) / (len(cells) - 1)
    return spearman(cells, others)


def measure_layer(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return likeness with the post, and agreement between networks, each against its controls."""
    losses, random = measured.tables[layer].loss, measured.random[GRADED_LAYERS.index(layer)].loss
    rows = row_means(losses)
    controls = {
        "labels of the digits permuted": permuted(rows, seed),
        "the table transposed": with_post(row_means(losses.swapaxes(1, 2))),
        "the table of random vectors": with_post(row_means(random)),
    }
    where, name = layer_name(layer), measured.name
    alike = {"the tables of random vectors": agreement(random)}
    return [
        *against(name, f"{LIKENESS}, {where}", with_post(rows), controls, unit=UNIT, seed=seed),
        *against(name, f"{AGREEMENT}, {where}", agreement(losses), alike, unit=UNIT, seed=seed),
    ]


def later_than_named(measured: Measured, seed: int) -> list[Measurement]:
    """Return by how much better later layers fit the post's table than the layer that it names: order, proportions."""
    rows = [row_means(found.loss) for found in measured.tables]
    found = []
    for layer in GRADED_LAYERS[1:]:
        for quantity, of in ((LIKENESS, with_post), (PROPORTIONS, proportions)):
            named = {f"layer {NAMED_LAYER}": of(rows[NAMED_LAYER])}
            found += against(
                measured.name, f"{quantity}, {layer_name(layer)}", of(rows[layer]), named, unit=UNIT, seed=seed
            )
    return found


def proportions(rows: Values) -> Values:
    """Return minus the mean distance of the row means from the post's, in factors of e, by network; 0 is equality.

    All rows may be larger by one factor: how large losses are depends on how a network was trained.
    """
    distance = np.log(rows / np.array(ROW_MEANS))
    return -np.asarray(np.abs(distance - distance.mean(axis=1, keepdims=True)).mean(axis=1))


def run(measured: Measured, seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    deciding = [one for layer in GRADED_LAYERS for one in measure_layer(measured, layer, seed)]
    shifted = later_than_named(measured, seed)
    figures = (_scatter(measured), _profile(measured, seed))
    fits = "; ".join(compared(one) for one in shifted if one.quantity == f"{LIKENESS}, {layer_name(1)}")
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason=f"{held(deciding)} {_cells(measured)} {NOT_GIVEN} Correlation at layers 1 and 2, against "
        f"the layer that the post names: {fits}.",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="Which pairs, and the post's table",
        text=f"{NOT_GIVEN} The post says that its table is for layer {NAMED_LAYER}; but the cell 3 − 1 is "
        f"{CELLS[3, 1]}, which is its own figure for layers 1 and 2 and not the 7.80 of layer 0. So every layer is "
        "compared.\n\n"
        f"{_cells(measured)}\n\nDo later layers fit better than the one it names? {compared_all(shifted)}\n\n"
        f"{compared_all(deciding)}",
        figures=tuple(figure.name for figure in figures),
        tables=("post",),
    )
    return Part((section,), {"post": table(measured)}, figures, (verdict,))


def table(measured: Measured) -> pd.DataFrame:
    """Return what the post gives beside ours, by layer: row means and single cells, mean over the networks."""
    rows: list[dict[str, object]] = []
    for digit, published in enumerate(ROW_MEANS):
        ours = {
            layer_name(layer): float(row_means(measured.tables[layer].loss)[:, digit].mean()) for layer in GRADED_LAYERS
        }
        rows.append({"what": f"row of a = {digit}", "the post": published, **ours})
    for (a, b), published in CELLS.items():
        ours = {layer_name(layer): float(measured.tables[layer].loss[:, a, b].mean()) for layer in GRADED_LAYERS}
        rows.append({"what": f"{a} − {b}", "the post": published, **ours})
    return pd.DataFrame(rows)


def _cells(measured: Measured) -> str:
    parts = []
    for layer in GRADED_LAYERS:
        losses = measured.tables[layer].loss.mean(axis=0)
        ranks = np.sort(losses[PAIRS])
        (low_a, low_b), (high_a, high_b) = (
            np.unravel_index(int(place), (10, 10))
            for place in (np.where(PAIRS, losses, np.inf).argmin(), np.where(PAIRS, losses, -np.inf).argmax())
        )
        of_post = ", ".join(
            f"{a} − {b} {losses[a, b]:.1f} (rank {int(np.searchsorted(ranks, losses[a, b])) + 1} of 90)"
            for a, b in CELLS
        )
        rows = row_means(measured.tables[layer].loss).mean(axis=0)
        parts.append(
            f"{layer_name(layer)}: from {losses[low_a, low_b]:.2f} ({low_a} − {low_b}) to {losses[high_a, high_b]:.1f} "
            f"({high_a} − {high_b}); {of_post}; worst a {rows.argsort()[-1]} and {rows.argsort()[-2]}, mildest "
            f"{rows.argsort()[0]}"
        )
    return "Losses in nats, mean over the networks: " + ". ".join(parts) + "."


def _scatter(measured: Measured) -> Scatter:
    rows = [
        {"x": published, "y": float(ours), "series": layer_name(layer), "text": str(digit)}
        for layer in GRADED_LAYERS
        for digit, (published, ours) in enumerate(
            zip(ROW_MEANS, row_means(measured.tables[layer].loss).mean(axis=0), strict=True)
        )
    ]
    return Scatter(
        name="rows-and-post",
        title="Mean loss of each row a, ours and the post's",
        x_label="the post (nats)",
        y_label="ours, mean over networks (nats)",
        table=pd.DataFrame(rows),
        note="A point per digit a, named; the post says layer 0. Equal values would lie on the diagonal.",
    )


def _profile(measured: Measured, seed: int) -> Profile:
    losses = [found.loss for found in measured.tables]
    rows = curve("row means, with the post's", enumerate(with_post(row_means(one)) for one in losses), seed)
    rows += curve("the same, labels permuted", enumerate(permuted(row_means(one), seed) for one in losses), seed)
    turned = enumerate(with_post(row_means(one.swapaxes(1, 2))) for one in losses)
    rows += curve("the same, table transposed", turned, seed)
    rows += curve("90 losses, network with network", enumerate(agreement(one) for one in losses), seed)
    return Profile(
        name="likeness-by-layer",
        title="How like the post's table, and one another's, our tables are",
        x_label="layer",
        y_label="rank correlation (Spearman)",
        table=pd.DataFrame(rows),
        note=f"Bands: 95 % bootstrap intervals over n = {len(losses[0])} networks. The post names layer {NAMED_LAYER}.",
        reference={"none": 0.0},
    )
