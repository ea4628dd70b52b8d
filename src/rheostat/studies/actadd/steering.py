"""Do completions speak of what the vector stands for, and does it matter where in the prompt it is added?"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import Values
from rheostat.studies.actadd.completions import NEW_TOKENS, TEMPERATURE, TOP_K, UNSTEERED, Completed
from rheostat.studies.actadd.measuring import EMBEDDING, NOUN, RANDOM, RESCALED, TOPIC
from rheostat.studies.actadd.power import PLANTED, Power
from rheostat.studies.actadd.words import WEDDINGS
from rheostat.studies.halves import at_places, chosen_by_other_half
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, joined
from rheostat.studies.record import Measurement, Section, Verdict

CLAIM = "actadd-1"
STATEMENT = (
    "Adding the activation difference of two short prompts steers generation (love − hate, anger − calm, weddings)."
)
PLACE_CLAIM = "actadd-7"
PLACE_STATEMENT = "Position matters: added at the back it gives more topic words but incoherent text."
CONTROLS = {UNSTEERED: "unsteered", RANDOM: "a random vector of equal length", NOUN: "a neutral noun's vector"}

SHORT = {TOPIC: "own", EMBEDDING: "embedding", RESCALED: "rescaled emb."}
"""Labels that fit a map's margin."""

ByConcept = Mapping[str, Completed]
"""Concept → its completions."""


def best_share(completed: Completed, kind: str) -> Values:
    """Return, per prompt, the share of completions with a word of the concept, block chosen on the other prompts."""
    if kind == UNSTEERED:
        return completed.shares(kind)
    values = completed.shares_by_block(kind)
    return at_places(values, chosen_by_other_half(values))


def steered(name: str, completed: Completed, seed: int) -> list[Measurement]:
    """Return the share of completions with a word of the concept, against each control."""
    controls = {label: best_share(completed, kind) for kind, label in CONTROLS.items()}
    quantity = f"share of completions with a word of {completed.concept.name}"
    return against(name, quantity, best_share(completed, TOPIC), controls, unit="prompts", seed=seed)


def placed(name: str, completed: Completed, seed: int) -> list[Measurement]:
    """Return what adding at the back gives beyond adding at the front: words, and loss of the text."""
    block = completed.blocks[-1]
    words = {align: completed.shares(TOPIC, block, align=align) for align in ("front", "back")}
    loss = {align: completed.losses(TOPIC, block, align=align) for align in ("front", "back")}
    noun = {align: completed.losses(NOUN, block, align=align) for align in ("front", "back")}
    found = against(
        name,
        f"share of completions with a wedding word, added at the back, block {block}",
        words["back"],
        {"at the front": words["front"]},
        unit="prompts",
        seed=seed,
    )
    found += against(
        name,
        f"loss of the completion under the plain model, back, block {block} (nats per token)",
        loss["back"],
        {"at the front": loss["front"]},
        unit="prompts",
        seed=seed,
    )
    return found + against(
        name,
        f"rise of that loss from front to back, block {block} (does not decide)",
        loss["back"] - loss["front"],
        {"a neutral noun's vector": noun["back"] - noun["front"]},
        unit="prompts",
        seed=seed,
    )


def power_of(completed: Mapping[str, ByConcept], seed: int) -> Power:
    """Tell whether a direction that says wedding words at every token is seen in the completions."""
    found = {
        name: against(
            name,
            "share",
            one[WEDDINGS.name].shares(PLANTED, align="all"),
            {UNSTEERED: one[WEDDINGS.name].shares(UNSTEERED)},
            unit="prompts",
            seed=seed,
        )[0]
        for name, one in completed.items()
    }
    said = "; ".join(f"{number(one.effect)} against {number(one.control)} ({name})" for name, one in found.items())
    return Power(
        all(one.low > 0 for one in found.values()),
        f"A direction that says wedding words, added at every token, shows in the share of completions: {said}.",
    )


def run(completed: Mapping[str, ByConcept], seed: int) -> Part:
    """Judge both claims."""
    power = power_of(completed, seed)
    every = {name: [m for one in found.values() for m in steered(name, one, seed)] for name, found in completed.items()}
    places = {name: placed(name, found[WEDDINGS.name], seed) for name, found in completed.items()}
    deciding = [one for found in every.values() for one in found]
    of_places = [one for found in places.values() for one in found]
    deciding_places = [one for one in of_places if "does not decide" not in one.quantity]
    verdicts = (
        Verdict(
            claim=CLAIM,
            statement=STATEMENT,
            verdict=judge(deciding, planted_found=power.found),
            reason=f"{held(deciding)} {_how(completed)} {power.text}",
            measurements=tuple(deciding),
        ),
        Verdict(
            claim=PLACE_CLAIM,
            statement=PLACE_STATEMENT,
            verdict=judge(deciding_places, planted_found=power.found),
            reason=f"{held(deciding_places)} Middle: around the middle of the shortest prompt. These models have "
            "rotary positions, the paper's has learned ones.",
            measurements=tuple(of_places),
        ),
    )
    figures: list[Figure] = [_grid(name, found) for name, found in completed.items()]
    sections = (
        Section(
            heading="Completions, scored by a word list",
            text="\n\n".join(f"{name}. {compared_all(found)}" for name, found in every.items()),
            figures=tuple(figure.name for figure in figures),
            tables=("completions", "samples"),
        ),
        Section(
            heading="Front, middle and back",
            text="\n\n".join(f"{name}. {compared_all(found)}" for name, found in places.items()),
        ),
    )
    return Part(sections, {"completions": summary(completed), "samples": samples(completed)}, tuple(figures), verdicts)


def summary(completed: Mapping[str, ByConcept]) -> pd.DataFrame:
    """Return rows {model, concept, kind, block, align, n, share, loss}."""
    tables = []
    for name, found in completed.items():
        for concept, one in found.items():
            grouped = one.table.groupby(["kind", "block", "align"], sort=False)
            means = grouped.agg(n=("mentions", "size"), share=("mentions", "mean"), loss=("loss", "mean")).reset_index()
            tables.append(means.assign(model=name, concept=concept))
    table = pd.concat(tables, ignore_index=True)
    return table[["model", "concept", "kind", "block", "align", "n", "share", "loss"]]


def samples(completed: Mapping[str, ByConcept]) -> pd.DataFrame:
    """Return the first completion of the first prompts under every setting."""
    tables = {
        name: pd.concat([one.table.assign(concept=concept) for concept, one in found.items()])
        for name, found in completed.items()
    }
    table = joined(tables)
    chosen = table[(table["draw"] == 0) & (table["prompt"] < 2)].copy()
    prompts = {concept: one.concept.prompts for found in completed.values() for concept, one in found.items()}
    chosen["prompt"] = [
        prompts[concept][number] for concept, number in zip(chosen["concept"], chosen["prompt"], strict=True)
    ]
    return chosen[["model", "concept", "kind", "block", "align", "prompt", "text"]].reset_index(drop=True)


def _how(completed: Mapping[str, ByConcept]) -> str:
    counts = {
        len(one.table) // one.table.groupby(["kind", "block", "align"]).ngroups
        for found in completed.values()
        for one in found.values()
    }
    return (
        f"{' to '.join(map(str, sorted(counts)))} completions of {NEW_TOKENS} tokens per setting, temperature "
        f"{TEMPERATURE:g}, top {TOP_K}, vectors over inserted spaces; where "
        "there is a choice, the block is chosen on other prompts, for every control too."
    )


def _grid(name: str, found: ByConcept) -> Grid:
    rows = []
    for concept, one in found.items():
        for (kind, block, align), part in one.table.groupby(["kind", "block", "align"], sort=False):
            where = "" if kind in (UNSTEERED, PLANTED) else f" {block}" + ("" if align == "front" else f" {align}")
            rows.append(
                {
                    "y": f"{SHORT.get(str(kind), kind)}{where}",
                    "x": concept,
                    "value": float(np.round(part["mentions"].mean(), 3)),
                }
            )
    table = pd.DataFrame(rows)
    return Grid(
        name=f"word-counts-{name}",
        title=f"Completions with a word of the concept, {name}",
        x_label="word list and prompts",
        y_label="vector and block",
        value_label="share of completions",
        table=table,
        note=f"Ten prompts of each concept; {NEW_TOKENS} new tokens. Coefficient 1 for weddings, 3 for love and anger.",
    )
