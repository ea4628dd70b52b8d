"""Do cells decode to meaningful tokens? Related words among the lens's ten likeliest, against controls."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from rheostat.base.shapes import Figure, Profile
from rheostat.lenses.reading import POINTS
from rheostat.metrics.statistics import Interval, Values, bootstrap, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding.answers import measure_ranks
from rheostat.studies.judging import held, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.untrained import untrained

TOP = 10
"""A reader of the lens sees about this many tokens."""
STATEMENTS = {
    "decode-1": "Block outputs decode to meaningful tokens at most layers, all but a few early ones.",
    "decode-2": (
        "Attention outputs, the residual after attention, and MLP outputs decode too, and hint at what each layer "
        "contributes."
    ),
}


def by_block(table: pd.DataFrame, column: str, point: str) -> Values:
    """Return one column at one point as (item, block)."""
    here = table[table["point"] == point]
    wide = here.pivot(index="item", columns="block", values=column)
    return wide.to_numpy(dtype=float)


def seen(table: pd.DataFrame, column: str, point: str) -> Values:
    """Return whether a group's best word is among the ten likeliest, (item, block), as 0 and 1."""
    return (by_block(table, column, point) <= TOP).astype(float)


def most_blocks(values: Values) -> float:
    """Return the median over blocks of the mean over items: above zero when most blocks are."""
    return float(np.median(values.mean(axis=0)))


def first_clear_block(values: Values, seed: int) -> int | None:
    """Return the first block from which on every block's interval of the mean lies above zero."""
    clear = [bootstrap_mean(values[:, block], seed=seed).above_zero for block in range(values.shape[1])]
    return next((block for block in range(len(clear)) if all(clear[block:])), None)


def stream_measurements(name: str, trained: pd.DataFrame, fresh: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return decode-1's measurements: at most blocks, own state against another prompt's, and against no training."""
    gap = seen(trained, "related", "resid_post") - seen(trained, "control", "resid_post")
    gap_fresh = seen(fresh, "related", "resid_post") - seen(fresh, "control", "resid_post")
    ranks = np.log10(by_block(trained, "control", "resid_post")) - np.log10(by_block(trained, "related", "resid_post"))
    quantity = f"share of prompts with a related word in the top {TOP}, median over blocks"
    other = most_blocks(seen(trained, "control", "resid_post"))
    return [
        measurement(
            name,
            quantity,
            bootstrap(most_blocks, gap, seed=seed),
            control=other,
            unit="prompts",
            control_name="the same words in another prompt's states",
        ),
        measurement(
            name,
            f"{quantity}, own minus other states",
            bootstrap(most_blocks, gap - gap_fresh, seed=seed),
            control=most_blocks(gap_fresh),
            unit="prompts",
            control_name="untrained network",
        ),
        measurement(
            name,
            "rank of the best related word, decades better than in another prompt's states, median over blocks",
            bootstrap(most_blocks, ranks, seed=seed),
            control=0.0,
            unit="prompts",
            control_name="equal ranks",
        ),
    ]


def point_measurements(name: str, trained: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return decode-2's measurements: each point, over all blocks, own state against another prompt's."""
    found = []
    for point in POINTS[:3]:
        own, other = seen(trained, "related", point), seen(trained, "control", point)
        found.append(
            measurement(
                name,
                f"share of cells with a related word in the top {TOP}, {point}",
                bootstrap_mean((own - other).mean(axis=1), seed=seed),
                control=float(other.mean()),
                unit="prompts",
                control_name="the same words in another prompt's states",
            )
        )
    return found


def lead_of_sublayers(name: str, trained: pd.DataFrame, seed: int) -> Measurement:
    """Return by how many blocks a sublayer output shows a related word before the stream does."""
    n_blocks = int(trained["block"].max()) + 1
    sublayer = np.minimum(
        first_block(seen(trained, "related", "attn_out"), n_blocks),
        first_block(seen(trained, "related", "mlp_out"), n_blocks),
    )
    stream = first_block(seen(trained, "related", "resid_post"), n_blocks)
    control_sublayer = np.minimum(
        first_block(seen(trained, "control", "attn_out"), n_blocks),
        first_block(seen(trained, "control", "mlp_out"), n_blocks),
    )
    control_stream = first_block(seen(trained, "control", "resid_post"), n_blocks)
    lead, control = stream - sublayer, control_stream - control_sublayer
    return measurement(
        name,
        "blocks by which a sublayer shows a related word before the stream does",
        bootstrap_mean(lead - control, seed=seed),
        control=float(control.mean()),
        unit="prompts",
        control_name="the same words in another prompt's states",
    )


def first_block(hits: Values, n_blocks: int) -> Values:
    """Return, per item, the first block with a hit; `n_blocks` where there is none."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1), n_blocks).astype(float)


def measure_identity(model: Model, context: Context) -> pd.DataFrame:
    """Return how far resid_mid − resid_pre and attn_out differ, relative to attn_out, over a few prompts.

    The attention is read as the block runs it, with its input norm: then the difference is rounding.
    """
    prompts = ["The capital of Germany is", "The opposite of hot is", "The plural of mouse is"]

    def compute() -> pd.DataFrame:
        found = model.capture(
            prompts, ["blocks.*.resid_pre", "blocks.*.attn_out", "blocks.*.resid_mid"], positions="last"
        )
        rows = []
        for block in range(model.n_blocks):
            before, out, after = (
                found[f"blocks.{block}.{kind}"].double() for kind in ("resid_pre", "attn_out", "resid_mid")
            )
            scale = torch.maximum(out.norm(dim=-1), after.norm(dim=-1))
            rows.append({"block": block, "error": float(((after - before - out).norm(dim=-1) / scale).max())})
        return pd.DataFrame(rows)

    return context.step(f"identity-{model.name}", step_params(model, context, prompts=prompts), compute)


def run(context: Context) -> Part:
    """Measure all models, trained and untrained, and judge decode-1 and decode-2."""
    trained = {model.name: measure_ranks(model, context) for model in context.models}
    fresh = {
        model.name: measure_ranks(untrained(model, context.seed), context, name=f"untrained-{model.name}")
        for model in context.models
    }
    errors = {model.name: float(measure_identity(model, context)["error"].max()) for model in context.models}
    streams = {name: stream_measurements(name, trained[name], fresh[name], context.seed) for name in trained}
    points = {name: point_measurements(name, trained[name], context.seed) for name in trained}
    leads = [lead_of_sublayers(name, table, context.seed) for name, table in trained.items()]
    planted = {name: planted_level(table, context.seed) for name, table in trained.items()}
    found = all(one.above_zero for one in planted.values())
    verdicts = (
        _verdict("decode-1", [one for ms in streams.values() for one in ms[:2]], streams, planted, found),
        _verdict("decode-2", [one for ms in points.values() for one in ms], points, planted, found, leads, errors),
    )
    figures: list[Figure] = [_figure(name, trained[name], fresh[name], context.seed) for name in trained]
    section = Section(
        heading="Do cells decode to meaningful tokens?",
        text="\n\n".join(
            _describe(name, trained[name], streams[name], points[name], errors[name], context.seed) for name in trained
        ),
        figures=tuple(figure.name for figure in figures),
        tables=("answers",),
    )
    return Part((section,), {"answers": joined(trained), "answers-untrained": joined(fresh)}, tuple(figures), verdicts)


def planted_level(table: pd.DataFrame, seed: int) -> Interval:
    """Return the measure at the last block, where the answer must be readable: the positive control."""
    last = seen(table, "related", "resid_post") - seen(table, "control", "resid_post")
    return bootstrap_mean(last[:, -1], seed=seed)


def _verdict(
    claim: str,
    deciding: Sequence[Measurement],
    every: dict[str, list[Measurement]],
    planted: dict[str, Interval],
    found: bool,
    leads: Sequence[Measurement] = (),
    errors: dict[str, float] | None = None,
) -> Verdict:
    reason = f"{held(deciding)} At the last block's output, where the answer must show, the measure finds " + "; ".join(
        f"{name} {interval}" for name, interval in planted.items()
    )
    if errors:
        worst = max(errors.values())
        reason += f". Attention is read as the block runs it: resid_mid − resid_pre = attn_out within {worst:.0e}"
    return Verdict(
        claim=claim,
        statement=STATEMENTS[claim],
        verdict=judge(deciding, planted_found=found),
        reason=reason + f". A word counts as read among the top {TOP}; tokens of the prompt are left out.",
        measurements=(*(one for ms in every.values() for one in ms), *leads),
    )


def _describe(
    name: str,
    trained: pd.DataFrame,
    stream: Sequence[Measurement],
    points: Sequence[Measurement],
    error: float,
    seed: int,
) -> str:
    start = first_clear_block(seen(trained, "related", "resid_post") - seen(trained, "control", "resid_post"), seed)
    n_blocks = int(trained["block"].max()) + 1
    since = f"from block {start} of {n_blocks} on" if start is not None else "at no stretch of blocks up to the last"
    read = ", ".join(
        f"{one.quantity.rsplit(', ', 1)[1]} {one.effect:.0%} (another prompt's states {one.control:.0%})"
        for one in points
    )
    return (
        f"{name}, {trained['item'].nunique()} prompts. Block outputs show a related word in the top {TOP} more "
        f"often than "
        f"another prompt's states do {since}. Median over blocks: {stream[0].effect:.0%} of prompts, control "
        f"{stream[0].control:.0%} (difference [{number(stream[0].low)}, {number(stream[0].high)}]). Averaged over all "
        f"blocks, a related word is read at {read}. resid_mid − resid_pre equals attn_out within {error:.0e}."
    )


def _figure(name: str, trained: pd.DataFrame, fresh: pd.DataFrame, seed: int) -> Profile:
    rows: list[dict[str, object]] = []
    series = [(point, trained, "related", point) for point in POINTS]
    series += [("another prompt's stream", trained, "control", "resid_post")]
    series += [("untrained stream", fresh, "related", "resid_post")]
    for label, table, column, point in series:
        hits = seen(table, column, point)
        rows += curve(label, enumerate(hits.T), seed)
    return Profile(
        name=f"read-quality-{name}",
        title=f"Prompts of which {name} shows a related word, by block",
        x_label="block",
        y_label=f"share of prompts with a related word in the top {TOP}",
        table=pd.DataFrame(rows),
        note=f"n = {trained['item'].nunique()} prompts, 95 % bootstrap intervals; tokens of the prompt are left out.",
    )
