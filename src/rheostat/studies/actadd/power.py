"""Planted cases: a direction that says a topic's words, written before the last norm, which every measure must find."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import bootstrap_mean
from rheostat.model import Model
from rheostat.sites.positions import PositionsLike
from rheostat.studies.actadd.measuring import Scored
from rheostat.studies.actadd.scoring import N_VECTOR, Arm, beginnings, log_ratios, losses, spaced
from rheostat.studies.actadd.texts import TextSet
from rheostat.studies.actadd.words import TOPIC_WORDS
from rheostat.studies.decoding.planted import saying_direction
from rheostat.studies.judging import number
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens

STRENGTH = 0.05
"""Of the planted direction in texts, in lengths of the state."""
PLANTED = "planted"


@dataclass(frozen=True)
class Power:
    """Whether what was planted is found, and how that is said."""

    found: bool
    text: str


def planted_edit(model: Model, topic: str, positions: PositionsLike, strength: float) -> Add:
    """Return the edit that says a topic's words before the last norm."""
    site = f"blocks.{model.n_blocks - 1}.resid_post"
    state = model.capture("The", site, positions="last")[site][0, 0]
    tokens = group_tokens(model, TOPIC_WORDS[topic])
    direction = saying_direction(model, tokens, state) * state.norm()
    return Add(site, direction, positions=positions, strength=strength)


def measure(model: Model, context: Context, texts: TextSet) -> pd.DataFrame:
    """Return losses of the passages while a topic's words are said at every scored token, rows as of `Scored`."""
    begin = beginnings(model)[0]

    def compute() -> pd.DataFrame:
        tables = []
        for topic, sentences in zip(texts.topics, texts.sentences, strict=True):
            prompts = [spaced(model, one, begin) for one in sentences]
            arms = [
                Arm(said, PLANTED, 0, 1.0, planted_edit(model, said, slice(N_VECTOR, None), STRENGTH))
                for said in texts.topics
            ]
            tables.append(losses(model, prompts, arms).assign(topic=topic))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, sentences=texts.sentences, begin=begin, strength=STRENGTH, said=TOPIC_WORDS)
    return context.step(f"planted-{model.name}", params, compute)


def of_passages(tables: Mapping[str, pd.DataFrame], scored: Mapping[str, Scored], seed: int) -> Power:
    """Tell whether the planted topics stand out from the neutral nouns on every model."""
    intervals = {}
    for name, table in tables.items():
        one = scored[name]
        for topic in one.texts.topics:
            on, off = (
                log_ratios(table[(table["topic"] == text) & (table["vector"] == topic)])[:, 0]
                for text in (topic, one.texts.other(topic))
            )
            n = min(len(on), len(off))
            neutral = (one.of_nouns(topic)[:, :n] - one.of_nouns(one.texts.other(topic))[:, :n]).mean(axis=(0, 2))
            intervals[f"{topic}, {name}"] = bootstrap_mean(neutral - (on[:n] - off[:n]), seed=seed)
    said = "; ".join(f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}] ({name})" for name, one in intervals.items())
    return Power(
        all(one.above_zero for one in intervals.values()),
        f"A direction that says the topic's words, added to every scored token at {number(STRENGTH)} of the state's "
        f"length, gives a dissociation beyond the nouns of {said}.",
    )
