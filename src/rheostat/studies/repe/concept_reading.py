"""Does a direction tell, on texts that it was not fitted on, how much of a concept is there? Six concepts, by block.

Every text is read by a direction that was fitted on other groups, at the block that a third part of the groups chose.
Controls: labels shuffled within pairs, random directions, the words of the texts, the embedding, the logit lens, and a
network that learned nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.metrics.statistics import Values
from rheostat.studies.judging import held, judge, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.auroc_by_group import auroc_against, auroc_draws, interval_of
from rheostat.studies.repe.read_concepts import (
    CHOSEN,
    EMBEDDED,
    LENS,
    LOGISTIC,
    MEAN,
    PCA,
    RANDOM,
    SHUFFLED,
    UNTRAINED,
    WORDS,
    measure,
)
from rheostat.studies.repe.states import EMBEDDING
from rheostat.studies.study import Context

CLAIM = "repe-1"
STATEMENT = "A concept direction from a middle layer tells how much of the concept is present in new text."
DECIDING = (SHUFFLED, RANDOM, WORDS, EMBEDDED, UNTRAINED)
BESIDE = (PCA, LOGISTIC, LENS)
"""Other readers, shown and not judged: a better one would not speak against the directions."""


def scores_of(table: pd.DataFrame, reader: str, block: int = CHOSEN) -> Values:
    """Return a reader's scores (draw, text) of one concept at a block, or at the blocks that other groups chose."""
    chosen = table[(table["reader"] == reader) & (table["block"] == (EMBEDDING if reader == EMBEDDED else block))]
    found: Values = chosen.pivot(index="draw", columns="text", values="score").to_numpy(dtype=np.float64)
    return found


def labels_of(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return, per text of one concept, whether it has more of it, and its group."""
    first = table.drop_duplicates("text").sort_values("text")
    return first["positive"].to_numpy(dtype=bool), first["group"].to_numpy(dtype=np.int64)


def measure_concept(model: str, table: pd.DataFrame, seed: int, controls: Sequence[str]) -> list[Measurement]:
    """Return the AUROC of the mean difference on one concept against other readers."""
    positive, groups = labels_of(table)
    concept = str(table["concept"].iloc[0])
    return auroc_against(
        model,
        f"AUROC of {concept} in held-out texts",
        scores_of(table, MEAN),
        {name: scores_of(table, name) for name in controls},
        positive,
        groups,
        unit=str(table["unit"].iloc[0]),
        seed=seed,
    )


def profile_rows(model: str, table: pd.DataFrame, seed: int) -> list[dict[str, object]]:
    """Return the AUROC by block of every reader on one concept, with intervals over groups."""
    positive, groups = labels_of(table)
    rows: list[dict[str, object]] = []
    for reader, own in table.groupby("reader", sort=False):
        for block in own["block"].unique():
            scores = scores_of(own, str(reader), int(block))
            value, drawn = auroc_draws(scores, positive, groups, seed=seed)
            found = interval_of(value, drawn, len(np.unique(groups)))
            at = own.loc[own["block"] == block, "at"]
            rows.append(
                {
                    "model": model,
                    "concept": table["concept"].iloc[0],
                    "reader": reader,
                    "block": int(block) if block not in (CHOSEN, EMBEDDING) else None,
                    "place": {CHOSEN: "chosen by other groups", EMBEDDING: "embedding"}.get(int(block), "block"),
                    "chosen": sorted(at.unique().tolist()) if block == CHOSEN and reader != WORDS else None,
                    "auroc": value,
                    "low": found.low,
                    "high": found.high,
                    "n": len(positive),
                    "n_groups": found.n,
                }
            )
    return rows


def run(context: Context) -> Part:
    """Read all concepts on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    split = {
        (name, str(concept)): own
        for name, table in tables.items()
        for concept, own in table.groupby("concept", sort=False)
    }
    found = {key: measure_concept(key[0], own, context.seed, DECIDING) for key, own in split.items()}
    beside = {key: measure_concept(key[0], own, context.seed, BESIDE) for key, own in split.items()}
    rows = pd.DataFrame([row for (name, _), own in split.items() for row in profile_rows(name, own, context.seed)])
    deciding = [one for ms in found.values() for one in ms]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} Each text is read by a direction fitted on other groups, at a block chosen by "
        "others; the controls get the same choice. Read at the last token of the text or of its template.",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(
        figure for name in tables for figure in (_concepts(name, rows), _truth(name, rows))
    )
    section = Section(
        heading="Reading concepts",
        text="\n\n".join(_describe(name, split, found, beside) for name in tables),
        figures=tuple(figure.name for figure in figures),
        tables=("concepts-chosen",),
    )
    chosen = rows[rows["place"] != "block"].drop(columns=["block"])
    return Part((section,), {"concepts-by-block": rows, "concepts-chosen": chosen}, figures, (verdict,))


def _describe(
    name: str,
    split: Mapping[tuple[str, str], pd.DataFrame],
    found: Mapping[tuple[str, str], Sequence[Measurement]],
    beside: Mapping[tuple[str, str], Sequence[Measurement]],
) -> str:
    sentences = []
    for (model, concept), measured in found.items():
        if model != name:
            continue
        own = split[model, concept]
        at = sorted(own.loc[(own["reader"] == MEAN) & (own["block"] == CHOSEN), "at"].unique())
        controls = ", ".join(
            f"{one.control_name} {number(one.control)}" for one in (*measured, *beside[model, concept])
        )
        sentences.append(
            f"{concept.capitalize()} ({measured[0].n} {measured[0].unit}): {number(measured[0].effect)} at block "
            f"{', '.join(map(str, at))}; {controls}."
        )
    return f"{name}. AUROC of the mean difference on held-out texts, and of the other readers. " + " ".join(sentences)


def _concepts(name: str, rows: pd.DataFrame) -> Profile:
    own = rows[(rows["model"] == name) & (rows["reader"] == MEAN) & (rows["place"] == "block")]
    table = own.rename(columns={"block": "x", "auroc": "value", "concept": "series"})
    return Profile(
        name=f"concepts-{name}",
        title=f"How well each concept is read by block, {name}",
        x_label="block (resid_post)",
        y_label="AUROC on held-out texts",
        table=table[["x", "value", "series", "low", "high"]].astype({"x": int}).reset_index(drop=True),
        note="Mean difference fitted on other groups; 95 % bootstrap intervals over groups. No block is chosen here.",
        reference={"chance": 0.5},
    )


def _truth(name: str, rows: pd.DataFrame) -> Profile:
    own = rows[(rows["model"] == name) & (rows["concept"] == "truth") & (rows["place"] == "block")]
    table = own.rename(columns={"block": "x", "auroc": "value", "reader": "series"})
    words = rows[(rows["model"] == name) & (rows["concept"] == "truth") & (rows["reader"] == WORDS)]
    return Profile(
        name=f"truth-readers-{name}",
        title=f"True and false statements by block and reader, {name}",
        x_label="block (resid_post, last token)",
        y_label="AUROC on countries not fitted on",
        table=table[["x", "value", "series", "low", "high"]].astype({"x": int}).reset_index(drop=True),
        note=f"“The capital of X is Y.”; {own['n'].iloc[0]} statements, {own['n_groups'].iloc[0]} pairs of countries "
        "that exchange capitals; 95 % bootstrap intervals over pairs. A reader of words: "
        f"{words['auroc'].iloc[0]:.2f}.",
        reference={"chance": 0.5},
    )
