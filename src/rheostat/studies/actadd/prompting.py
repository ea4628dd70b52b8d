"""Does prompting with the word give a like gain on topic, but harm unrelated text where the vector does not?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.studies.actadd.measuring import TOPIC, Scored
from rheostat.studies.actadd.power import Power
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-5"
STATEMENT = "Prompting with the word instead gives a similar on-topic gain but harms unrelated text."


def matched_block(scored: Scored, topic: str) -> int:
    """Return which block behind 0 (its number in `blocks`) helps on topic most nearly as much as prompting does.

    It is chosen on the topic's own texts, and reported on the other's.
    """
    on = scored.ratios(topic, scored.texts.word(topic), TOPIC).mean(axis=0)
    return 1 + int(np.abs(on[1:] - on[0]).argmin())


def prompt_minus_vector(scored: Scored, topic: str) -> tuple[Values, Values]:
    """Return, per unrelated sentence, the log ratio of prompting − that of the vector: the word's, the nouns'."""
    place, other = matched_block(scored, topic), scored.texts.other(topic)
    own, nouns = scored.ratios(other, scored.texts.word(topic), TOPIC), scored.of_nouns(other).mean(axis=0)
    return own[:, 0] - own[:, place], nouns[:, 0] - nouns[:, place]


def measure_all(name: str, scored: Scored, topic: str, seed: int) -> list[Measurement]:
    """Return harm by prompting beyond the vector's, against none and against that of neutral nouns."""
    own, nouns = prompt_minus_vector(scored, topic)
    block, word = scored.blocks[matched_block(scored, topic)], scored.texts.word(topic)
    quantity = f"harm off topic, prompting − vector at block {block},{word} (nats per token)"
    controls = {"none": np.zeros(len(own)), "neutral nouns, the same difference": nouns}
    return [
        measurement(
            name,
            quantity,
            paired_difference(own, control, seed=seed),
            control=float(control.mean()),
            unit="sentences",
            control_name=label,
        )
        for label, control in controls.items()
    ]


def identity_error(scored: Scored, prompted: pd.DataFrame) -> float:
    """Return the largest difference of a sentence's loss between prompting with a word and its vector at block 0."""
    errors = []
    for word in scored.texts.words:
        table = scored.table
        steered = table[(table["vector"] == word) & (table["kind"] == TOPIC) & (table["block"] == 0)]
        asked = prompted[prompted["inserted"] == word]
        both = steered.merge(asked, on=["topic", "sentence"], suffixes=("", "_prompted"), validate="one_to_one")
        errors.append(float((both["loss"] - both["loss_prompted"]).abs().max()))
    return max(errors)


def run(passages: Mapping[str, Scored], prompted: Mapping[str, pd.DataFrame], seed: int, power: Power) -> Part:
    """Judge the claim."""
    every = {
        name: [one for topic in scored.texts.topics for one in measure_all(name, scored, topic, seed)]
        for name, scored in passages.items()
    }
    deciding = [one for found in every.values() for one in found]
    error = max(identity_error(scored, prompted[name]) for name, scored in passages.items())
    similar = "; ".join(_similar(name, scored) for name, scored in passages.items())
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=power.found),
        reason=f"{held(deciding)} On topic, perplexity ratio of prompting and of the vector: {similar}. Prompting is "
        f"the vector at block 0 with coefficient 1; the losses of a sentence differ by at most {number(error)} nats.",
        measurements=tuple(deciding),
    )
    section = Section(
        heading="Against prompting",
        text="Prompting puts the word where the space stands. The vector's block is the one whose gain on topic comes "
        "nearest to that of prompting.\n\n"
        + "\n\n".join(
            f"{name}. {compared_all(found)} {_space(passages[name], prompted[name], seed)}"
            for name, found in every.items()
        ),
        tables=("prompting",),
    )
    return Part((section,), {"prompting": joined(prompted)}, verdicts=(verdict,))


def _similar(name: str, scored: Scored) -> str:
    said = []
    for topic in scored.texts.topics:
        place = matched_block(scored, topic)
        on = np.exp(scored.ratios(topic, scored.texts.word(topic), TOPIC).mean(axis=0))
        said.append(f"{topic} {number(float(on[0]))} and {number(float(on[place]))} at block {scored.blocks[place]}")
    return f"{', '.join(said)} ({name})"


def _space(scored: Scored, prompted: pd.DataFrame, seed: int) -> str:
    """Tell how odd the inserted space is by itself."""
    bare = prompted[prompted["inserted"] == ""]
    table = scored.table
    clean = table[(table["vector"] == scored.texts.words[0]) & (table["kind"] == TOPIC) & (table["block"] == 0)]
    both = clean.merge(bare, on=["topic", "sentence"], suffixes=("", "_bare"), validate="one_to_one")
    shift = (both["clean"] - both["loss_bare"]) * both["tokens"] / both["tokens"].mean()
    found = bootstrap_mean(shift.to_numpy(dtype=float), seed=seed)
    return f"The inserted space alone costs {found} nats per token."
