"""What is answered under a − b on images of other digits, and what says beforehand which answer wins?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import entr, softmax

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.curve import curve
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.mnist_addition.layers import GRADED_LAYERS, UNIT, layer_name
from rheostat.studies.mnist_addition.measuring import Measured
from rheostat.studies.mnist_addition.responses import PAIRS, Responses, of_pairs, over_pairs
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "mnist-6"
STATEMENT = "Under the patch, the average output distribution per digit shows odd patterns (left uninterpreted)."
A, B = 3, 1
"""The pair whose distributions are drawn."""
DRAWS = 200
GUESSES = {"largest": "the digit whose logit the pair's vector raises most at the last layer",
           "aligned": "the digit whose mean activation the vector points to"}  # fmt: skip
RANDOM = "random vectors of the same length"


def answered(found: Responses) -> Values:
    """Return how the answers on images of neither a nor b are shared out (network, a, b, answer)."""
    return found.on_others(found.answer)


def share_of_a(found: Responses) -> Values:
    """Return the share of them that say a (network,), mean over the pairs."""
    return over_pairs(np.einsum("naba->nab", answered(found)))


def digits_lost(found: Responses) -> Values:
    """Return how many fewer digits are answered than without a vector, in effective number exp(entropy)."""
    before = found.on_others(np.broadcast_to(found.answer[:, :1, :1], found.answer.shape))
    return over_pairs(np.exp(entr(before).sum(axis=-1)) - np.exp(entr(answered(found)).sum(axis=-1)))


def guessed(measured: Measured, layer: int, column: str) -> Values:
    """Return the answer that a column of the vectors' geometry names (network, 90)."""
    rows = measured.vectors[measured.vectors["layer"] == layer]
    return of_pairs(rows[column].to_numpy(dtype=float).reshape(-1, 10, 10))


def measure_layer(measured: Measured, layer: int, seed: int) -> list[Measurement]:
    """Return the patterns against random vectors, and guesses of the winner against permuted ones and against a."""
    single, random = (each[GRADED_LAYERS.index(layer)] for each in (measured.single, measured.random))
    where, rng = layer_name(layer), np.random.default_rng(seed)
    winner = of_pairs(answered(measured.tables[layer])).argmax(axis=-1)
    of_a = (winner == np.argwhere(PAIRS)[:, 0]).mean(axis=1)
    found = []
    for quantity, of in (
        ("share of the answers that are a", share_of_a),
        ("effective number of answers lost", digits_lost),
    ):
        found += against(
            measured.name,
            f"{quantity}, images of other digits, {where}",
            of(single),
            {RANDOM: of(random)},
            unit=UNIT,
            seed=seed,
        )
    for column, what in GUESSES.items():
        guess = guessed(measured, layer, column)
        orders = [rng.permutation(guess.shape[1]) for _ in range(DRAWS)]
        shuffled = np.mean([(winner == guess[:, order]).mean(axis=1) for order in orders], axis=0)
        right = (winner == guess).mean(axis=1)
        controls = {"guesses of other pairs": shuffled, "always a": of_a}
        found += against(
            measured.name,
            f"share of pairs whose commonest answer is {what}, {where}",
            right,
            controls,
            unit=UNIT,
            seed=seed,
        )
    return found


def closed_form(measured: Measured) -> float:
    """Return by how much mean logits under a − b at layers 3 and 4 differ from the plain ones plus a constant."""
    shifts = (found.logit - found.logit[:, :1, :1] for found in measured.tables[3:])
    return max(float(np.ptp(shift, axis=3).max()) for shift in shifts)


def run(measured: Measured, seed: int, *, planted_found: bool) -> Part:
    """Judge the claim."""
    every = [one for layer in GRADED_LAYERS for one in measure_layer(measured, layer, seed)]
    deciding = [one for one in every if one.control_name != "always a"]
    constant = closed_form(measured)
    figures: tuple[Figure, ...] = (*_distributions(measured), _profile(measured, seed))
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted_found),
        reason=f"{held(deciding)} At layers 3 and 4 there is no riddle: the mean logits are the plain ones plus the "
        f"same constant for every digit (to {number(constant)} of a logit). {_said(every)}",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="What is answered instead",
        text="For each digit the logits under the vector are averaged over its test images, and the softmax is taken "
        f"once, as in the post. At layer 4 the vector is a constant on the logits, so the picture follows from the "
        f"plain network's; the same holds at layer 3 (largest difference {number(constant)}).\n\n"
        + compared_all(every),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {}, figures, (verdict,))


def _said(every: Sequence[Measurement]) -> str:
    guesses = [one for one in every if one.control_name == "always a" and GUESSES["largest"] in one.quantity]
    said = "; ".join(
        f"{layer_name(layer)} {one.effect:.0%} (a itself {one.control:.0%})"
        for layer, one in zip(GRADED_LAYERS, guesses, strict=True)
    )
    return f"The commonest answer on images of other digits is {GUESSES['largest']} in so many pairs: {said}."


def _distributions(measured: Measured) -> tuple[Grid, ...]:
    shown = {"no vector": measured.tables[0].logit[:, 0, 0]}
    shown |= {layer_name(layer): measured.tables[layer].logit[:, A, B] for layer in GRADED_LAYERS}
    return tuple(
        Grid(
            name=f"distribution-{number_of}",
            title=f"Average answer to each digit, {where}" + (f", vector {A} − {B}" if number_of else ""),
            x_label="answer",
            y_label="digit shown",
            value_label="softmax of the mean logits",
            table=_cells(softmax(logits[0], axis=-1)),
            note=f"One network (number 0 of {len(logits)}), {measured.tables[0].counts.sum()} test images.",
            limits=(0.0, 1.0),
        )
        for number_of, (where, logits) in enumerate(shown.items())
    )


def _cells(shares: Values) -> pd.DataFrame:
    digit, answer = (index.ravel() for index in np.indices((10, 10)))
    values = shares.ravel()
    shown = [f"{value:.2f}" if value >= 0.005 else "" for value in values]
    return pd.DataFrame({"x": answer, "y": digit, "value": values, "text": shown})


def _profile(measured: Measured, seed: int) -> Profile:
    layers = range(5)
    rows = curve("a", ((layer, share_of_a(measured.tables[layer])) for layer in layers), seed)
    commonest = ((layer, over_pairs(answered(measured.tables[layer]).max(axis=-1))) for layer in layers)
    rows += curve("the commonest answer", commonest, seed)
    right = (
        (
            layer,
            over_pairs(
                np.asarray(measured.tables[layer].on_others(np.einsum("nabdd->nabd", measured.tables[layer].answer)))
            ),
        )
        for layer in layers
    )
    rows += curve("the digit shown", right, seed)
    random = zip(GRADED_LAYERS, (over_pairs(answered(one).max(axis=-1)) for one in measured.random), strict=True)
    rows += curve("the commonest answer under random vectors", random, seed)
    return Profile(
        name="answers-by-layer",
        title="Answers on images of other digits than a and b",
        x_label="layer",
        y_label="share of the images",
        table=pd.DataFrame(rows),
        note=f"Mean of 90 pairs; bands: 95 % bootstrap intervals over n = {len(measured.tables[0].nll)} networks.",
        reference={"evenly over ten": 0.1},
    )
