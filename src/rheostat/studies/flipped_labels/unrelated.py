"""Labels that mean nothing: how far do they carry, against labels that name the classes and labels that contradict?"""

from collections.abc import Sequence

import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.studies.flipped_labels.measuring import Answers, Asked
from rheostat.studies.flipped_labels.override import UNIT, most
from rheostat.studies.flipped_labels.settings import Setting
from rheostat.studies.judging import against, compared, held, judge
from rheostat.studies.part import Part
from rheostat.studies.power import in_words, would_be_seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "flip-3"
STATEMENT = (
    "With unrelated labels (foo, bar) small models again adapt less, but the gap to large ones is smaller than for "
    "flipping; regular labels draw on both prior and mapping."
)
PLANTED = 0.25
"""A difference of the accuracy that must be seen."""


def measure_all(model: str, texts: str, one: Answers, k: int, seed: int) -> list[Measurement]:
    """Return the comparisons of one model and set of texts; the first two decide.

    Meaning counts if regular labels do better than unrelated ones, the mapping if unrelated ones do better than the
    same labels in random order.
    """
    regular, flipped = one.calibrated(Setting(k)), one.calibrated(Setting(k, share=1.0))
    unrelated = one.calibrated(Setting(k, "foo/bar"))
    other = one.calibrated(Setting(k, "Apple/Orange"))
    permuted = one.calibrated(Setting(k, "foo/bar", deal="permuted"))
    rows = (
        (f"accuracy on {texts}, regular labels", regular, {"foo and bar": unrelated}),
        (f"accuracy on {texts}, foo and bar", unrelated, {"foo and bar in random order": permuted}),
        (f"accuracy on {texts}, Apple and Orange (does not decide)", other, {"foo and bar": unrelated}),
        (
            f"answers on {texts} by the mapping shown, foo and bar (does not decide)",
            unrelated,
            {"flipped labels": 1 - flipped},
        ),
    )
    return [m for name, effect, controls in rows for m in against(model, name, effect, controls, unit=UNIT, seed=seed)]


def run(context: Context, asked: Asked) -> Part:
    """Compare regular, unrelated and flipped labels and judge the claim."""
    k, seed = most(context), context.seed
    found = {key: measure_all(*key, one, k, seed) for key, one in asked.items()}
    able = [key for key, one in asked.items() if bootstrap_mean(one.calibrated(Setting(k)), seed=seed).low > 0.5]
    deciding = [one for key in able for one in found[key][:2]]
    left_out = ", ".join(f"{texts} ({model})" for model, texts in asked if (model, texts) not in able)
    judged = judge(deciding, planted_found=would_be_seen(deciding, PLANTED) == len(deciding))
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict="partly" if judged == "reproduced" else judged,
        reason=f"{held(deciding)} Tested is that meaning and mapping both count, where regular labels bring a model "
        f"above guessing{f'; not so on {left_out}' if left_out else ''}. {in_words(deciding, PLANTED)} The gap to "
        "large models is not testable here, so the claim can hold in part at most.",
        measurements=tuple(one for each in found.values() for one in each),
    )
    figures: tuple[Figure, ...] = tuple(
        _figure(asked, model, k, seed) for model in dict.fromkeys(model for model, _ in asked)
    )
    section = Section(
        heading="Labels that mean nothing",
        text="\n\n".join(_describe(*key, measured) for key, measured in found.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {}, figures, (verdict,))


def _describe(model: str, texts: str, measured: Sequence[Measurement]) -> str:
    told = ". ".join(f"{one.quantity[0].upper()}{one.quantity[1:]}: {compared(one)}" for one in measured)
    return f"{model}, {texts}, calibrated. {told}."


def _figure(asked: Asked, model: str, k: int, seed: int) -> Grid:
    shown = {
        "none shown": Setting(0),
        "no labels": Setting(k, labelled=False),
        "regular": Setting(k),
        "half flipped": Setting(k, share=0.5),
        "all flipped": Setting(k, share=1.0),
        "foo/bar": Setting(k, "foo/bar"),
        "foo/bar random": Setting(k, "foo/bar", deal="permuted"),
        "Apple/Orange": Setting(k, "Apple/Orange"),
    }
    rows, n = [], 0
    for label, setting in shown.items():
        for (name, texts), one in asked.items():
            if name == model:
                mean = bootstrap_mean(one.calibrated(setting), seed=seed)
                text = f"{100 * mean.value:.0f} [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"
                rows.append({"x": texts, "y": label, "value": mean.value, "text": text})
                n = mean.n
    return Grid(
        name=f"labels-{model}",
        title=f"Labels shown, {model}",
        x_label="texts",
        y_label="labels",
        value_label="accuracy, calibrated",
        table=pd.DataFrame(rows),
        note=f"{k} demonstrations per class, n = {n} streams of 4 queries, cells in % with 95 % bootstrap intervals. "
        "Guessing: 50 %. Random: the labels stand in random order over the demonstrations.",
        centre=0.5,
        limits=(0.0, 1.0),
    )
