"""The country layer: does one attention output read countries even in prompts about none?"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Grid, Profile
from rheostat.data.categories import categories
from rheostat.data.neutral_prompts import NEUTRAL_PROMPTS
from rheostat.edit.arithmetic import Add
from rheostat.metrics.statistics import Values, paired_difference
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding.cells import (
    Cell,
    all_cells,
    capture_cells,
    lens_chunks,
    output_log_probabilities,
)
from rheostat.studies.decoding.planted import saying_direction
from rheostat.studies.held_out import cross_fitted
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vocabulary import frequency_matched, word_tokens

CLAIM = "decode-11"
STATEMENT = (
    "One layer's attention output (24 of 32) represents countries even for prompts about none, while later "
    "layers drop them "
    "for generic continuations."
)
TOP = 20
N_PROMPTS_QUICK = 24
COUNTRIES = "countries"
PLANTED_STRENGTH = 3.0
"""Length of the planted direction, in lengths of the attention output it is added to."""


def category_tokens(model: Model) -> dict[str, list[int]]:
    """Return category → tokens, and per category `matched …` → words of like frequency and shape."""
    groups = {
        name: list(dict.fromkeys(token for word in words for token in word_tokens(model, word, cases=False)))
        for name, words in categories().items()
    }
    every = [token for tokens in groups.values() for token in tokens]
    matched = {f"matched {name}": frequency_matched(model, tokens, exclude=every) for name, tokens in groups.items()}
    return {**groups, **matched}


def count_in_top(model: Model, vectors: torch.Tensor, groups: Mapping[str, Sequence[int]]) -> dict[str, Values]:
    """Return, per group, how many of the lens's likeliest tokens belong to it, one count per vector."""
    members = {name: torch.tensor(list(tokens)) for name, tokens in groups.items()}
    counts: dict[str, list[Values]] = {name: [] for name in groups}
    for _, logits in lens_chunks(model, vectors):
        top = logits.topk(TOP, dim=-1).indices
        for name, tokens in members.items():
            counts[name].append(torch.isin(top, tokens).sum(-1).double().numpy())
    return {name: np.concatenate(found) for name, found in counts.items()}


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per prompt and cell, and per prompt one for the output: the count of each group in the top 20."""
    prompts = _prompts(context)

    def compute() -> pd.DataFrame:
        cells, groups = all_cells(model), category_tokens(model)
        states = capture_cells(model, prompts, cells)
        tables = []
        for index in context.progress(range(len(cells)), f"neutral prompts, {model.name}"):
            counts = count_in_top(model, states[index], groups)
            tables.append(
                pd.DataFrame({"prompt": prompts, "block": cells[index].block, "point": cells[index].point, **counts})
            )
        top = output_log_probabilities(model, prompts).topk(TOP, dim=-1).indices
        output = {
            name: torch.isin(top, torch.tensor(tokens)).sum(-1).double().numpy() for name, tokens in groups.items()
        }
        tables.append(pd.DataFrame({"prompt": prompts, "block": model.n_blocks, "point": "output", **output}))
        return pd.concat(tables, ignore_index=True)

    params = step_params(model, context, prompts=prompts, top=TOP, words=categories())
    return context.step(f"categories-{model.name}", params, compute)


def measure_planted(model: Model, context: Context) -> pd.DataFrame:
    """Return the counts of countries over attention outputs when a country direction is written into one of them."""
    prompts = _prompts(context)
    block = model.n_blocks // 3

    def compute() -> pd.DataFrame:
        groups = category_tokens(model)
        cells = [Cell(other, "attn_out") for other in range(model.n_blocks)]
        plain = capture_cells(model, prompts, [cells[block]])[0]
        direction = saying_direction(model, groups[COUNTRIES], plain.mean(0))
        strength = PLANTED_STRENGTH * float(plain.norm(dim=-1).mean())
        plan = Add(cells[block].site, direction * strength, positions="last")
        states = capture_cells(model, prompts, cells, plans=[plan] * len(prompts))
        tables = []
        for cell, vectors in zip(cells, states, strict=True):
            counts = count_in_top(model, vectors, {name: groups[name] for name in (COUNTRIES, f"matched {COUNTRIES}")})
            tables.append(
                pd.DataFrame({"prompt": prompts, "block": cell.block, "point": "attn_out", "planted": block, **counts})
            )
        return pd.concat(tables, ignore_index=True)

    params = step_params(
        model, context, prompts=prompts, block=block, strength=PLANTED_STRENGTH, top=TOP, words=categories()
    )
    return context.step(f"planted-countries-{model.name}", params, compute)


def _prompts(context: Context) -> list[str]:
    return list(NEUTRAL_PROMPTS[:N_PROMPTS_QUICK] if context.quick else NEUTRAL_PROMPTS)


# --- analysing --------------------------------------------------------------------------------------------------------


def excess(table: pd.DataFrame, category: str) -> Values:
    """Return the share of the top 20 that a category takes beyond its matched words, over attention outputs.

    Shape (prompt, block).
    """
    here = table[table["point"] == "attn_out"]
    values = (here[category] - here[f"matched {category}"]) / TOP
    wide = here.assign(value=values).pivot(index="prompt", columns="block", values="value")
    return wide.to_numpy(dtype=float)


def at_output(table: pd.DataFrame, category: str) -> Values:
    """Return the same excess in the model's own output, one value per prompt, in the order of `excess`."""
    here = table[table["point"] == "output"].sort_values("prompt")
    return ((here[category] - here[f"matched {category}"]) / TOP).to_numpy(dtype=float)


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return countries at the chosen block against other blocks, other categories, and the output."""
    values = excess(table, COUNTRIES)
    best, _ = cross_fitted(values)
    rivals = {other: cross_fitted(excess(table, other))[0] for other in categories() if other != COUNTRIES}
    rival = max(rivals, key=lambda other: float(rivals[other].mean()))
    output = at_output(table, COUNTRIES)
    quantity = f"share of countries in the top {TOP} beyond matched words, best attention output"
    return [
        measurement(
            name,
            quantity,
            paired_difference(best, values.mean(axis=1), seed=seed),
            control=float(values.mean()),
            unit="prompts",
            control_name="the mean attention output",
        ),
        measurement(
            name,
            quantity,
            paired_difference(best, rivals[rival], seed=seed),
            control=float(rivals[rival].mean()),
            unit="prompts",
            control_name=f"{rival} at their own best attention output",
        ),
        measurement(
            name,
            "decline of countries from there to the output",
            paired_difference(best, output, seed=seed),
            control=float(output.mean()),
            unit="prompts",
            control_name="the model's output",
        ),
    ]


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    planted = {model.name: measure_planted(model, context) for model in context.models}
    every = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    deciding = [one for ms in every.values() for one in ms]
    recovered = {name: _recovered(table) for name, table in planted.items()}
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(found for found, _ in recovered.values())),
        reason=f"{held(deciding)} " + " ".join(f"{name}: {words}" for name, (_, words) in recovered.items()),
        measurements=tuple(deciding),
    )
    figures: list[Figure] = []
    for name, table in tables.items():
        figures += [_profile(name, table, context.seed), _grid(name, table)]
    section = Section(
        heading="The country layer",
        text="\n\n".join(_describe(name, table, every[name]) for name, table in tables.items()),
        figures=tuple(figure.name for figure in figures),
        tables=("categories", "planted-countries"),
    )
    named = {"categories": joined(tables), "planted-countries": joined(planted)}
    return Part((section,), named, tuple(figures), (verdict,))


def _recovered(table: pd.DataFrame) -> tuple[bool, str]:
    block = int(table["planted"].iloc[0])
    values = excess(table, COUNTRIES)
    _, chosen = cross_fitted(values)
    words = (
        f"a country direction planted in block {block}'s attention output is found at block {chosen[0]} by one "
        f"half of the "
        f"prompts and {chosen[1]} by the other ({values[:, block].mean():.0%} of the top {TOP})."
    )
    return chosen == (block, block), words


def _describe(name: str, table: pd.DataFrame, found: Sequence[Measurement]) -> str:
    values = excess(table, COUNTRIES)
    best, chosen = cross_fitted(values)
    inner = table[(table["point"] != "output")].groupby(["block", "point"])[COUNTRIES].mean() / TOP
    block, point = inner.index[int(inner.to_numpy().argmax())]
    blocks = f"block {chosen[0]}" if chosen[0] == chosen[1] else f"blocks {chosen[0]} and {chosen[1]} (one per half)"
    return (
        f"{name}, {table['prompt'].nunique()} neutral prompts. The attention output that reads countries most "
        f"is in {blocks}: "
        f"{best.mean():.2%} of the top {TOP} beyond matched words, against {number(found[0].control)} in the mean "
        f"attention output (difference {interval(found[0])}). {found[1].control_name.capitalize()}: "
        f"{number(found[1].control)} (difference {interval(found[1])}). In the output countries take "
        f"{number(found[2].control)} beyond matched words (decline {interval(found[2])}). Over all cells countries "
        f"are most frequent at block {block}'s {point}: "
        f"{inner.max():.1%} of the top {TOP}."
    )


def _profile(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    for category in categories():
        rows += curve(category, enumerate(excess(table, category).T), seed)
    output = float(at_output(table, COUNTRIES).mean())
    return Profile(
        name=f"categories-{name}",
        title=f"Categories read in the attention outputs of {name} after neutral prompts",
        x_label="block",
        y_label=f"share of the top {TOP} beyond matched words",
        table=pd.DataFrame(rows),
        note=f"n = {table['prompt'].nunique()} prompts, 95 % bootstrap intervals; matched: words of like "
        f"frequency and shape.",
        reference={"chance": 0.0, "countries in the output": output},
    )


def _grid(name: str, table: pd.DataFrame) -> Grid:
    cells = table[table["point"] != "output"].groupby(["block", "point"], sort=False)[COUNTRIES].mean().reset_index()
    down = cells.sort_values("block", ascending=False, kind="stable")
    return Grid(
        name=f"countries-{name}",
        title=f"Countries among the {TOP} likeliest tokens in every cell of {name}",
        x_label="decode point",
        y_label="block",
        value_label=f"share of the top {TOP}",
        table=pd.DataFrame({"x": down["point"], "y": down["block"], "value": down[COUNTRIES] / TOP}).reset_index(
            drop=True
        ),
        note=f"Mean over n = {table['prompt'].nunique()} neutral prompts; last block on top.",
    )
