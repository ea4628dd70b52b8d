"""Does the word's embedding, added at a later block, do what that block's own vector does?"""

from collections.abc import Mapping

import numpy as np

from rheostat.metrics.statistics import Values, paired_difference
from rheostat.studies.actadd.completions import Completed
from rheostat.studies.actadd.measuring import EMBEDDING, RANDOM, RESCALED, TOPIC, Scored
from rheostat.studies.actadd.on_topic import cross_fitted
from rheostat.studies.actadd.power import Power
from rheostat.studies.judging import against, compared_all, held, judge, measurement
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-6"
STATEMENT = (
    "Adding the word's embedding at a later layer does not have the effect of that layer's own vector; the layers in "
    "between do the work."
)


def on_texts(name: str, scored: Scored, topic: str, seed: int) -> list[Measurement]:
    """Return the dissociation of the true vector beyond that of the embedding, at its own length and rescaled."""
    word = scored.texts.word(topic)
    blocks = scored.blocks_of(word, EMBEDDING)

    def best(vector: str, kind: str) -> Values:
        return -cross_fitted(scored.dissociation(topic, vector, kind, blocks=blocks))

    own = best(word, TOPIC)
    controls = {kind: best(word, kind) for kind in (EMBEDDING, RESCALED)}
    quantity = f"log ratio off topic − on topic,{word}"
    return against(name, quantity, own, controls, unit="sentence pairs", seed=seed)


def in_completions(name: str, completed: Completed, seed: int) -> list[Measurement]:
    """Return the share of completions on the topic with the true vector beyond that with the embedding."""
    block = completed.blocks[-1]
    own = completed.shares(TOPIC, block)
    controls = {kind: completed.shares(kind, block) for kind in (EMBEDDING, RESCALED)}
    return against(
        name, f"share of completions with a wedding word, block {block}", own, controls, unit="prompts", seed=seed
    )


def beyond_random(name: str, completed: Completed, seed: int) -> list[Measurement]:
    """Return what the embedding does beyond a random vector of equal length: it is a weaker vector, or none at all."""
    block = completed.blocks[-1]
    own, drawn = completed.shares(RESCALED, block), completed.shares(RANDOM, block)
    return [
        measurement(
            name,
            f"share of completions with a wedding word, embedding rescaled, block {block} (does not decide)",
            paired_difference(own, drawn, seed=seed),
            control=float(np.mean(drawn)),
            unit="prompts",
            control_name="a random vector of equal length",
        )
    ]


def run(passages: Mapping[str, Scored], completed: Mapping[str, Completed], seed: int, power: Power) -> Part:
    """Judge the claim."""
    every = {
        name: [
            *(one for topic in scored.texts.topics for one in on_texts(name, scored, topic, seed)),
            *in_completions(name, completed[name], seed),
        ]
        for name, scored in passages.items()
    }
    beside = {name: beyond_random(name, one, seed) for name, one in completed.items()}
    deciding = [one for found in every.values() for one in found]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=power.found),
        reason=f"{held(deciding)} Rescaled: the embedding's difference at the length of the block's own vector, so "
        "that scale is no explanation.",
        measurements=(*deciding, *(one for found in beside.values() for one in found)),
    )
    section = Section(
        heading="The embedding in the vector's place",
        text="The difference of the two embeddings is added at a later block, at its own length and at that of the "
        "block's vector.\n\n"
        + "\n\n".join(f"{name}. {compared_all([*found, *beside[name]])}" for name, found in every.items()),
    )
    return Part((section,), verdicts=(verdict,))
