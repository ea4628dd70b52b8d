"""What more demonstrations are worth, by the kind of their labels."""

from dataclasses import replace

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.curve import curve
from rheostat.studies.flipped_labels.measuring import Answers, Asked
from rheostat.studies.flipped_labels.override import UNIT, most
from rheostat.studies.flipped_labels.settings import FILLED, KS, KS_QUICK, Setting
from rheostat.studies.judging import against, compared_all
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "flip-4"
STATEMENT = "Large models gain much more from additional examples under unrelated labels than small ones."
SERIES = {
    "regular": Setting(1),
    "all flipped": Setting(1, share=1.0),
    "foo, bar": Setting(1, "foo/bar"),
    "foo, bar, random order": Setting(1, "foo/bar", deal="permuted"),
}


def along(one: Answers, series: str, ks: tuple[int, ...]) -> Values:
    """Return the calibrated accuracies (stream, k) of a series."""
    return np.stack([one.calibrated(replace(SERIES[series], k=k)) for k in ks], axis=1)


def slopes(values: Values, ks: tuple[int, ...]) -> Values:
    """Return, per stream, how much the accuracy rises where the demonstrations are doubled (least squares)."""
    doublings = np.log2(np.array(ks, dtype=np.float64))
    centred = doublings - doublings.mean()
    found: Values = values @ centred / (centred @ centred)
    return found


def measure_all(model: str, texts: str, one: Answers, ks: tuple[int, ...], seed: int) -> list[Measurement]:
    """Return the slope under unrelated labels against its controls, and what length alone does."""
    unrelated, permuted = (slopes(along(one, name, ks), ks) for name in ("foo, bar", "foo, bar, random order"))
    regular = slopes(along(one, "regular", ks), ks)
    controls = {"foo and bar in random order": permuted, "regular labels": regular}
    quantity = f"rise of accuracy per doubling on {texts}, foo and bar"
    found = against(model, quantity, unrelated, controls, unit=UNIT, seed=seed)
    filler = one.calibrated(Setting(FILLED, "foo/bar", filler_to=ks[-1]))
    whole = one.calibrated(Setting(ks[-1], "foo/bar"))
    length = {f"{FILLED} after a filler of equal length": filler}
    quantity = f"accuracy on {texts}, {ks[-1]} demonstrations per class, foo and bar"
    return [*found, *against(model, quantity, whole, length, unit=UNIT, seed=seed)]


def run(context: Context, asked: Asked) -> Part:
    """Measure the rise for every model and set of texts."""
    ks = KS_QUICK if context.quick else KS
    assert ks[-1] == most(context)
    found = {key: measure_all(*key, one, ks, context.seed) for key, one in asked.items()}
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict="not testable here",
        reason="The claim is about how the gain changes with size; two small models of different families cannot show "
        "that. Measured is each model's own gain, against the same labels in random order and against a filler of the "
        "same length.",
        measurements=tuple(one for each in found.values() for one in each),
    )
    figures: tuple[Figure, ...] = tuple(_figure(*key, one, ks, context.seed) for key, one in asked.items())
    section = Section(
        heading="More demonstrations",
        text="\n\n".join(f"{model}, {texts}. {compared_all(each)}" for (model, texts), each in found.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {}, figures, (verdict,))


def _figure(model: str, texts: str, one: Answers, ks: tuple[int, ...], seed: int) -> Profile:
    rows = [row for series in SERIES for row in curve(series, zip(ks, along(one, series, ks).T, strict=True), seed)]
    n = len(one.right(Setting(ks[-1])))
    return Profile(
        name=f"demonstrations-{texts}-{model}",
        title=f"Accuracy against the number of demonstrations, {texts}, {model}",
        x_label="demonstrations per class",
        y_label="accuracy, calibrated",
        table=pd.DataFrame(rows),
        note=f"n = {n} streams of 4 queries, 95 % bootstrap intervals over streams; the accuracy is by the texts' own "
        "labels, and by the mapping shown where labels mean nothing.",
        reference={"guessing": 0.5, "without demonstrations": float(one.calibrated(Setting(0)).mean())},
    )
