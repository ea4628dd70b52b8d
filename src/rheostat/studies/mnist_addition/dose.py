"""Can a − b steer without damage, at some coefficient, from class means, or in another architecture?"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.mnist_addition.destruction import damage
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.network import CONVOLUTIONAL
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
HALF = 0.5
HARMLESS = 0.05
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def steering(found: Responses) -> Values:
    """Return the share of the images of b that are called a, beyond those that already were (network, a, b)."""
    called = np.einsum("nabba->nab", found.answer)
    return np.asarray(called - np.einsum("nbbba->nab", found.answer))


def harm(found: Responses) -> Values:
    """Return the share of the images of neither a nor b that are told right without the vector only (network, a, b)."""
    right = np.einsum("nabdd->nabd", found.answer)
    before = np.broadcast_to(right[:, :1, :1], right.shape)
    return found.on_others(before) - found.on_others(right)


def at_level(measured: Measured, kind: Kind, layer: int, level: float = HALF) -> dict[str, Values]:
    """Return what it costs each network to turn a share of the images of b into a, mean over its pairs.

    Each pair's own strength is found between the measured coefficients, by lines from one to the next. A pair that no
    coefficient takes so far is left out.

    Returns:
        Name → (network,): coefficient, harm, damage in nats, and reached, the share of pairs that are not left out;
        NaN where none gets there.
    """
    graded = [measured.graded[kind, coefficient, layer] for coefficient in measured.coefficients]
    steered = _from_zero([steering(one) for one in graded])
    strengths = np.broadcast_to(np.array([0.0, *measured.coefficients]), steered.shape)
    values = {"harm": _from_zero([harm(one) for one in graded]), "damage": _from_zero([damage(one) for one in graded])}
    at = {name: crossing(steered, each, level) for name, each in {**values, "coefficient": strengths}.items()}
    reached = np.isfinite(at["harm"])
    n_reached = np.where(reached.any(axis=1), reached.sum(axis=1), np.nan)
    found = {name: np.where(reached, each, 0.0).sum(axis=1) / n_reached for name, each in at.items()}
    return {**found, "reached": reached.mean(axis=1)}


def crossing(rising: Values, along: Values, level: float) -> Values:
    """Return the value of `along` where `rising` first reaches a level, by a line between two places; else NaN.

    Args:
        rising: (…, place).
        along: of the same shape.
        level: above the first place's value.
    """
    there = rising >= level
    after = there.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    low, high, start, end = (
        np.take_along_axis(values, place[..., None], axis=-1)[..., 0]
        for values in (rising, along)
        for place in (before, after)
    )
    way = np.divide(level - low, high - low, out=np.zeros_like(low), where=high > low)
    return np.where(there.any(axis=-1), start + way * (end - start), np.nan)


def _from_zero(values: Sequence[Values]) -> Values:
    """Return (network, 90, coefficient) of (network, a, b) per coefficient, with nothing at coefficient 0 before."""
    return np.stack([np.zeros_like(of_pairs(values[0])), *map(of_pairs, values)], axis=-1)


def cost_of_half(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return what vectors between class means lose of other digits when they turn half of the images of b."""
    found = at_level(measured, "class mean", layer)["harm"]
    return against(
        measured.name,
        f"{HARMED} when half of the images of b turn to a, class means, {layer_name(layer)}",
        found,
        {f"{HARMLESS:.0%}, called harmless here": np.full(len(found), HARMLESS)},
        unit=UNIT,
        seed=seed,
    )


def single_against_mean(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return that cost for vectors between single images, against vectors between class means."""
    single, mean = (at_level(measured, kind, layer)["harm"] for kind in ("first image", "class mean"))
    quantity = f"{HARMED} when half of the images of b turn to a, single images, {layer_name(layer)}"
    return against(measured.name, quantity, single, {"class means": mean}, unit=UNIT, seed=seed)


def run(every: Sequence[Measured], seed: int, *, planted_found: bool) -> Part:
    """Judge the claim by the fully connected networks; the convolutional one is shown beside them."""
    connected = [one for one in every if one.architecture != CONVOLUTIONAL]
    deciding = [one for net in connected for layer in GRADED_LAYERS for one in cost_of_half(net, layer, seed)]
    of_every = {
        net.name: [
            one
            for compare in (cost_of_half, single_against_mean)
            for layer in GRADED_LAYERS
            for one in compare(net, layer, seed)
        ]
        for net in every
    }
    costs = cost_table(every)
    figures = (
        *(trade(every, layer, seed) for layer in GRADED_LAYERS),
        *(figure for layer in GRADED_LAYERS for figure in draw(every[0], layer, seed)),
    )
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason="Tested as: even vectors between class means, each at the strength that turns half of the images of b "
        f"into a, lose more than {HARMLESS:.0%} of the other digits' images. {held(deciding)} {_losses(every, costs)} "
        "What a language model loses at the same dose is not part of this study.",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="Is it the dose, the image, or the architecture?",
        text="Steering: how many images of b turn to a. Harm: how many images of digits other than a and b are no "
        "longer told right. Both are measured at several coefficients for vectors between single images, for vectors "
        "between the means of all training images of a digit, and for random vectors of the single ones' length; and "
        "compared where half of the images of b have turned, found pair by pair. Dose: the vector's length, times the "
        f"coefficient, over the mean length of an activation.\n\n{_levels(costs)}\n\n"
        + "\n\n".join(f"{name}. {compared_all(found)}" for name, found in of_every.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("grades", "costs"),
    )
    return Part((section,), {"grades": table(every), "costs": costs}, figures, (verdict,))


def table(every: Sequence[Measured]) -> pd.DataFrame:
    """Return, per architecture, kind, layer and coefficient, means over networks and pairs, and the relative dose."""
    rows = []
    for measured in every:
        for (kind, coefficient, layer), found in measured.graded.items():
            rows.append(
                {
                    "architecture": measured.name,
                    "vector": kind,
                    "layer": layer,
                    "coefficient": coefficient,
                    "dose": coefficient * _dose(measured, kind, layer),
                    "steering": float(over_pairs(steering(found)).mean()),
                    "harm": float(over_pairs(harm(found)).mean()),
                    "damage": float(over_pairs(damage(found)).mean()),
                }
            )
    return pd.DataFrame(rows)


def cost_table(every: Sequence[Measured]) -> pd.DataFrame:
    """Return, per architecture, kind and layer, the means over networks where half of the images of b have turned."""
    rows = []
    for measured in every:
        for kind in ("first image", "class mean"):
            for layer in GRADED_LAYERS:
                found = {name: float(each.mean()) for name, each in at_level(measured, kind, layer).items()}
                dose = found["coefficient"] * _dose(measured, kind, layer)
                rows.append({"architecture": measured.name, "vector": kind, "layer": layer, **found, "dose": dose})
    return pd.DataFrame(rows)


def _dose(measured: Measured, kind: Kind, layer: int) -> float:
    """Return the mean length of a kind of vector over the mean length of an activation."""
    vectors = measured.vectors
    here = vectors[(vectors["layer"] == layer) & (vectors["a"] != vectors["b"])]
    return float(here["class_dose" if kind == "class mean" else "dose"].mean())


def trade(every: Sequence[Measured], layer: int, seed: int) -> Profile:
    """Return what it costs to turn more and more of the images of b."""
    rows: list[dict[str, object]] = []
    for measured in every:
        for kind in ("first image", "class mean"):
            costs = [(level, at_level(measured, kind, layer, level)["harm"]) for level in LEVELS]
            rows += curve(f"{measured.name}, {kind}", [(0.0, np.zeros(len(costs[0][1]))), *costs], seed)
    return Profile(
        name=f"cost-of-steering-layer-{layer}",
        title=f"What turning b into a costs the other digits, {layer_name(layer)}",
        x_label=f"share of the {STEERED}",
        y_label=f"share of the {HARMED}",
        table=pd.DataFrame(rows),
        note="Strength found pair by pair, mean of the pairs that get so far; bands: 95 % bootstrap intervals over n = "
        f"{len(every[0].single[0].nll)} networks.",
        reference={"called harmless": HARMLESS},
    )


def draw(measured: Measured, layer: int, seed: int) -> tuple[Profile, Profile]:
    """Return curves over the coefficient: of steering and harm, and of the loss."""
    stem = measured.name.replace(",", "").replace(" ", "-")
    shares: list[dict[str, object]] = []
    losses: list[dict[str, object]] = []
    for kind in KINDS:
        found = [(coefficient, measured.graded[kind, coefficient, layer]) for coefficient in measured.coefficients]
        shares += curve(f"steering, {kind}", _per_network(found, steering), seed)
        shares += curve(f"harm, {kind}", _per_network(found, harm), seed)
        losses += curve(kind, _per_network(found, damage), seed)
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
    """Return each network's mean over the pairs by coefficient, beginning with nothing at 0."""
    none = (0.0, np.zeros(len(found[0][1].nll)))
    return [none, *((coefficient, over_pairs(of(one))) for coefficient, one in found)]


def _losses(every: Sequence[Measured], costs: pd.DataFrame) -> str:
    """Say what is lost at that strength, and how much milder it is than the post's vectors at coefficient 1."""
    means = costs[costs["vector"] == "class mean"]
    said = []
    for name in costs["architecture"].unique():
        harms = ", ".join(f"{value:.0%}" for value in means.loc[means["architecture"] == name, "harm"])
        said.append(f"{name} {harms}")
    own = means.loc[means["architecture"] == every[0].name, "damage"]
    whole = ", ".join(f"{over_pairs(damage(one)).mean():.2f}" for one in every[0].single)
    return (
        f"Lost at {', '.join(layer_name(layer) for layer in GRADED_LAYERS)}: {'; '.join(said)}. The loss rises there "
        f"by {', '.join(f'{value:.2f}' for value in own)} nats, under the post's vectors at coefficient 1 by {whole}."
    )


def _levels(costs: pd.DataFrame) -> str:
    said = []
    for row in costs.to_dict("records"):
        left = "" if row["reached"] == 1 else f" ({row['reached']:.0%} of the pairs get there)"
        said.append(
            f"{row['architecture']}, {layer_name(row['layer'])}, {row['vector']}: {row['harm']:.0%} "
            f"({row['damage']:.2f} nats) at coefficient "
            f"{row['coefficient']:.2f}, dose {row['dose']:.2f}{left}"
        )
    return f"{HARMED[0].upper()}{HARMED[1:]} when half of those of b have turned: {'; '.join(said)}."
