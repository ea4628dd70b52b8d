"""Concept mixing on topics: do word lists steer what a prompt goes on about, and only up to the block that reads it?

Block, source and factor are chosen with one list per topic on two of the prompts; the other lists, among them the
post's own, are reported on the other prompts. The step at the reading block has its own file, `topic_step`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.metrics.statistics import Values, paired_difference
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding.mixing import SOURCES, Dial
from rheostat.studies.decoding.sweep import Sweep
from rheostat.studies.decoding.topic_measures import (
    TOPICS,
    measure_planted,
    measure_readings,
    measure_report,
    measure_sweep,
)
from rheostat.studies.decoding.topic_step import (
    PLANTED_STEP,
    READ_TOP,
    deciding_of,
    first_read,
    step_at_reading,
    steps_at_reading,
    with_planted_step,
)
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

STATEMENTS = {
    "decode-9": (
        "Attention at layer 16 brings in the topic (jobs, for a prompt on the impact of AI), and mixing before "
        "that layer redirects the completion."
    ),
    "decode-10": (
        "At that layer word lists steer predictably with one factor, .7: bananas to agriculture, circus to "
        "entertainment, boxing to sports, cooking to food, plain is healthcare (4 of 4)."
    ),
}


def largest_is_own(table: pd.DataFrame) -> Values:
    """Return, per row, whether the row's topic has the largest gain of all topics."""
    gains = table[list(TOPICS)].to_numpy(dtype=float)
    own = np.array([TOPICS.index(topic) for topic in table["topic"]])
    return np.asarray(gains.argmax(axis=1) == own, dtype=float)


def steering(name: str, report: pd.DataFrame, label: str, seed: int) -> list[Measurement]:
    """Return the share of lists that steer to their own topic, and of continuations that name it, against controls."""
    scored = report.assign(largest=largest_is_own(report))
    found = []
    for column, quantity in (
        ("largest", f"share of lists whose own topic gains most, {label}"),
        ("named", f"share of sampled continuations that name the list's topic, {label}"),
    ):
        if column not in scored:
            continue
        by_list = {
            kind: scored[scored["kind"] == kind].groupby(["topic", _order(scored, kind)])[column].mean()
            for kind in ("list", "random vector", "unrelated words")
        }
        own = by_list["list"].to_numpy(dtype=float)
        for kind in ("random vector", "unrelated words"):
            control = by_list[kind].to_numpy(dtype=float)
            found.append(
                measurement(
                    name,
                    quantity,
                    paired_difference(own, control, seed=seed),
                    control=float(control.mean()),
                    unit="word lists",
                    control_name=f"{kind} in the same place",
                )
            )
    return found


def _order(table: pd.DataFrame, kind: str) -> "pd.Series[int]":
    """Return, per row of a kind, the number of its list within its prompt and topic, to pair controls with lists."""
    return table[table["kind"] == kind].groupby(["prompt", "topic"]).cumcount()


@dataclass(frozen=True)
class Topics:
    """What was measured on one model."""

    sweep: Sweep
    """Over all prompts."""
    dials: Mapping[str, Dial]
    """Source → the dial that the choosing prompts chose."""
    readings: pd.DataFrame
    reports: Mapping[str, pd.DataFrame]
    planted: pd.DataFrame
    table: pd.DataFrame

    @classmethod
    def measure(cls, model: Model, context: Context) -> "Topics":
        """Choose the dials, then measure the rest with them; continuations are written at the best one."""
        choosing = measure_sweep(model, context, choosing=True)
        table = pd.concat([choosing, measure_sweep(model, context, choosing=False)], ignore_index=True)
        chooser = Sweep.of(choosing, "probability")
        best = chooser.dials[chooser.best_dial("probability")]
        dials = {source: chooser.dials[chooser.best_dial("probability", source=source)] for source in SOURCES}
        reports = {
            source: measure_report(model, context, dial, write=source == best.source) for source, dial in dials.items()
        }
        sweep = Sweep.of(table, "gain", "probability")
        readings, planted = measure_readings(model, context), measure_planted(model, context)
        return cls(sweep, dials, readings, reports, planted, table)

    @property
    def read(self) -> dict[str, int]:
        """Prompt → the block that first reads its topic."""
        return first_read(self.readings)


def run(context: Context) -> Part:
    """Measure all models and judge decode-9 and decode-10."""
    found = {model.name: Topics.measure(model, context) for model in context.models}
    figures: list[Figure] = []
    for name, one in found.items():
        figures += [_profile(name, one, context.seed), _grid(name, one.reports)]
    section = Section(
        heading="Concept mixing on topics",
        text="\n\n".join(_describe(name, one, context.seed) for name, one in found.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("topics-report",),
    )
    tables = {
        "topics": joined({name: one.table for name, one in found.items()}),
        "topic-readings": joined({name: one.readings for name, one in found.items()}),
        "topics-report": joined({name: pd.concat(one.reports.values()) for name, one in found.items()}),
    }
    verdicts = (_step_verdict(found, context.seed), _steering_verdict(found, context.seed))
    return Part((section,), tables, tuple(figures), verdicts)


def _step_verdict(found: Mapping[str, Topics], seed: int) -> Verdict:
    every, planted = [], []
    for name, topics in found.items():
        every += steps_at_reading(name, topics.sweep, topics.read, seed)
        stepped = with_planted_step(topics.sweep, topics.read, seed)
        planted += [
            one for measured in steps_at_reading(name, stepped, topics.read, seed) for one in deciding_of(measured)
        ]
    deciding = [one for measured in every for one in deciding_of(measured)]
    shown = sum(one.low > 0 for one in planted)
    prompts = "; ".join(
        f"{len(topics.read)} of {len(topics.sweep.prompts)} on {name}" for name, topics in found.items()
    )
    return Verdict(
        claim="decode-9",
        statement=STATEMENTS["decode-9"],
        verdict=judge(deciding, planted_found=bool(planted) and shown == len(planted)),
        reason=f"{held(deciding)} Of a step's two comparisons the weaker one decides. Prompts whose topic an attention "
        f"output reads: {prompts}; they are few, and the "
        f"intervals cover the lists, not the prompts. Of a gain of {PLANTED_STEP} nats planted up to the reading block "
        f"{shown} of {len(planted)} comparisons are found.",
        measurements=tuple(one for measured in every for one in measured),
    )


def _steering_verdict(found: Mapping[str, Topics], seed: int) -> Verdict:
    deciding = [
        one
        for name, topics in found.items()
        for source in SOURCES
        for one in steering(name, topics.reports[source], source, seed)
    ]
    hits = {name: float(largest_is_own(topics.planted).mean()) for name, topics in found.items()}
    return Verdict(
        claim="decode-10",
        statement=STATEMENTS["decode-10"],
        verdict=judge(deciding, planted_found=all(share > 0.5 for share in hits.values())),
        reason=f"{held(deciding)} Directions that say a topic's words, added at the middle block, make it gain most in "
        + "; ".join(f"{share:.0%} ({name})" for name, share in hits.items())
        + ".",
        measurements=tuple(deciding),
    )


def _describe(name: str, topics: Topics, seed: int) -> str:
    where = ", ".join(str(block) for block in sorted(set(topics.read.values()))) or "none"
    read = f"block(s) {where}, for {len(topics.read)} of {len(topics.sweep.prompts)} prompts"
    parts = [f"{name}. The attention output first reads the prompt's own topic (top {READ_TOP}) at {read}."]
    for source, report in topics.reports.items():
        lists = report[report["kind"] == "list"]
        won = f"{largest_is_own(lists).mean():.0%} of the lists (chance {1 / len(TOPICS):.1%})"
        parts.append(f"At {topics.dials[source]} own topics gain most for {won}.")
        for step in step_at_reading(name, topics.sweep, topics.read, source, seed)[1:2]:
            parts.append(
                f"Gain by mixing up to the reading block minus after it: {number(step.effect)} nats {interval(step)}."
            )
        if "named" in report:
            noise = report[report["kind"] == "random vector"]
            parts.append(
                f"{lists['named'].mean():.0%} of the sampled continuations there name the topic, at "
                f"{lists['nll'].mean():.2f} nats per token under the plain model (random vectors "
                f"{noise['named'].mean():.0%}, {noise['nll'].mean():.2f} nats)."
            )
    return " ".join(parts)


def _profile(name: str, topics: Topics, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    gain = topics.sweep.beyond("gain").mean(axis=1)
    for source, dial in topics.dials.items():
        places = [(topics.sweep.dials[row].block, gain[:, row]) for row in topics.sweep.alike(dial)]
        rows += curve(f"{source} × {dial.factor:g}", places, seed)
    where = ", ".join(map(str, sorted(set(topics.read.values())))) or "none"
    return Profile(
        name=f"topics-{name}",
        title=f"Mixing a topic's words into {name}",
        x_label="block of the mixing",
        y_label="gain of the own topic beyond other texts (nats)",
        table=pd.DataFrame(rows).sort_values(["series", "x"], ignore_index=True),
        note=f"n = {len(TOPICS)} lists, {len(topics.sweep.prompts)} prompts, 95 % bootstrap intervals over lists. "
        f"Blocks whose attention output first reads a prompt's topic: {where}.",
        reference={"no effect": 0.0},
    )


def _grid(name: str, reports: Mapping[str, pd.DataFrame]) -> Grid:
    best = max(
        reports, key=lambda source: float(largest_is_own(reports[source][reports[source]["kind"] == "list"]).mean())
    )
    lists = reports[best][reports[best]["kind"] == "list"]
    means = lists.groupby("topic", sort=False)[list(TOPICS)].mean()
    rows = [{"x": target, "y": topic, "value": means.loc[topic, target]} for topic in means.index for target in TOPICS]
    return Grid(
        name=f"topics-grid-{name}",
        title=f"Which topics gain under which lists in {name} ({lists['dial'].iloc[0]})",
        x_label="topic whose words are scored",
        y_label="topic of the list",
        value_label="gain in log-probability (nats)",
        table=pd.DataFrame(rows),
        note=f"Mean over {len(lists)} lists × prompts that did not choose the place.",
        centre=0.0,
    )
