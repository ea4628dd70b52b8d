"""Does a topic's vector help texts on its topic and leave others alone, more than any neutral noun does?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.actadd.measuring import NOUN, RANDOM, TOPIC, Scored
from rheostat.studies.actadd.power import Power
from rheostat.studies.curve import curve
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-2"
STATEMENT = "A “weddings” vector lowers perplexity on wedding text and leaves unrelated (shipping) text as it was."

Sets = Mapping[str, Scored]
"""Model name → one set of texts, scored."""


def cross_fitted(values: Values) -> Values:
    """Return each unit's value (unit,) at the block that is lowest on the other half of the units."""
    return at_places(values, chosen_by_other_half(-values))


def dissociations(scored: Scored, topic: str) -> tuple[Values, Values, Values]:
    """Return the topic's vector (pair,), the nouns (noun, pair) and random vectors (random, pair).

    log ratio on the topic's texts − log ratio on the other's, at the block where the topic's vector lies farthest below
    the mean noun on the other half of the sentences.
    """
    own = scored.dissociation(topic, scored.texts.word(topic), TOPIC)
    nouns = np.stack([scored.dissociation(topic, noun, NOUN) for noun in scored.nouns])
    chosen = chosen_by_other_half(nouns.mean(axis=0) - own)
    drawn = [at_places(scored.dissociation(topic, one, RANDOM), chosen) for one in scored.names(RANDOM)]
    return at_places(own, chosen), np.stack([at_places(one, chosen) for one in nouns]), np.stack(drawn)


def measure_all(name: str, scored: Scored, topic: str, seed: int) -> list[Measurement]:
    """Return how far the topic's vector lies beyond the mean noun and beyond the most extreme one."""
    own, nouns, _ = dissociations(scored, topic)
    extreme = int(nouns.mean(axis=1).argmin())
    controls = {
        f"the mean of {len(nouns)} neutral nouns": -nouns.mean(axis=0),
        f"the most extreme noun,{scored.nouns[extreme]}": -nouns[extreme],
    }
    quantity = f"log ratio off topic − on topic,{scored.texts.word(topic)}"
    return against(name, quantity, -own, controls, unit="sentence pairs", seed=seed)


def measure_beside(name: str, scored: Scored, topic: str, seed: int) -> list[Measurement]:
    """Return the same against a random vector, and against the most extreme noun at the block that suits it best.

    A random vector breaks both texts, one sentence much more than the next, so its dissociation tells little.
    """
    own, _, drawn = dissociations(scored, topic)
    quantity = f"log ratio off topic − on topic,{scored.texts.word(topic)} (does not decide)"
    random = {"a random vector of equal length": -drawn.mean(axis=0)}
    found = against(name, quantity, -own, random, unit="sentence pairs", seed=seed)
    if len(scored.blocks) == 1:
        return found
    best = cross_fitted(scored.dissociation(topic, scored.texts.word(topic), TOPIC))
    nouns = np.stack([cross_fitted(scored.dissociation(topic, noun, NOUN)) for noun in scored.nouns])
    extreme = int(nouns.mean(axis=1).argmin())
    freely = {f"the most extreme noun, its block chosen too,{scored.nouns[extreme]}": -nouns[extreme]}
    quantity = f"log ratio off topic − on topic, each at its best block,{scored.texts.word(topic)} (does not decide)"
    return found + against(name, quantity, -best, freely, unit="sentence pairs", seed=seed)


def run(sets: Mapping[str, Sets], seed: int, power: Power) -> Part:
    """Judge the claim over every set of texts, model and topic."""
    deciding: list[Measurement] = []
    beside: list[Measurement] = []
    counts = []
    for by_model in sets.values():
        for name, scored in by_model.items():
            for topic in scored.texts.topics:
                deciding += measure_all(name, scored, topic, seed)
                beside += measure_beside(name, scored, topic, seed)
                own, nouns, _ = dissociations(scored, topic)
                beyond = int((own.mean() < nouns.mean(axis=1)).sum())
                counts.append(f"{topic}, {name}: {beyond} of {len(nouns)}")
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=power.found),
        reason=f"{held(deciding)} Nouns that the topic's vector lies beyond: {'; '.join(counts)}. The block is chosen "
        f"on one half of the sentences and reported on the other. {power.text}",
        measurements=(*deciding, *beside),
    )
    figures: list[Figure] = []
    for by_model in sets.values():
        for name, scored in by_model.items():
            figures += [_profile(name, scored, topic, seed) for topic in scored.texts.topics]
    text = "\n\n".join(
        f"{name}, {set_name}. "
        + compared_all([one for topic in scored.texts.topics for one in measure_all(name, scored, topic, seed)])
        for set_name, by_model in sets.items()
        for name, scored in by_model.items()
    )
    section = Section(
        heading="On topic and off topic, against neutral nouns",
        text="A vector `word − space` is added over a space that was inserted behind the text's first token, so it "
        "overlaps nothing that is scored. A log ratio is the mean loss with the vector minus that with the bare space, "
        "in nats per token; its exponential is the perplexity ratio. Any noun makes a text likelier than the bare "
        "space does, so the raw ratio says little: what counts is whether the topic's own texts gain more than the "
        "other topic's, beyond what neutral nouns do.\n\n" + text,
        figures=tuple(figure.name for figure in figures),
        tables=("ratios",),
    )
    return Part((section,), {"ratios": ratios(sets)}, tuple(figures), (verdict,))


def ratios(sets: Mapping[str, Sets]) -> pd.DataFrame:
    """Return perplexity ratios: rows {model, texts, vector, kind, block, n, and a column per text's topic}."""
    rows = []
    for set_name, by_model in sets.items():
        for name, scored in by_model.items():
            table = scored.table[scored.table["coefficient"] == 1.0]
            for (vector, kind, block), part in table.groupby(["vector", "kind", "block"], sort=False):
                place = {"model": name, "texts": set_name, "vector": vector, "kind": kind, "block": block}
                rows.append(place | dict(zip(("on_first", "on_second"), _both(part, scored), strict=True)))
    return pd.DataFrame(rows)


def _both(part: pd.DataFrame, scored: Scored) -> tuple[float, float]:
    shift = (part["loss"] - part["clean"]) * part["tokens"]
    first, second = (
        float(np.exp(shift[part["topic"] == topic].sum() / part.loc[part["topic"] == topic, "tokens"].sum()))
        for topic in scored.texts.topics
    )
    return first, second


def _profile(name: str, scored: Scored, topic: str, seed: int) -> Profile:
    """Draw the dissociation of the topic's vector over the blocks, with the nouns' mean and the band of all of them."""
    blocks = scored.blocks
    own = scored.dissociation(topic, scored.texts.word(topic), TOPIC)
    nouns = np.stack([scored.dissociation(topic, noun, NOUN).mean(axis=0) for noun in scored.nouns])
    rows = curve(f"{scored.texts.word(topic).strip()} − space", zip(blocks, own.T, strict=True), seed)
    for place, column in zip(blocks, nouns.T, strict=True):
        band = {"x": place, "value": float(column.mean()), "low": float(column.min()), "high": float(column.max())}
        rows.append({**band, "series": f"neutral nouns: mean, least and most of {len(nouns)}"})
    drawn = np.mean([scored.dissociation(topic, one, RANDOM) for one in scored.names(RANDOM)], axis=0)
    rows += curve("random vectors of equal length", zip(blocks, drawn.T, strict=True), seed)
    return Profile(
        name=f"dissociation-{topic}-{name}",
        title=f"Texts on {topic} against texts on {scored.texts.other(topic)}, {name}",
        x_label="block at whose input the vector is added",
        y_label="log ratio on topic − off topic (nats per token)",
        table=pd.DataFrame(rows),
        note=f"Below the nouns' band: the vector helps its own topic's texts more than any neutral noun does. "
        f"Coefficient 1, n = {len(own)} pairs of sentences; 95 % bootstrap intervals, for nouns the range of means.",
        reference={"no difference": 0.0},
    )
