"""Do flipped labels move the answers, and as far as against the words' own meaning?

Accuracy is always by the labels that are right outside of the prompt, so a model that follows flipped demonstrations
falls below guessing. Answers are judged with the labels' prior taken off: a model that says one label to everything has
an accuracy of guessing, whatever is flipped.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean, paired_difference
from rheostat.studies.curve import curve
from rheostat.studies.flipped_labels import trained_pair
from rheostat.studies.flipped_labels.episodes import SIZES
from rheostat.studies.flipped_labels.measuring import Answers, Asked
from rheostat.studies.flipped_labels.settings import KS, KS_QUICK, SHARES, Setting
from rheostat.studies.flipped_labels.trained_pair import GUESSING
from rheostat.studies.judging import measurement
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict, VerdictName
from rheostat.studies.study import Context

LARGE, SMALL = "flip-1", "flip-2"
STATEMENTS = {
    LARGE: "Large models override their priors: with all demonstration labels flipped they answer almost as well in "
    "the flipped world.",
    SMALL: "Small models can unlearn but not override: accuracy falls to guessing and not below.",
}
UNIT = "streams of demonstrations"
OVERRIDE = 0.19
"""How far below guessing the large models of the source lie at least (PaLM: 31 %)."""
Outcome = Literal[
    "no ability", "no change", "falls, stays above", "falls to guessing", "falls below", "too wide to tell"
]
SCORES: dict[str, Callable[[Answers, Setting], Values]] = {"calibrated": Answers.calibrated, "as it is": Answers.right}


def most(context: Context) -> int:
    """Return the most demonstrations per class."""
    return (KS_QUICK if context.quick else KS)[-1]


def outcome(regular: Values, flipped: Values, *, seed: int) -> Outcome:
    """Tell what flipping all labels does to the accuracy, by the intervals over streams.

    Without a fall the accuracy must lie above guessing to be called unchanged, and an accuracy that is called guessing
    must not lie as far below it as an override: an interval that holds both tells nothing.
    """
    if bootstrap_mean(regular, seed=seed).low <= GUESSING:
        return "no ability"
    left = bootstrap_mean(flipped, seed=seed)
    if not paired_difference(regular, flipped, seed=seed).above_zero:
        return "no change" if left.low > GUESSING else "too wide to tell"
    if left.high < GUESSING:
        return "falls below"
    if left.low > GUESSING:
        return "falls, stays above"
    return "falls to guessing" if left.low > GUESSING - OVERRIDE else "too wide to tell"


def named(found: Sequence[Outcome]) -> VerdictName:
    """Return the verdict on the claim about small models from what was seen where there is an ability."""
    able = [one for one in found if one != "no ability"]
    if set(able) <= {"too wide to tell"}:
        return "not testable here"
    if all(one == "falls to guessing" for one in able):
        return "reproduced"
    if all(one == "falls below" for one in able):
        return "contradicted"
    return "partly" if "falls to guessing" in able else "not"


def run(context: Context, asked: Asked) -> Part:
    """Compare regular and flipped demonstrations and judge both claims."""
    k, seed = most(context), context.seed
    falls, outcomes = _measured(asked, k, seed)
    pair = trained_pair.measure(context)
    smaller, larger = (trained_pair.below_guessing(pair, size, seed) for size in SIZES)
    seen = "; ".join(f"{model}, {texts}: {what}" for (model, texts), what in outcomes.items())
    verdicts = (
        Verdict(
            LARGE,
            STATEMENTS[LARGE],
            "not testable here",
            "The source's large models are far larger than the two here. Of two sizes trained from "
            f"nothing, the larger answers below guessing by {larger} (networks) where all labels are flipped, the "
            f"smaller by {smaller}.",
            (*falls, *(_pair(size.name, one) for size, one in zip(SIZES, (smaller, larger), strict=True))),
        ),
        Verdict(
            SMALL,
            STATEMENTS[SMALL],
            named(list(outcomes.values())),
            f"With all labels flipped, answers calibrated: {seen}. Where regular demonstrations do not bring a model "
            "above guessing nothing can fall, and that does not decide. Too wide to tell: the interval holds guessing "
            f"and also no fall at all, or {OVERRIDE:g} less than guessing, as far as the source's large models go.",
            tuple(falls),
        ),
    )
    figures: list[Figure] = [_figure(asked, model, way, k, seed) for model in _models(asked) for way in SCORES]
    section = Section(
        heading="Accuracy against the share of flipped labels",
        text="\n\n".join(_describe(asked, model, k, seed) for model in _models(asked)),
        figures=tuple(one.name for one in figures),
        tables=("accuracies",),
    )
    return Part((section,), {}, tuple(figures), verdicts)


def _models(asked: Asked) -> list[str]:
    return list(dict.fromkeys(model for model, _ in asked))


def _measured(asked: Asked, k: int, seed: int) -> tuple[list[Measurement], dict[tuple[str, str], Outcome]]:
    found, outcomes = [], {}
    for (model, texts), one in asked.items():
        for way, score in SCORES.items():
            regular, flipped = score(one, Setting(k)), score(one, Setting(k, share=1.0))
            aside = "" if way == "calibrated" else "; does not decide"
            controls = {
                "no label flipped": regular,
                "demonstrations without labels": score(one, Setting(k, labelled=False)),
                "half of the labels flipped": score(one, Setting(k, share=0.5)),
            }
            quantity = f"accuracy on {texts}, all labels flipped, {way}{aside}"
            for name, control in controls.items():
                difference = paired_difference(flipped, control, seed=seed)
                mean = float(control.mean())
                found.append(measurement(model, quantity, difference, control=mean, unit=UNIT, control_name=name))
            found.append(_against_guessing(model, quantity, flipped, seed))
            if way == "calibrated":
                outcomes[model, texts] = outcome(regular, flipped, seed=seed)
    return found, outcomes


def _against_guessing(model: str, quantity: str, values: Values, seed: int) -> Measurement:
    difference = bootstrap_mean(values - GUESSING, seed=seed)
    return measurement(model, quantity, difference, control=GUESSING, unit=UNIT, control_name="guessing")


def _pair(name: str, below: Interval) -> Measurement:
    flipped = Interval(-below.value, -below.high, -below.low, below.n)
    quantity = "accuracy, all labels flipped, trained from nothing"
    return measurement(name, quantity, flipped, control=GUESSING, unit="networks", control_name="guessing")


def _describe(asked: Asked, model: str, k: int, seed: int) -> str:
    parts = [f"{model}, {k} demonstrations per class; accuracy by the texts' own labels, calibrated (as it is)."]
    for (name, texts), one in asked.items():
        if name != model:
            continue
        shares = ", ".join(f"{_both(one, Setting(k, share=share))} at {share:.0%} flipped" for share in SHARES)
        flipped = bootstrap_mean(one.calibrated(Setting(k, share=1.0)), seed=seed)
        parts.append(
            f"{texts}: {_both(one, Setting(0))} without demonstrations, "
            f"{_both(one, Setting(k, labelled=False))} without labels, {shares} (interval at 100%: "
            f"[{flipped.low:.2f}, {flipped.high:.2f}])."
        )
    return " ".join(parts)


def _both(one: Answers, setting: Setting) -> str:
    return f"{one.calibrated(setting).mean():.2f} ({one.right(setting).mean():.2f})"


def _figure(asked: Asked, model: str, way: str, k: int, seed: int) -> Profile:
    rows, n = [], 0
    for (name, texts), one in asked.items():
        if name == model:
            places = [(100 * share, SCORES[way](one, Setting(k, share=share))) for share in SHARES]
            rows += curve(texts, places, seed)
            n = len(places[0][1])
    return Profile(
        name=f"flipped-share-{way.replace(' ', '-')}-{model}",
        title=f"Accuracy against flipped labels, {model}, {way}",
        x_label="labels flipped in the demonstrations (%)",
        y_label="accuracy (the texts' own labels)",
        table=pd.DataFrame(rows),
        note=f"{k} demonstrations per class, n = {n} streams of demonstrations with 4 queries each per set of texts, "
        "95 % bootstrap intervals over streams. Below guessing: flipped labels are followed against their meaning.",
        reference={"guessing": GUESSING},
    )
