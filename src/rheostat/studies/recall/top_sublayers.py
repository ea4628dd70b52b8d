"""What is left of a subject's words after the last block when the top MLPs or the top attention are removed?

The windows of `removed_sublayers` end where the paper reads, below the top. Here the whole network is read, and as many
sublayers of the same kind, of blocks below the top, are removed for comparison.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Grid
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.judging import number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.recall.enrichment import CENTRED, PLAIN
from rheostat.studies.recall.facts import Subject, chosen_subjects, subject_params
from rheostat.studies.recall.removals import (
    N_NEUTRAL,
    NOTHING,
    RANDOM,
    WAYS,
    Removal,
    neutral_loss,
    rates,
    sites_of,
    window_width,
)
from rheostat.studies.record import Section
from rheostat.studies.study import Context
from rheostat.tracing.attributes_rate import WordDecoder

KINDS = {"mlp_out": "MLPs", "attn_out": "attention"}
SHORT = {"mlp_out": "MLPs", "attn_out": "attn."}
SHORT_WAY = {PLAIN: "as it is", CENTRED: "minus mean"}
N_RANDOM = 4


def removals_of(n_blocks: int, seed: int) -> list[Removal]:
    """Return nothing, the top of each kind, and as many of random blocks below the top."""
    width = window_width(n_blocks)
    start = n_blocks - width
    rng = np.random.default_rng(seed)
    found = [Removal(NOTHING, -1, ())]
    for kind in KINDS:
        found.append(Removal(kind, start, sites_of(kind, range(start, n_blocks))))
        for draw in range(N_RANDOM):
            blocks = sorted(rng.permutation(start)[:width].tolist())
            found.append(Removal(f"{RANDOM} {kind}", draw, sites_of(kind, blocks)))
    return found


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per removal, subject and way of decoding; columns as in `removals.measure`."""
    subjects, decoder = chosen_subjects(model, context), WordDecoder(model)
    tables = []
    for removal in context.progress(removals_of(model.n_blocks, context.seed), f"removing the top, {model.name}"):
        if context.quick and removal.group.startswith(RANDOM) and removal.start:
            continue
        params = step_params(model, context, **subject_params(subjects), sites=removal.sites, neutral=N_NEUTRAL)
        name = f"top-{removal.group.replace(' ', '-').replace('_', '-')}-{removal.start + 1}-{model.name}"
        tables.append(context.step(name, params, partial(_measured, model, decoder, subjects, removal, context)))
    return pd.concat(tables, ignore_index=True)


def _measured(
    model: Model, decoder: WordDecoder, subjects: Sequence[Subject], removal: Removal, context: Context
) -> pd.DataFrame:
    loss = neutral_loss(model, removal, N_NEUTRAL // 3 if context.quick else N_NEUTRAL)
    table = rates(model, decoder, subjects, removal, context.seed, block=model.n_blocks - 1)
    return table.assign(group=removal.group, start=removal.start, n=len(removal.sites), loss=loss)


def rate(table: pd.DataFrame, group: str, way: str, column: str = "own") -> Values:
    """Return the rate per subject, as the mean over the removals of a group."""
    chosen = table[(table["group"] == group) & (table["way"] == way)]
    found: Values = chosen.groupby("subject", sort=False)[column].mean().to_numpy(dtype=np.float64)
    return found


def run(context: Context) -> Part:
    """Remove the top of every model; no claim is decided by it."""
    tables = {model.name: measure(model, context) for model in context.models}
    figures: tuple[Figure, ...] = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="Subjects without the top sublayers",
        text="\n\n".join(_describe(name, table, way, context.seed) for name, table in tables.items() for way in WAYS),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"top-removals": joined(tables)}, figures)


def _describe(name: str, table: pd.DataFrame, way: str, seed: int) -> str:
    intact, others = rate(table, NOTHING, way), rate(table, NOTHING, way, "other")
    losses = table.groupby("group")["loss"].mean()
    n = int(table["n"].max())
    about = f"{number(float(intact.mean()))} of the decoded words are about the subject"
    beside = f"other subjects' words: {number(float(others.mean()))}"
    parts = [f"{name}, {way}, {len(intact)} subjects, read after the last block: {about} ({beside})."]
    for kind, label in KINDS.items():
        top, random = rate(table, kind, way), rate(table, f"{RANDOM} {kind}", way)
        fall = paired_difference(intact, top, seed=seed)
        beyond = paired_difference(random, top, seed=seed)
        parts.append(
            f"Without the top {n} {label} {number(float(top.mean()))} are left (fall {fall}), without {n} of random "
            f"lower blocks {number(float(random.mean()))} (further fall by the top {beyond}); loss on neutral text "
            f"{number(losses[NOTHING])} nats intact, {number(losses[kind])} and {number(losses[f'{RANDOM} {kind}'])}."
        )
    return " ".join(parts)


def _figure(name: str, table: pd.DataFrame, seed: int) -> Grid:
    shown = {"intact": NOTHING}
    for kind, label in SHORT.items():
        shown |= {f"no top {label}": kind, f"no lower {label}": f"{RANDOM} {kind}"}
    rows = []
    for label, group in shown.items():
        for way in WAYS:
            mean = bootstrap_mean(rate(table, group, way), seed=seed)
            text = f"{100 * mean.value:.0f} [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"
            rows.append({"x": SHORT_WAY[way], "y": label, "value": mean.value, "text": text})
    return Grid(
        name=f"top-removals-{name}",
        title=f"Without the top, {name}",
        x_label="how the state after the last block is decoded",
        y_label="network",
        value_label="attributes rate",
        table=pd.DataFrame(rows),
        note=f"n = {table['subject'].nunique()} subjects, last token, {int(table['n'].max())} sublayers removed; "
        "cells in %, 95 % bootstrap intervals. Lower: as many of random blocks below the top, mean of several draws.",
    )
