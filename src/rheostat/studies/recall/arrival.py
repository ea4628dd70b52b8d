"""Does what the other tokens say reach the last token earlier than what the subject says?

The depth of the strongest window is taken per fact and source; facts are then resampled. Controls: the same
difference with the roles dealt out at random, and with the last token's reading of itself in the subject's place.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.judging import against, held, interval, judge, number
from rheostat.studies.part import Part
from rheostat.studies.recall.knockout import (
    DEALT_OTHERS,
    DEALT_SUBJECT,
    LAST,
    OTHERS,
    SUBJECT,
    WITHOUT_FIRST,
    changes,
    drawn_changes,
    measure,
)
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "recall-3"
STATEMENT = "Information from the other tokens arrives earlier, in lower layers."
PLANTED = 0.2
"""Share of the depth by which the planted case moves the other tokens' windows down."""


def depths(profile: Values) -> Values:
    """Return, per fact, the depth of the window that costs most: 0 the first block, 1 the last."""
    found: Values = profile.argmin(axis=1) / (profile.shape[1] - 1)
    return found


def dealt_difference(table: pd.DataFrame) -> Values:
    """Return, per fact, the difference of depths when subject and other tokens are dealt out at random."""
    pairs = zip(drawn_changes(table, DEALT_SUBJECT), drawn_changes(table, DEALT_OTHERS), strict=True)
    found: Values = np.mean([depths(subject) - depths(others) for subject, others in pairs], axis=0)
    return found


def measure_all(
    name: str, others: str, difference: Values, dealt: Values, itself: Values, seed: int
) -> list[Measurement]:
    """Return how much deeper the subject's strongest window lies than that of other tokens, against each control.

    Args:
        name: of the model.
        others: which other tokens.
        difference: per fact, depth of the subject's strongest window minus that of the other tokens.
        dealt: the same with roles dealt at random.
        itself: per fact, depth of the last token's own strongest window minus that of the other tokens.
        seed: of the intervals.
    """
    controls = {
        "no difference": 0 * difference,
        "roles dealt at random": dealt,
        "the last token's reading of itself": itself,
    }
    what = f"depth of the strongest window, subject − {others} (share)"
    return against(name, what, difference, controls, unit="facts", seed=seed)


def of_model(name: str, table: pd.DataFrame, seed: int) -> dict[str, list[Measurement]]:
    """Return the measurements of a model, for all other tokens and for those without the prompt's first."""
    subject, itself, dealt = depths(changes(table, SUBJECT)), depths(changes(table, LAST)), dealt_difference(table)
    found = {}
    for others in (OTHERS, WITHOUT_FIRST):
        depth = depths(changes(table, others))
        found[others] = measure_all(name, others, subject - depth, dealt, itself - depth, seed)
    return found


def planted(dealt: Values, seed: int) -> Measurement:
    """Return what the measure says when a difference is planted in the noise of the dealt roles."""
    shifted = dealt - dealt.mean() + PLANTED
    return measure_all("planted", OTHERS, shifted, 0 * dealt, 0 * dealt, seed)[0]


def run(context: Context) -> Part:
    """Compare the depths on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: of_model(name, table, context.seed) for name, table in tables.items()}
    power = {name: planted(dealt_difference(table), context.seed) for name, table in tables.items()}
    deciding = [one for by_others in found.values() for ms in by_others.values() for one in ms[:2]]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(one.low > 0 for one in power.values())),
        reason=f"{held(deciding)} A difference of {PLANTED:.0%} of the depth, planted in the dealt roles' noise, is "
        "measured as "
        + "; ".join(f"{number(one.effect)} {interval(one)}" for one in power.values())
        + ". The prompt's first token is where attention rests, so the other tokens are also cut without it. The last "
        "token's reading of itself does not decide.",
        measurements=tuple(one for by_others in found.values() for ms in by_others.values() for one in ms),
    )
    figures = tuple(_figure(name, table) for name, table in tables.items())
    section = Section(
        heading="Who arrives first",
        text="\n\n".join(_describe(name, tables[name], found[name]) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), figures=figures, verdicts=(verdict,))


def _describe(name: str, table: pd.DataFrame, found: Mapping[str, Sequence[Measurement]]) -> str:
    medians = {
        source: np.median(changes(table, source).argmin(axis=1)) for source in (SUBJECT, OTHERS, WITHOUT_FIRST, LAST)
    }
    words = [
        f"Subject minus {others}: {number(whole.effect)} of the depth {interval(whole)}; with the roles "
        f"dealt at random {number(dealt.control)} (difference {interval(dealt)}); the last token's "
        f"reading of itself minus {others}: {number(itself.control)} (difference {interval(itself)})."
        for others, (whole, dealt, itself) in found.items()
    ]
    return (
        f"{name}, {table['fact'].nunique()} facts. Median block of the strongest window: "
        + ", ".join(f"{source} {block:.0f}" for source, block in medians.items())
        + f". {' '.join(words)}"
    )


def _figure(name: str, table: pd.DataFrame) -> Profile:
    rows = []
    for source in (SUBJECT, OTHERS, WITHOUT_FIRST, LAST):
        profile = changes(table, source)
        strongest = profile.argmin(axis=1)
        for block in range(profile.shape[1]):
            rows.append({"x": block, "value": float((strongest <= block).mean()), "series": source})
    return Profile(
        name=f"arrival-{name}",
        title=f"Where each fact's strongest window lies, {name}",
        x_label="block in the middle of the window",
        y_label="share of facts whose strongest window is here or below",
        table=pd.DataFrame(rows),
        note=f"n = {table['fact'].nunique()} facts; one curve per set of tokens that the last token may not read.",
    )
