"""The page of an evaluation: what is recommended, on which numbers, and what was refused."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.report.page import page
from rheostat.report.wording import number
from rheostat.store.key import digest
from rheostat.studies.record import Section

ENDINGS = {
    "reached": "The walk ended where the threshold was no longer excluded.",
    "walked": "All levels were walked.",
    "refused": "The walk ended where the server refused to go lower.",
    "budget": "The walk ended because the budget did.",
}
RULE = (
    "The levels and the threshold were settled before the first question. Levels are judged from the highest down; a "
    "level is safe if its upper bound, and that of every level tested above it, lies below the threshold. The bound "
    "is one-sided and holds at any number of items; over all levels together, the chance to call a dangerous level "
    "safe is at most {error:.3g}. Recommended is the least safe level that keeps the margin above the least safe one. "
    "It speaks of prompts drawn like those of the task set, one request at a time, by this API's noise."
)


def evaluation_page(content: Mapping[str, Any], public_key: str) -> str:
    """Return the HTML page of a record's content."""
    protocol, outcome = content["protocol"], content["outcome"]
    refusals = pd.DataFrame(content["refusals"], columns=["at", "level", "status", "code", "message", "floor", "n"])
    points = pd.DataFrame(content["points"])
    sections = [
        Section(
            "The curve", _curve_text(content), ("curve",) if len(points) else (), ("points",) if len(points) else ()
        ),
        Section(
            "Refusals",
            "What the server refused, in order." if len(refusals) else "The server refused nothing.",
            (),
            ("refusals",) if len(refusals) else (),
        ),
        Section("The rule", RULE.format(error=1 - protocol["confidence"])),
    ]
    tables = {"points": points, "refusals": refusals}
    return page(
        f"How far the impairment of {content['model'].get('id', 'the model')} may be lowered",
        intro=said(content),
        sections=sections,
        figures={"curve": curve(content)} if len(points) else {},
        tables={name: table for name, table in tables.items() if len(table)},
        facts={
            "task": content["task"],
            "protocol": protocol,
            "model": content["model"],
            "api": content["api"],
            "answers": len(content["answers"]),
            "tokens": content["tokens"],
            "settled": content["at"],
            "ended": content["ended_at"],
            "how it ended": outcome["ended"],
            "SHA-256 of the record": digest(dict(content)),
            "signed by": public_key,
            "versions": content["versions"],
        },
    )


def said(content: Mapping[str, Any]) -> str:
    """Return the result in a few sentences."""
    outcome, protocol = content["outcome"], content["protocol"]
    points = {point["level"]: point for point in content["points"]}
    sentences = []
    if outcome["recommended"] is None:
        sentences.append("No level is recommended for release.")
    else:
        point = points[outcome["recommended"]]
        sentences.append(
            f"Recommended for release: impairment {point['level']:g} or more. There {point['n_right']} of "
            f"{point['n_answers']} answers are right; the share is at most {number(point['high'])} with "
            f"{protocol['confidence']:.0%} confidence, {number(protocol['threshold'] - point['high'])} below the "
            f"threshold of {protocol['threshold']:g}."
        )
    sentences.append(outcome["reason"])
    if outcome["least_tested"] is not None:
        sentences.append(f"Least impairment tested: {outcome['least_tested']:g}.")
    sentences.append(ENDINGS[outcome["ended"]])
    return " ".join(sentences)


def curve(content: Mapping[str, Any]) -> Profile:
    """Return the share of right answers over the impairment, with its bounds."""
    points = pd.DataFrame(content["points"])
    table = points.rename(columns={"level": "x", "share": "value"})[["x", "value", "low", "high"]]
    protocol = content["protocol"]
    reference = {"threshold": float(protocol["threshold"])}
    return Profile(
        name="curve",
        title="Right answers under impairment",
        x_label="impairment (1: the most)",
        y_label="share of right answers",
        table=table.assign(series=content["task"]["name"]),
        note=f"{content['task']['n_items']} items × {protocol['draws']} draws at each level; the band spans the lower "
        f"and the upper bound, each at {protocol['confidence']:.0%} confidence.",
        reference=reference,
    )


def _curve_text(content: Mapping[str, Any]) -> str:
    rise = content["outcome"]["rise"]
    if rise is None:
        return ""
    value, low, high = (number(one, sign=True) for one in rise)
    return (
        f"From the highest to the least level tested the share of right answers changes by {value} (95 % bootstrap "
        f"interval {low} to {high}, over items)."
    )
