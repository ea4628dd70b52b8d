"""Every cell of one pair: what patching it does, and what the gradient said beforehand.

Estimates: `estimate` by the gradient of the target's run, `path` by the gradient averaged along the path between the
two prompts. Controls: `other`, the same differences with another pair's gradient, and `random`, with a random direction
of the gradient's length. Places before the first token in which the prompts differ are left out: all would be zero.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.edit.plan import as_plan
from rheostat.engine.cells import Cell
from rheostat.model import Model
from rheostat.studies.attribution_patching.pairs import Job, metric_of
from rheostat.tracing.activation_patching import cells_at
from rheostat.tracing.attribution_patching import Attribution, attributions

KINDS = ("resid_pre", "attn_out", "mlp_out", "heads", "neurons")
WHOLE = ("resid_pre", "attn_out", "mlp_out")
"""Kinds that are patched as a whole; the others unit by unit."""
N_HEADS = 200
"""Random single heads at single tokens, per pair."""
N_NEURONS = 40
"""Of the neurons so many with the largest estimates, and as many random ones."""
SMALL = 0.02
"""The strength of the small step, at which the first-order estimate must hold."""
STEPS = 8
GUESSES = ("estimate", "path", "other", "random")


def measure_pair(model: Model, job: Job, *, seed: int) -> pd.DataFrame:
    """Return one row per cell: group, site, block, position, unit, effect (nats), and a column per guess."""
    sites = [f"blocks.*.{kind}" for kind in KINDS]
    metric, where = metric_of(job.pair), slice(job.first, None)
    clean, corrupt = job.pair.clean_prompt, job.pair.corrupt_prompt
    own = attributions(model, clean, corrupt, metric, sites, positions=where)
    path = attributions(model, clean, corrupt, metric, sites, positions=where, steps=STEPS)
    theirs = job.other
    other = attributions(model, theirs.clean_prompt, theirs.corrupt_prompt, metric_of(theirs), sites, positions=where)
    guesses = {
        "estimate": own,
        "path": replace(own, gradients=path.gradients),
        "other": replace(own, gradients=other.gradients),
        "random": replace(own, gradients=_random(own.gradients, seed)),
    }
    table = pd.concat([_kind(kind, guesses, seed) for kind in KINDS], ignore_index=True)
    small = table[table["group"] == "resid_pre"].assign(group="resid_pre, small step")
    source = model.capture(clean, sites)
    cells = [
        cell
        for kind in KINDS
        for cell in cells_at(source, _places(table[table["site"].str.endswith("." + kind)], units=kind not in WHOLE))
    ]
    cells += [_weaker(cell) for cell in cells_at(source, _places(small, units=False))]
    table = pd.concat([table, small], ignore_index=True)
    values = model.sweep(corrupt, cells, metric)[metric.column].to_numpy()
    strength = np.where(table["group"] == "resid_pre, small step", SMALL, 1.0)
    table.insert(5, "effect", (values - own.value) / strength)
    return table


def _kind(kind: str, guesses: dict[str, Attribution], seed: int) -> pd.DataFrame:
    """Return the cells of a kind of site with their guesses, neurons chosen."""
    tables = {name: _of_kind(one, kind).table(by_unit=kind not in WHOLE) for name, one in guesses.items()}
    table = tables["estimate"].drop(columns="effect")
    table = table.assign(**{name: one["effect"] for name, one in tables.items()})
    if kind in WHOLE:
        table.insert(2, "unit", -1)
    table.insert(0, "group", kind)
    table.insert(2, "block", table["site"].str.split(".").str[1].astype(int))
    draw = np.random.default_rng(seed)
    if kind == "heads":
        return table.loc[np.sort(draw.choice(len(table), min(N_HEADS, len(table)), replace=False))]
    if kind != "neurons":
        return table
    order = table["estimate"].abs().sort_values(ascending=False, kind="stable").index
    drawn = draw.choice(order[N_NEURONS:], N_NEURONS, replace=False)
    top, random = table.loc[order[:N_NEURONS]], table.loc[np.sort(drawn)]
    return pd.concat([top.assign(group="neurons, top"), random.assign(group="neurons, random")], ignore_index=True)


def _of_kind(found: Attribution, kind: str) -> Attribution:
    names = [name for name in found.differences if name.endswith(f".{kind}")]
    return replace(
        found,
        differences={name: found.differences[name] for name in names},
        gradients={name: found.gradients[name] for name in names},
    )


def _random(gradients: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return Gaussian directions that are as long as the gradient at each site and position."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for site, gradient in gradients.items():
        drawn = torch.randn(gradient.shape, generator=generator, dtype=torch.float32).to(gradient)
        lengths = gradient.flatten(1).norm(dim=1) / drawn.flatten(1).norm(dim=1)
        found[site] = drawn * lengths.view(-1, *[1] * (gradient.dim() - 1))
    return found


def _places(table: pd.DataFrame, *, units: bool) -> pd.DataFrame:
    return table[["site", "position", *(["unit"] if units else [])]]


def _weaker(cell: Cell) -> Cell:
    (edit,) = as_plan(cell.edits)
    return Cell(replace(edit, strength=SMALL), cell.labels)
