"""The part on the prompts: how many, how hard, what was dropped, and whether any gives its keyword away."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.data.inflections import giveaways
from rheostat.impairment.fair_chance import LEAST_PROBABILITY
from rheostat.metrics.statistics import Interval, Values, bootstrap_weights
from rheostat.studies.impairment.topics import MEASURED, MEASURED_QUICK, fair_prompts
from rheostat.studies.part import Part
from rheostat.studies.record import Section
from rheostat.studies.study import Context

N_EXAMPLES, N_WORDS = 3, 12
"""Prompts that are shown per topic, and how many of their last words."""


def part(context: Context) -> Part:
    """Count and describe the prompts of every model."""
    n = MEASURED_QUICK if context.quick else MEASURED
    asked = {model.name: fair_prompts(context, model, n, part="measure").table for model in context.models}
    counts = pd.concat([counts_of(name, table, context.seed) for name, table in asked.items()], ignore_index=True)
    examples = pd.concat([_examples(name, table) for name, table in asked.items()], ignore_index=True)
    section = Section(
        heading="Prompts that lead up to a topic's keywords",
        text=_text(asked, counts),
        tables=("prompts", "prompt-examples"),
    )
    return Part((section,), {"prompts": counts, "prompt-examples": examples})


def counts_of(name: str, table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return one row per topic: prompts asked and kept, and the kept ones' baseline with intervals over articles."""
    rows = []
    for topic, own in table.groupby("topic", sort=True):
        kept = own[own["fair"].astype(bool)]
        loss, right = over_articles(kept, "loss", seed), over_articles(kept, "right", seed)
        rows.append(
            {
                "model": name,
                "topic": topic,
                "asked": len(own),
                "dropped": len(own) - len(kept),
                "kept": len(kept),
                "articles": kept["article"].nunique(),
                "keywords": kept["keyword"].str.lower().nunique(),
                "of several tokens": float((kept["answer_tokens"] > 1).mean()),
                "loss": loss.value,
                "loss_low": loss.low,
                "loss_high": loss.high,
                "right": right.value,
                "right_low": right.low,
                "right_high": right.high,
                "loss of all asked": float(own["loss"].mean()),
                "right of all asked": float(own["right"].mean()),
                "giveaways": int(own["giveaways"].sum()),
            }
        )
    return pd.DataFrame(rows)


def over_articles(table: pd.DataFrame, column: str, seed: int) -> Interval:
    """Return the mean of a column over prompts, with its interval over resampled articles."""
    grouped = table.groupby("article")[column]
    sums, sizes = grouped.sum().to_numpy(dtype=float), np.asarray(grouped.size(), dtype=np.float64)

    def mean(weights: Values) -> Values:
        return np.asarray((weights @ sums) / (weights @ sizes))

    return bootstrap_weights(mean, len(sums), seed=seed)


def _examples(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the first kept prompts of each topic, their last words only."""
    kept = table[table["fair"].astype(bool)].groupby("topic", sort=True).head(N_EXAMPLES).sort_values("topic")
    ends = [f"… {' '.join(str(prompt).split()[-N_WORDS:])}" for prompt in kept["prompt"]]
    return pd.DataFrame(
        {
            "model": name,
            "topic": kept["topic"].to_list(),
            "prompt ends": ends,
            "keyword": kept["keyword"].to_list(),
            "loss": kept["loss"].to_list(),
        }
    )


def _text(asked: Mapping[str, pd.DataFrame], counts: pd.DataFrame) -> str:
    leaks = int(counts["giveaways"].sum())
    planted = len(giveaways("Their filming and other films of the", "film"))
    return (
        "From the articles of BBC News: keywords are words, and names of two words, that more of a topic's articles "
        "hold than of the others' (log-odds with a Dirichlet prior, Monroe, Colaresi and Quinn 2008, over numbers of "
        "articles). A prompt is what leads up to a keyword from the start of a sentence, 6 to 40 words over up to "
        "three sentences; titles are left out. Damage is measured on one half of the articles; clusters are found on "
        "the other.\n\n"
        f"Kept are prompts on which the intact model gives the keyword's first token at least {LEAST_PROBABILITY:.0%}, "
        "chosen for each model by itself. That choice makes the baseline look better than it is; the table has both. "
        f"{int(counts['dropped'].sum())} of {int(counts['asked'].sum())} were dropped. A keyword of several tokens is "
        "right where greedy decoding would have written them all; its loss is the mean over them.\n\n"
        f"Leak check over the {sum(map(len, asked.values()))} prompts that were asked: {leaks} words that hold the "
        f"keyword or are a form of it (a planted text with two: {planted} found)."
    )
