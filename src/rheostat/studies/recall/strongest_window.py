"""Where does keeping the last token from reading the subject hurt most?

The window is chosen on half of the facts and its cost reported on the other; the random tokens get a window of their
own in the same way. Where the mean profile is lowest is resampled as a whole.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values, bootstrap, paired_difference
from rheostat.studies.curve import curve
from rheostat.studies.held_out import cross_fitted
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.recall.knockout import (
    LAST,
    OTHERS,
    RANDOM,
    SUBJECT,
    WITHOUT_FIRST,
    changes,
    measure,
    measure_idle,
)
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "recall-2"
STATEMENT = "Blocking attention from the subject to the last token hurts most in middle-to-upper layers."
PLANTED = 10.0
"""% of the answer's probability that the planted case takes away in an upper window."""


def depth_of_minimum(profile: Values) -> float:
    """Return where the mean over facts is lowest, 0 the first block, 1 the last."""
    mean = profile.mean(axis=0)
    return float(mean.argmin() / (len(mean) - 1))


def measure_all(name: str, subject: Values, random: Values, seed: int) -> list[Measurement]:
    """Return the cost of the strongest window against random tokens, its depth, and the cost of upper and lower half.

    Args:
        name: of the model.
        subject: changes (fact, centre) in % when the subject is cut.
        random: the same with as many random non-subject tokens.
        seed: of the intervals.
    """
    cost, _ = cross_fitted(-subject)
    control, _ = cross_fitted(-random)
    depth = bootstrap(lambda drawn: depth_of_minimum(drawn) - 0.5, subject, seed=seed)
    upper = subject.shape[1] // 2
    halves = [-(one[:, upper:].mean(axis=1) - one[:, :upper].mean(axis=1)) for one in (subject, random)]
    return [
        measurement(
            name,
            "fall at the strongest window (%)",
            paired_difference(cost, control, seed=seed),
            control=float(control.mean()),
            unit="facts",
            control_name="as many random non-subject tokens",
        ),
        measurement(
            name,
            "depth of the strongest window (share)",
            depth,
            control=0.5,
            unit="facts",
            control_name="the middle",
        ),
        measurement(
            name,
            "fall, upper half − lower (%; does not decide)",
            paired_difference(*halves, seed=seed),
            control=float(halves[1].mean()),
            unit="facts",
            control_name="as many random non-subject tokens",
        ),
    ]


def planted(random: Values, seed: int) -> list[Measurement]:
    """Return what the measure says when a fall is planted at three quarters of the depth of the random tokens."""
    centres = np.arange(random.shape[1])
    bump = np.exp(-0.5 * ((centres - 0.75 * centres[-1]) / (0.1 * len(centres))) ** 2)
    noise = np.roll(random, 1, axis=0)
    return measure_all("planted", noise - PLANTED * bump, random, seed)


def run(context: Context) -> Part:
    """Cut the sources of all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    arrays = {name: (changes(table, SUBJECT), changes(table, RANDOM)) for name, table in tables.items()}
    found = {name: measure_all(name, *pair, context.seed) for name, pair in arrays.items()}
    power = {name: planted(random, context.seed) for name, (_, random) in arrays.items()}
    idle = pd.concat([measure_idle(model, context) for model in context.models])["same"]
    deciding = [one for ms in found.values() for one in ms[:2]]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.low > 0 for ms in power.values() for one in ms[:1])),
        reason=f"{held(deciding)} A fall of {PLANTED:.0f} % planted in an upper window of the random tokens' profile "
        "is measured as "
        + "; ".join(f"{number(ms[0].effect - ms[0].control)} {interval(ms[0])}" for ms in power.values())
        + f". A cut of strength 0 in every block leaves the logits bit-identical in {idle.sum()} of {len(idle)} facts. "
        "The mean over halves does not decide.",
        measurements=tuple(one for ms in found.values() for one in ms),
    )
    figures = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="What the last token may not read",
        text="\n\n".join(_describe(name, tables[name], found) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"knockout": joined(tables)}, figures, (verdict,))


def _describe(name: str, table: pd.DataFrame, found: Mapping[str, list[Measurement]]) -> str:
    profile = changes(table, SUBJECT)
    cost, depth, halves = found[name]
    n_blocks = profile.shape[1]
    lowest = {
        source: (int(changes(table, source).mean(axis=0).argmin()), changes(table, source).mean(axis=0).min())
        for source in (SUBJECT, OTHERS, WITHOUT_FIRST, LAST)
    }
    words = "; ".join(f"{source}: {change:.0f} % at block {block}" for source, (block, change) in lowest.items())
    return (
        f"{name}, {len(profile)} facts that it answers, windows of the depth's share that 9 of 48 is. The mean profile "
        f"is lowest at: {words}. At the window that the other half of the facts chose, cutting the subject takes "
        f"{number(cost.effect)} % of the answer's probability, cutting as many random tokens {number(cost.control)} % "
        f"(difference {interval(cost)}). That window lies at {depth.effect:.0%} of the depth of {n_blocks} blocks "
        f"(from the middle: {interval(depth)}). Upper minus lower half: {number(halves.effect)} %, random tokens "
        f"{number(halves.control)} % (difference {interval(halves)})."
    )


def _figure(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    labels = {LAST: "last token itself"}
    for source in (SUBJECT, OTHERS, WITHOUT_FIRST, LAST, RANDOM):
        rows += curve(labels.get(source, source), enumerate(changes(table, source).T), seed)
    return Profile(
        name=f"knockout-{name}",
        title=f"What the last token may not read, and what that costs, {name}",
        x_label="block in the middle of the window",
        y_label="change of the answer's probability (%)",
        table=pd.DataFrame(rows),
        note=f"n = {table['fact'].nunique()} facts, 95 % bootstrap intervals; random: as many tokens as the subject.",
        reference={"uncut": 0.0},
    )
