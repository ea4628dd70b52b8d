"""Can a − b steer without damage, at some coefficient, from class means, or in another architecture?"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.curve import curve
from rheostat.studies.held_out import cross_fitted
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.mnist_addition.destruction import damage
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.responses import Responses, of_pairs, over_pairs
from rheostat.studies.mnist_addition.vectors import KINDS, Kind
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "mnist-7"
STATEMENT = (
    "Implied: the harmless steering seen in GPT-2-XL needs a property that a plain fully connected classifier lacks."
)
STEERED = "images of b that turn to a"
HARMED = "images of other digits that are lost"


def steering(found: Responses) -> Values:
    """Return the share of the images of b that are called a, beyond those that already were (network, a, b)."""
    called = np.einsum("nabba->nab", found.answer)
    return np.asarray(called - np.einsum("nbbba->nab", found.answer))


def harm(found: Responses) -> Values:
    """Return the share of the images of neither a nor b that are told right without the vector only (network, a, b)."""
    right = np.einsum("nabdd->nabd", found.answer)
    before = np.broadcast_to(right[:, :1, :1], right.shape)
    return found.on_others(before) - found.on_others(right)


def at_best(measured: Measured, kind: Kind, layer: int) -> dict[str, Values]:
    """Return each network's steering, harm and rise of the loss at the coefficient that its other pairs chose.

    Chosen is where steering − harm is largest, on one half of the pairs, and reported is the other, both ways round.

    Returns:
        Name → (network,); `coefficient` is the mean of the two that were chosen.
    """
    graded = [measured.graded[kind, coefficient, layer] for coefficient in measured.coefficients]
    values = {
        "steering": np.stack([of_pairs(steering(one)) for one in graded], axis=-1),
        "harm": np.stack([of_pairs(harm(one)) for one in graded], axis=-1),
        "damage": np.stack([of_pairs(damage(one)) for one in graded], axis=-1),
    }
    found: dict[str, list[float]] = {name: [] for name in (*values, "coefficient")}
    for network, gain in enumerate(values["steering"] - values["harm"]):
        order = np.random.default_rng(network).permutation(gain.shape[0])
        _, chosen = cross_fitted(gain[order])
        at = np.where(np.arange(len(order)) % 2 == 0, chosen[0], chosen[1])
        for name, each in values.items():
            found[name].append(float(each[network][order][np.arange(len(order)), at].mean()))
        found["coefficient"].append(float(np.mean([measured.coefficients[place] for place in chosen])))
    return {name: np.array(each) for name, each in found.items()}


def harm_against_steering(measured: Measured, kind: Kind, layer: int, seed: int) -> list[Measurement]:
    """Return what is lost against what is steered, at the coefficient that suits it best."""
    best = at_best(measured, kind, layer)
    quantity = f"{HARMED}, {kind} vectors at their best coefficient, {layer_name(layer)}"
    return against(measured.name, quantity, best["harm"], {STEERED: best["steering"]}, unit=UNIT, seed=seed)


def run(every: Sequence[Measured], seed: int, *, planted_found: bool) -> Part:
    """Judge the claim by the fully connected networks; the convolutional one is shown beside them."""
    connected = [one for one in every if one.architecture.name != "convolutional"]
    deciding = [
        one
        for measured in connected
        for layer in GRADED_LAYERS
        for one in harm_against_steering(measured, "class mean", layer, seed)
    ]
    beside = [
        one
        for measured in every
        for kind in KINDS
        for layer in GRADED_LAYERS
        if (kind != "class mean" or measured not in connected)
        for one in harm_against_steering(measured, kind, layer, seed)
    ]
    grades = table(every)
    figures = tuple(
        figure
        for measured in every
        for layer in GRADED_LAYERS
        for figure in draw(measured, layer, seed)
        if layer == 0 or measured is every[0]
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason=f"Deciding: vectors between class means, at a coefficient chosen on the other half of the pairs. "
        f"{held(deciding)} {_levels(every)} The same dose in a language model is not part of this study.",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="Is it the dose, the image, or the architecture?",
        text="Steering: how many images of b turn to a. Harm: how many images of digits other than a and b are no "
        "longer told right. Both are measured for vectors between single images, for vectors between the means of all "
        "training images of a digit, and for random vectors with the single images' length, at several coefficients. "
        "The best coefficient is that of the largest steering − harm, chosen on one half of the pairs and reported on "
        "the other. Dose: the vector's length, times the coefficient, over the mean length of an activation.\n\n"
        + _levels(every)
        + "\n\n"
        + compared_all([*deciding, *beside]),
        figures=tuple(figure.name for figure in figures),
        tables=("grades", "best"),
    )
    return Part((section,), {"grades": grades, "best": best_table(every)}, figures, (verdict,))


def table(every: Sequence[Measured]) -> pd.DataFrame:
    """Return, per architecture, kind, layer and coefficient, means over networks and pairs, and the relative dose."""
    rows = []
    for measured in every:
        for (kind, coefficient, layer), found in measured.graded.items():
            column = "class_dose" if kind == "class mean" else "dose"
            here = measured.vectors[
                (measured.vectors["layer"] == layer) & (measured.vectors["a"] != measured.vectors["b"])
            ]
            rows.append(
                {
                    "architecture": measured.name,
                    "vector": kind,
                    "layer": layer,
                    "coefficient": coefficient,
                    "dose": coefficient * float(here[column].mean()),
                    "steering": float(over_pairs(steering(found)).mean()),
                    "harm": float(over_pairs(harm(found)).mean()),
                    "damage": float(over_pairs(damage(found)).mean()),
                }
            )
    return pd.DataFrame(rows)


def best_table(every: Sequence[Measured]) -> pd.DataFrame:
    """Return, per architecture, kind and layer, the means over networks at the best coefficient."""
    return pd.DataFrame(
        [
            {"architecture": measured.name, "vector": kind, "layer": layer}
            | {name: float(values.mean()) for name, values in at_best(measured, kind, layer).items()}
            for measured in every
            for kind in KINDS
            for layer in GRADED_LAYERS
        ]
    )


def draw(measured: Measured, layer: int, seed: int) -> tuple[Profile, Profile]:
    """Return curves over the coefficient: of steering and harm, and of the loss."""
    stem = measured.name.replace(",", "").replace(" ", "-")
    shares: list[dict[str, object]] = []
    losses: list[dict[str, object]] = []
    for kind in KINDS:
        found = [(coefficient, measured.graded[kind, coefficient, layer]) for coefficient in measured.coefficients]
        shares += curve(
            f"steering, {kind}", [(0.0, np.zeros(len(found[0][1].nll))), *_per_network(found, steering)], seed
        )
        shares += curve(f"harm, {kind}", [(0.0, np.zeros(len(found[0][1].nll))), *_per_network(found, harm)], seed)
        losses += curve(kind, [(0.0, np.zeros(len(found[0][1].nll))), *_per_network(found, damage)], seed)
    note = (
        f"Mean of 90 pairs; bands: 95 % bootstrap intervals over n = {len(found[0][1].nll)} networks; "
        f"{int(found[0][1].counts.sum())} test images."
    )
    where = f"{layer_name(layer)}, {measured.name}"
    return (
        Profile(
            name=f"steering-{stem}-layer-{layer}",
            title=f"Steering and harm by coefficient, {where}",
            x_label="coefficient",
            y_label="share of the images",
            table=pd.DataFrame(shares),
            note=f"Steering: {STEERED}. Harm: {HARMED}. {note}",
        ),
        Profile(
            name=f"damage-{stem}-layer-{layer}",
            title=f"Rise of the loss on all images but b, {where}",
            x_label="coefficient",
            y_label="rise of the cross-entropy (nats)",
            table=pd.DataFrame(losses),
            note=note,
        ),
    )


def _per_network(
    found: Sequence[tuple[float, Responses]], of: Callable[[Responses], Values]
) -> list[tuple[float, Values]]:
    return [(coefficient, over_pairs(of(one))) for coefficient, one in found]


def _levels(every: Sequence[Measured]) -> str:
    best = best_table(every)
    said = []
    for (architecture, layer), rows in best.groupby(["architecture", "layer"], sort=False):
        by_kind = rows.set_index("vector")
        parts = ", ".join(
            f"{kind} {by_kind.loc[kind, 'steering']:.0%} for {by_kind.loc[kind, 'harm']:.0%}" for kind in KINDS
        )
        said.append(f"{architecture}, {layer_name(int(layer))}: {parts}")
    return "Steering, and the harm that it costs, at the best coefficient: " + "; ".join(said) + "."
