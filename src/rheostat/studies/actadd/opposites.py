"""Is a vector better with an opposite subtracted? Paired, alone, against a space and against an unrelated word."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from torch import Tensor

from rheostat.base.shapes import Scatter
from rheostat.directions.activation_addition import PromptVector, prompt_vectors
from rheostat.engine.cells import Cell
from rheostat.metrics.function import OfLogits
from rheostat.metrics.loss import Loss
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.actadd.measuring import blocks_at
from rheostat.studies.actadd.power import Power
from rheostat.studies.actadd.scoring import beginnings, spaced, token_rows
from rheostat.studies.actadd.words import OPPOSITES, SPACE, WEDDINGS, Opposites
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import group_tokens, single_token

CLAIM = "actadd-8"
STATEMENT = "Subtracting an opposite prompt always gives better results than adding a prompt alone."
PAIRED, ALONE, AGAINST_SPACE, UNRELATED = "opposite subtracted", "alone", "space subtracted", "unrelated subtracted"
ARMS = (PAIRED, ALONE, AGAINST_SPACE, UNRELATED)
FRACTION, COEFFICIENT = 1 / 4, 1.0
N_PROMPTS = 6


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return rows {pair, arm, prompt, gain, harm}: changes of the log share of the words, and of the prompt's own loss.

    Every arm has, at each token, the length of the paired vector.
    """
    pairs = usable(model)[: 3 if context.quick else None]
    begin, (block,) = beginnings(model)[0], blocks_at(model, [FRACTION])

    def compute() -> pd.DataFrame:
        return pd.concat([_of_pair(model, pair, begin, block) for pair in pairs], ignore_index=True)

    params = step_params(model, context, pairs=repr(pairs), begin=begin, block=block, coefficient=COEFFICIENT)
    return context.step(f"opposites-{model.name}", params, compute)


def usable(model: Model) -> list[Opposites]:
    """Return the pairs whose words are one token each, so that all arms cover the same tokens."""
    return [
        pair
        for pair in OPPOSITES
        if all(single_token(model, word) is not None for word in (pair.positive, pair.negative, pair.unrelated))
    ]


def run(tables: Mapping[str, pd.DataFrame], seed: int, power: Power) -> Part:
    """Judge the claim."""
    deciding: list[Measurement] = []
    beside: list[Measurement] = []
    compare = partial(against, unit="contrast pairs", seed=seed)
    for name, table in tables.items():
        gain, harm = (_by_pair(table, column) for column in ("gain", "harm"))
        deciding += compare(name, "log share of the topic's words", gain[PAIRED], {ALONE: gain[ALONE]})
        kept = {arm: -values for arm, values in harm.items()}
        deciding += compare(name, "text kept (−rise of its loss)", kept[PAIRED], {ALONE: kept[ALONE]})
        others = {arm: gain[arm] for arm in (AGAINST_SPACE, UNRELATED)}
        beside += compare(name, "log share of the topic's words (does not decide)", gain[PAIRED], others)
    counts = [_count(name, table) for name, table in tables.items()]
    always = all(better == n for better, n, _ in counts)
    verdict = judge(deciding, planted_found=power.found)
    if not always:  # an exact statement is false where one case is
        verdict = "partly" if verdict in ("reproduced", "partly") else "contradicted"
    said = "; ".join(f"{better} of {n} pairs on {name}" for better, n, name in counts)
    found = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=verdict,
        reason=f"{held(deciding)} Better in both respects than alone: {said}; “always” asks for all. Every arm has the "
        f"paired vector's length at each token, coefficient {COEFFICIENT:g}.",
        measurements=(*deciding, *beside),
    )
    figures = tuple(_figure(name, table) for name, table in tables.items())
    section = Section(
        heading="With and without an opposite",
        text="Words of a pair's first member, after prompts about nothing in particular; the prompt's own tokens "
        "behind the vector show what it breaks.\n\n" + compared_all([*deciding, *beside]),
        figures=tuple(figure.name for figure in figures),
        tables=("opposites",),
    )
    return Part((section,), {"opposites": _summary(tables)}, figures, (found,))


def _of_pair(model: Model, pair: Opposites, begin: str, block: int) -> pd.DataFrame:
    site = f"blocks.{block}.resid_pre"

    def vector(negative: str | None) -> PromptVector:
        return prompt_vectors(model, pair.positive, negative, site, begin=begin)[site]

    paired = vector(pair.negative)
    negatives = {ALONE: None, AGAINST_SPACE: SPACE, UNRELATED: pair.unrelated}
    arms = {PAIRED: paired} | {arm: vector(one).with_norms_of(paired) for arm, one in negatives.items()}
    cells = [Cell(None, {"arm": ""}), *(Cell(one.add(COEFFICIENT), {"arm": arm}) for arm, one in arms.items())]
    tokens = group_tokens(model, pair.words)

    def log_share(logits: Tensor) -> Tensor:
        return logits[:, -1].log_softmax(-1)[:, tokens].logsumexp(-1)

    prompts = [spaced(model, text, begin) for text in WEDDINGS.prompts[:N_PROMPTS]]
    metrics = [OfLogits("share", log_share), Loss(tokens=slice(len(paired) + 1, None))]
    table = model.sweep(prompts, cells, metrics, max_token_rows=token_rows(model), progress=False)
    clean = table[table["arm"] == ""].set_index("prompt")
    steered = table[table["arm"] != ""]
    gain = steered["share"] - steered["prompt"].map(clean["share"])
    harm = steered["loss"] - steered["prompt"].map(clean["loss"])
    return steered[["arm", "prompt"]].assign(pair=f"{pair.positive} − {pair.negative}", gain=gain, harm=harm)


def _by_pair(table: pd.DataFrame, column: str) -> dict[str, Values]:
    wide = table.pivot_table(index="pair", columns="arm", values=column, aggfunc="mean", sort=False)
    return {arm: np.asarray(wide[arm].to_numpy(dtype=float)) for arm in ARMS}


def _count(name: str, table: pd.DataFrame) -> tuple[int, int, str]:
    gain, harm = (_by_pair(table, column) for column in ("gain", "harm"))
    better = (gain[PAIRED] > gain[ALONE]) & (harm[PAIRED] < harm[ALONE])
    return int(better.sum()), len(better), name


def _summary(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return joined(tables).groupby(["model", "pair", "arm"], sort=False)[["gain", "harm"]].mean().reset_index()


def _figure(name: str, table: pd.DataFrame) -> Scatter:
    means = table.groupby(["pair", "arm"], sort=False)[["gain", "harm"]].mean().reset_index()
    return Scatter(
        name=f"opposites-{name}",
        title=f"What a vector gains and what it breaks, {name}",
        x_label="rise of the prompt's own loss (nats per token)",
        y_label="gain of the topic's words (nats)",
        table=means.rename(columns={"harm": "x", "gain": "y", "arm": "series"})[["x", "y", "series"]],
        note=f"n = {table['pair'].nunique()} contrast pairs, means over {table['prompt'].nunique()} prompts; all arms "
        "are equally long at each token. Up and left is better.",
    )
