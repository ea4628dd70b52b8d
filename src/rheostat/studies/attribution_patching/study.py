"""Attribution patching against activation patching, cell by cell, on prompt pairs that the model answers."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile, Scatter
from rheostat.metrics.statistics import Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.attribution_patching.agreement import Agreement
from rheostat.studies.attribution_patching.measuring import KINDS, N_HEADS, N_NEURONS, SMALL, STEPS, measure_pair
from rheostat.studies.attribution_patching.pairs import jobs
from rheostat.studies.judging import judge, measurement
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context, Findings, Study

CLAIM = "attribution-1"
STATEMENT = (
    "Attribution patching approximates activation patching well where the patched activation is small (heads, neurons, "
    "late blocks) and poorly in the residual stream of early blocks."
)
N_PAIRS, N_PAIRS_QUICK = 20, 4
UNIT = "prompt pairs"
ALIKE = 0.9
"""Correlation that a small step must show for the measure to be believed."""
DRAWN_PER_GROUP = 150
"""Points per group in the scatter plots."""
SHOWN = ("resid_pre", "attn_out", "mlp_out", "heads", "neurons, top")
PLANTED = "resid_pre, small step"
EARLY, LATE = "resid_pre, early half", "resid_pre, late half"
OTHER = "another pair's gradient"
CORRELATION, ERROR, STREAM = "correlation of estimate and effect", "relative error of the estimate", "residual stream"


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return the cells of all pairs, one step per pair."""
    listed = jobs(model, limit=N_PAIRS_QUICK if context.quick else N_PAIRS, seed=context.seed)
    tables = []
    for number, job in enumerate(context.progress(listed, f"patching, {model.name}")):
        seed = context.seed * 1000 + number
        params = {
            "weights": model.weight_hash,
            "pair": [job.pair.clean_prompt, job.pair.corrupt_prompt, job.pair.clean_answer, job.pair.corrupt_answer],
            "other": [job.other.clean_prompt, job.other.corrupt_prompt],
            "seed": seed,
            "settings": [*KINDS, N_HEADS, N_NEURONS, SMALL, STEPS],
        }
        compute = partial(measure_pair, model, job, seed=seed)
        table = context.step(f"pair-{model.name}-{number}", params, compute)
        tables.append(table.assign(pair=job.pair.name))
    return pd.concat(tables, ignore_index=True)


def run(context: Context) -> Findings:
    """Measure on every model, and judge."""
    found = {model.name: Agreement(measure(model, context), model.n_blocks) for model in context.models}
    tables = {name: one.table(context.seed) for name, one in found.items()}
    figures = [figure for name, one in found.items() for figure in draw(name, one, context.seed)]
    deciding = [one for name, agreement in found.items() for one in compare(name, agreement, context.seed)]
    planted = {name: float(np.nanmean(one.per_pair(PLANTED, "estimate"))) for name, one in found.items()}
    verdict = Verdict(
        CLAIM,
        STATEMENT,
        judge(deciding, planted_found=min(planted.values()) > ALIKE),
        reason(deciding, planted),
        tuple(deciding),
    )
    joined = pd.concat([table.assign(model=name) for name, table in tables.items()], ignore_index=True)
    return Findings(
        verdicts=(verdict,),
        sections=sections(found, figures, context.seed),
        tables={
            "agreement": joined[["model", *joined.columns.drop("model")]],
            **{f"cells-{name}": one.cells for name, one in found.items()},
        },
        figures=tuple(figures),
        warnings=("A quick run: few prompt pairs. Its verdict is a hint, not a finding.",) if context.quick else (),
    )


def compare(name: str, found: Agreement, seed: int) -> list[Measurement]:
    """Return the comparisons that decide: do small places agree at all, and better than the early residual stream?

    Agreement has two sides, and both decide: the correlation over a pair's cells, which knows no scale, and the error.
    """

    def compared(quantity: str, effect: Values, control: Values, control_name: str) -> Measurement:
        known = np.isfinite(effect) & np.isfinite(control)
        difference = paired_difference(effect[known], control[known], seed=seed)
        level = float(control[known].mean())
        return measurement(name, quantity, difference, control=level, unit=UNIT, control_name=control_name)

    def own(group: str) -> Values:
        return found.per_pair(group, "estimate")

    error = found.error_per_pair
    return [
        *(
            compared(f"{CORRELATION}, {group}", own(group), found.per_pair(group, "other"), "another pair's gradient")
            for group in ("heads", "neurons, random")
        ),
        compared(f"{CORRELATION}, heads", own("heads"), own(EARLY), f"{STREAM}, early half of the blocks"),
        compared(f"{CORRELATION}, {STREAM}, late half of the blocks", own(LATE), own(EARLY), "its early half"),
        compared(f"{ERROR}, {STREAM}, early half of the blocks", error(EARLY), error("heads"), "heads"),
        compared(f"{ERROR}, {STREAM}, early half of the blocks", error(EARLY), error(LATE), "its late half"),
    ]


def reason(deciding: Sequence[Measurement], planted: Mapping[str, float]) -> str:
    """Return which comparisons hold, and that the estimate is exact where it must be."""
    missing = [f"{one.quantity} against {one.control_name} ({one.model})" for one in deciding if one.low <= 0]
    small = ", ".join(f"{value:.3f} on {name}" for name, value in planted.items())
    held = f"{len(deciding) - len(missing)} of {len(deciding)} comparisons lie above zero"
    return (
        f"{held}{'; not: ' + '; '.join(missing) if missing else ''}. Where the estimate must hold, a step of "
        f"{SMALL:.0%} of the way in the residual stream, the correlation is {small}. Denoising only; places before the "
        "first differing token are left out."
    )


def draw(name: str, found: Agreement, seed: int) -> list[Figure]:
    """Return the scatter of estimates and effects, and the error by block."""
    parts = [
        found.cells[found.cells["group"] == group].sample(frac=1, random_state=seed)[:DRAWN_PER_GROUP]
        for group in SHOWN
    ]
    points = pd.concat(parts, ignore_index=True)
    n = found.cells["pair"].nunique()
    return [
        Scatter(
            name=f"estimate-and-effect-{name}",
            title=f"Estimate and effect of patching, {name}",
            x_label="estimate: gradient × difference (nats)",
            y_label="effect of patching (nats)",
            table=points.rename(columns={"estimate": "x", "effect": "y", "group": "series"})[["x", "y", "series"]],
            note=f"Change of the logit difference; {DRAWN_PER_GROUP} random cells of each kind from n = {n} prompt "
            "pairs. An exact estimate would lie on the diagonal.",
        ),
        Profile(
            name=f"error-by-block-{name}",
            title=f"Error of attribution patching by block, {name}",
            x_label="block",
            y_label="error relative to the effects (root mean squares)",
            table=found.errors_by_block(("resid_pre", "attn_out", "mlp_out", "heads", PLANTED), seed),
            reference={"estimating 0": 1.0},
            note=f"Bands: 95 % bootstrap intervals over n = {n} prompt pairs. Small step: {SMALL:.0%} of the way, "
            "where the estimate must hold.",
        ),
    ]


def sections(found: Mapping[str, Agreement], figures: Sequence[Figure], seed: int) -> tuple[Section, ...]:
    """Return the page's text."""
    names = [figure.name for figure in figures]
    lines = []
    for name, one in found.items():
        for group in ("heads", "neurons, random", "attn_out", "mlp_out", "resid_pre"):
            interval = bootstrap_mean(one.per_pair(group, "estimate"), seed=seed)
            lines.append(f"{name}, {group}: {interval}")
    return (
        Section(
            "Do the estimates agree with patching?",
            "For each pair of prompts that the model answers, every activation of the clean prompt is put into the "
            "corrupted run (activation patching), and the change of the logit difference is compared with the "
            "difference of the activations times the gradient (attribution patching). Correlations are taken within "
            "a pair, over its cells, and averaged over pairs.\n\n"
            "Pearson correlations, mean over pairs with 95 % interval: " + "; ".join(lines) + ".\n\n"
            f"Columns of the table: path, the gradient averaged over {STEPS} steps between the two prompts' "
            f"embeddings; other, another pair's gradient; random, a direction of its length. Per pair: {N_HEADS} "
            f"random heads, the {N_NEURONS} neurons with the largest estimates, and {N_NEURONS} random others.",
            tuple(name for name in names if name.startswith("estimate")),
            ("agreement",),
        ),
        Section(
            "Where they do not",
            "The error relative to the effects: 0 is exact, 1 is no better than estimating 0 everywhere.",
            tuple(name for name in names if name.startswith("error")),
        ),
    )


STUDY = Study(
    name="attribution-patching",
    title="Attribution patching: how well one gradient estimates a run per place",
    source="Nanda, “Attribution patching: activation patching at industrial scale” (2023)",
    claims={CLAIM: STATEMENT},
    run=run,
)
