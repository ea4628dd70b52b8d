"""Does mixing redirect the completion only up to the block whose attention reads the topic?

Half of the lists choose the factor and the other half is reported, over all prompts; the lists are resampled, for the
prompts are few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Values, paired_difference
from rheostat.studies.decoding.mixing import SOURCES
from rheostat.studies.decoding.sweep import Sweep
from rheostat.studies.judging import measurement
from rheostat.studies.record import Measurement

READ_TOP = 20
"""A topic counts as read where one of its words is among this many likeliest tokens."""
PLANTED_STEP = 0.5
"""Nats that the planted case gains up to the reading block."""


def first_read(readings: pd.DataFrame) -> dict[str, int]:
    """Return, per prompt, the first block whose attention output reads the topic; prompts without one are left out."""
    hits = readings[readings["rank"] <= READ_TOP]
    return {str(prompt): int(group["block"].min()) for prompt, group in hits.groupby("prompt")}


def step_at_reading(name: str, sweep: Sweep, read: Mapping[str, int], source: str, seed: int) -> list[Measurement]:
    """Return the own topic's gain by mixing up to the reading block, and how much weaker mixing after it is.

    The unit is a list, averaged over the prompts whose topic is read before the last block. Empty without any such.
    """
    arms: list[Values] = []
    for index, reporting in sweep.held_out("probability", source=source):
        same = sweep.alike(sweep.dials[index])
        blocks = np.array([float(sweep.dials[row].block) for row in same])
        gain = sweep.beyond("gain", reporting)[:, :, same]
        usable = [place for place, prompt in enumerate(sweep.prompts) if blocks[0] <= read.get(prompt, -1) < blocks[-1]]
        if not usable:
            return []
        arms.append(np.mean([_arms(gain[:, place], blocks, read[sweep.prompts[place]]) for place in usable], axis=0))
    before, step, anywhere = np.concatenate(arms, axis=1)
    none, quantity = np.zeros_like(step), f"that gain minus the gain by mixing after the block, {source}"
    return [
        measurement(
            name,
            what,
            paired_difference(effect, control, seed=seed),
            control=float(control.mean()),
            unit="word lists",
            control_name=control_name,
        )
        for what, effect, control, control_name in (
            (f"gain of the own topic by mixing up to the reading block, {source}", before, none, "control texts there"),
            (quantity, step, none, "no step"),
            (quantity, step, anywhere, "a step at any block"),
        )
    ]


def _arms(gain: Values, blocks: Values, at: int) -> Values:
    """Return, per list, the mean gain up to a block, the step after it, and the mean step after any block."""
    step = [gain[:, blocks <= end].mean(axis=1) - gain[:, blocks > end].mean(axis=1) for end in blocks[:-1]]
    return np.stack([gain[:, blocks <= at].mean(axis=1), step[int((blocks <= at).sum()) - 1], np.mean(step, axis=0)])


def with_planted_step(sweep: Sweep, read: Mapping[str, int], seed: int) -> Sweep:
    """Return the sweep with its blocks shuffled, which leaves no step, and a gain planted up to the reading block."""
    rng, gain = np.random.default_rng(seed), sweep.measures["gain"].copy()
    for strength in {(dial.source, dial.factor): dial for dial in sweep.dials}.values():
        same = sweep.alike(strength)
        for place, prompt in enumerate(sweep.prompts):
            gain[:, :, place, same] = gain[:, :, place, rng.permutation(same)]
            before = [row for row in same if sweep.dials[row].block <= read.get(prompt, -1)]
            for topic, text in enumerate(sweep.own):
                gain[text, topic, place, before] += PLANTED_STEP
    return replace(sweep, measures={**sweep.measures, "gain": gain})


def steps_at_reading(name: str, sweep: Sweep, read: Mapping[str, int], seed: int) -> list[list[Measurement]]:
    """Return what `step_at_reading` measures with each source that has a reading block."""
    every = [step_at_reading(name, sweep, read, source, seed) for source in SOURCES]
    return [measured for measured in every if measured]


def deciding_of(measured: Sequence[Measurement]) -> list[Measurement]:
    """Return the gain up to the reading block, and the weaker of the step's two comparisons."""
    gain, *step = measured
    return [gain, min(step, key=lambda one: one.low)]
