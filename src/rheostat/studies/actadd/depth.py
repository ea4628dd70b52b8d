"""At which depth does a topic's vector help on topic, and harm off topic, beyond neutral nouns?"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from rheostat.base.shapes import Profile
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.studies.actadd.measuring import TOPIC, Scored
from rheostat.studies.actadd.power import Power
from rheostat.studies.actadd.scoring import ratio_curve
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-3"
STATEMENT = "Every layer but 0 helps on-topic; layers before 9 of 48 harm unrelated text; 10 to 17 help without harm."
EARLY, MIDDLE = 9 / 48, (10 / 48, 17 / 48)
"""Depths that the claim names, as shares of the blocks."""


def measure_all(name: str, scored: Scored, topic: str, n_blocks: int, seed: int) -> list[Measurement]:
    """Return help on topic behind block 0 and in the middle, and harm off topic early, beyond the neutral nouns."""
    word, other = scored.texts.word(topic), scored.texts.other(topic)
    depths = np.array(scored.blocks) / n_blocks
    early, middle = (depths > 0) & (depths < EARLY), (depths >= MIDDLE[0]) & (depths <= MIDDLE[1])
    on = scored.of_nouns(topic).mean(axis=0) - scored.ratios(topic, word, TOPIC)
    off = scored.ratios(other, word, TOPIC) - scored.of_nouns(other).mean(axis=0)
    asked = {
        "help on topic behind block 0": on[:, depths > 0],
        "help on topic at 10/48 to 17/48 of the depth": on[:, middle],
        "harm off topic before 9/48 of the depth": off[:, early],
    }
    found = partial(measurement, name, control=0.0, unit="sentences", control_name="the mean neutral noun")
    return [
        found(f"{what},{word} (nats per token)", bootstrap_mean(values.mean(axis=1), seed=seed))
        for what, values in asked.items()
    ]


def run(passages: Mapping[str, Scored], n_blocks: Mapping[str, int], seed: int, power: Power) -> Part:
    """Judge the claim on the passages."""
    every = {
        name: [one for topic in scored.texts.topics for one in measure_all(name, scored, topic, n_blocks[name], seed)]
        for name, scored in passages.items()
    }
    deciding = [one for found in every.values() for one in found]
    raw = "; ".join(_raw(name, scored, n_blocks[name]) for name, scored in passages.items())
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=power.found),
        reason=f"{held(deciding)} Raw perplexity ratios off topic at the early block: {raw}; below 1 is no harm.",
        measurements=tuple(deciding),
    )
    figures = tuple(
        _profile(name, scored, topic, seed) for name, scored in passages.items() for topic in scored.texts.topics
    )
    section = Section(
        heading="Over depth",
        text="\n\n".join(f"{name}. {compared_all(found)}" for name, found in every.items()),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), figures=figures, verdicts=(verdict,))


def _raw(name: str, scored: Scored, n_blocks: int) -> str:
    early = next(place for place, block in enumerate(scored.blocks) if block > 0)
    said = []
    for topic in scored.texts.topics:
        word, other = scored.texts.word(topic), scored.texts.other(topic)
        own = np.exp(scored.ratios(other, word, TOPIC)[:, early].mean())
        nouns = np.exp(scored.of_nouns(other)[:, :, early].mean())
        said.append(f"{word.strip()} {number(float(own))} (neutral nouns {number(float(nouns))})")
    return f"{' and '.join(said)} at block {scored.blocks[early]} of {n_blocks} on {name}"


def _profile(name: str, scored: Scored, topic: str, seed: int) -> Profile:
    word, blocks = scored.texts.word(topic), scored.blocks
    rows: list[dict[str, object]] = []
    for text, where in ((topic, "on topic"), (scored.texts.other(topic), "off topic")):
        every = scored.blocks_of(word, TOPIC)
        own = scored.ratios(text, word, TOPIC, blocks=every)
        rows += ratio_curve(f"{where}: {word.strip()} − space", zip(every, own.T, strict=True), seed)
        nouns = scored.of_nouns(text).mean(axis=1)
        for place, column in zip(blocks, np.exp(nouns).T, strict=True):
            band = {"x": place, "value": float(column.mean()), "low": float(column.min()), "high": float(column.max())}
            rows.append({**band, "series": f"{where}: neutral nouns, range"})
    return Profile(
        name=f"ratio-{topic}-{name}",
        title=f"Perplexity ratio of the vector {word.strip()} − space, {name}",
        x_label="block at whose input the vector is added",
        y_label="perplexity with the vector / without it",
        table=pd.DataFrame(rows),
        note=f"Coefficient 1, n = {len(scored.ratios(topic, word, TOPIC))} sentences each, weighed by tokens; 95 % "
        f"bootstrap intervals, for the {len(scored.nouns)} nouns the range. Block 0 is prompting with the word.",
        reference={"no change": 1.0},
    )
