"""What the token that begins every text does to the vectors."""

from collections.abc import Mapping

import pandas as pd

from rheostat.metrics.statistics import bootstrap_mean
from rheostat.studies.actadd.measuring import TOPIC, Scored
from rheostat.studies.judging import number
from rheostat.studies.part import Part
from rheostat.studies.record import Section

ByBeginning = Mapping[str, Scored]
"""Token that begins every text → the passages, scored at one block."""


def run(found: Mapping[str, ByBeginning], seed: int) -> Part:
    """Show both tokens; no claim is judged."""
    table = summary(found, seed)
    said = [
        f"{row['model']}, {row['begin']}, {row['vector'].strip()} at block {row['block']}: "
        f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"
        for row in table.to_dict("records")
    ]
    section = Section(
        heading="The token that begins every text",
        text="The paper puts one token before every text; position 0 of a vector is zero for it. A tokenizer may add "
        "none, or one that opens a turn of a chat rather than a text. The topic's dissociation beyond the mean of a "
        "few nouns (log ratio off topic − on topic, nats per token):\n\n" + "; ".join(said) + ".",
        tables=("beginnings",),
    )
    return Part((section,), {"beginnings": table})


def summary(found: Mapping[str, ByBeginning], seed: int) -> pd.DataFrame:
    """Return rows {model, begin, vector, block, ratio_on, ratio_off, value, low, high, n}."""
    rows = []
    for name, by_beginning in found.items():
        for begin, scored in by_beginning.items():
            for topic in scored.texts.topics:
                word, other = scored.texts.word(topic), scored.texts.other(topic)
                own = scored.dissociation(topic, word, TOPIC)[:, 0]
                nouns = (scored.of_nouns(topic)[:, : len(own)] - scored.of_nouns(other)[:, : len(own)]).mean(axis=0)
                beyond = bootstrap_mean(nouns[:, 0] - own, seed=seed)
                rows.append(
                    {
                        "model": name,
                        "begin": begin,
                        "vector": word,
                        "block": scored.blocks[0],
                        "log_ratio_on": float(scored.ratios(topic, word, TOPIC).mean()),
                        "log_ratio_off": float(scored.ratios(other, word, TOPIC).mean()),
                        "value": beyond.value,
                        "low": beyond.low,
                        "high": beyond.high,
                        "n": beyond.n,
                    }
                )
    return pd.DataFrame(rows)
