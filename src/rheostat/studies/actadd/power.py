"""Planted cases: effects of a known size, which the measures must find."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Interval, paired_difference
from rheostat.model import Model
from rheostat.studies.actadd.measuring import NOUN, Scored
from rheostat.studies.actadd.words import TOPIC_WORDS
from rheostat.studies.decoding.planted import saying_direction
from rheostat.studies.vocabulary import group_tokens

PLANTED_GAIN = 0.1
"""Nats per token that a neutral noun is made to gain on one topic's texts; the paper's vector gains .087."""
PLANTED = "planted"


@dataclass(frozen=True)
class Power:
    """Whether what was planted is found, and how that is said."""

    found: bool
    text: str


def planted_in_completions(model: Model, topic: str, strength: float) -> Add:
    """Return the edit that makes a topic's words likely, whatever the state before the last norm."""
    site = f"blocks.{model.n_blocks - 1}.resid_post"
    state = model.capture("The", site, positions="last")[site][0, 0]
    direction = saying_direction(model, group_tokens(model, TOPIC_WORDS[topic]), state)
    return Add(site, direction * state.norm(), strength=strength)


def planted_gain(scored: Scored, topic: str, seed: int) -> Interval:
    """Return how far the most ordinary noun lies beyond the others once it was given the planted gain, at some block.

    The last block of `scored` is taken, and the noun whose dissociation there is nearest to the mean.
    """
    nouns = np.stack([scored.dissociation(topic, noun, NOUN)[:, -1] for noun in scored.nouns])
    means = nouns.mean(axis=1)
    ordinary = int(np.abs(means - means.mean()).argmin())
    others = np.delete(nouns, ordinary, axis=0).mean(axis=0)
    return paired_difference(others, nouns[ordinary] - PLANTED_GAIN, seed=seed)


def of_passages(scored: Mapping[str, Scored], seed: int) -> Power:
    """Tell whether the planted gain is found for both topics on every model."""
    found = {
        f"{topic}, {name}": planted_gain(one, topic, seed) for name, one in scored.items() for topic in one.texts.topics
    }
    said = "; ".join(f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}] ({name})" for name, one in found.items())
    return Power(
        all(one.above_zero for one in found.values()),
        f"A gain of {PLANTED_GAIN:g} nats per token on topic, given to the most ordinary noun, is measured as {said}.",
    )
