"""How certainty climbs: the answer's probability over the blocks, whether it falls, and what skipping does."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.edit.arithmetic import Zero
from rheostat.edit.edit import Edit
from rheostat.metrics.statistics import Interval, Values, bootstrap_mean, paired_difference
from rheostat.model import Model
from rheostat.studies.curve import curve
from rheostat.studies.decoding.answers import N_ITEMS, N_ITEMS_QUICK, Item, chosen_items, measure_ranks
from rheostat.studies.decoding.cells import output_log_probabilities
from rheostat.studies.decoding.read_quality import by_block
from rheostat.studies.judging import held, interval, judge, measurement, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

CLAIM = "decode-5"
STATEMENT = (
    "The answer's probability climbs over a few upper-middle layers (20-24: below 1 % to 96 %), then later layers are "
    "mostly redundant and certainty falls a little."
)
REDUNDANT = 7 / 32
"""The share of blocks that the post finds redundant: those after layer 24 of 32."""


def skipped_windows(n_blocks: int) -> list[range]:
    """Return windows of blocks to skip: the last ones, and as many before, starting after the first two blocks."""
    width = round(REDUNDANT * n_blocks)
    starts = range(n_blocks - width, 1, -width)
    return [range(start, start + width) for start in starts]


def measure_skipping(model: Model, context: Context) -> pd.DataFrame:
    """Return, per known prompt and window of skipped blocks, whether the top token stays the answer."""
    items = chosen_items(model, N_ITEMS_QUICK if context.quick else N_ITEMS, context.seed)
    windows = skipped_windows(model.n_blocks)

    def compute() -> pd.DataFrame:
        known = known_items(model, items)
        rows = []
        for window in context.progress(windows, f"skipping blocks, {model.name}"):
            plan: list[Edit] = [
                Zero(f"blocks.{block}.{point}") for block in window for point in ("attn_out", "mlp_out")
            ]
            logs = output_log_probabilities(model, [item.prompt for item in known], plans=[plan] * len(known))
            for item, row in zip(known, logs, strict=True):
                kept = int(row.argmax()) == model.token_id(" " + item.answer)
                rows.append({"item": item.prompt, "first": window.start, "last": window.stop - 1, "kept": float(kept)})
        return pd.DataFrame(rows)

    asked = [(item.prompt, item.answer) for item in items]
    params = step_params(model, context, items=asked, windows=[list(window) for window in windows])
    return context.step(f"skipping-{model.name}", params, compute)


def known_items(model: Model, items: Sequence[Item]) -> list[Item]:
    """Return the items whose answer is the model's top token."""
    tops = output_log_probabilities(model, [item.prompt for item in items]).argmax(-1).tolist()
    return [item for item, top in zip(items, tops, strict=True) if top == model.token_id(" " + item.answer)]


def width_of_climb(probability: Values) -> Values:
    """Return, per item, the blocks between a tenth and nine tenths of the peak, (item, block) → (item)."""
    peak = probability.max(axis=1, keepdims=True)
    start = (probability >= 0.1 * peak).argmax(axis=1)
    end = (probability >= 0.9 * peak).argmax(axis=1)
    width: Values = (end - start).astype(float)
    return width


def end_of_climb(probability: Values) -> Values:
    """Return, per item, the first block at nine tenths of the peak."""
    end: Values = (probability >= 0.9 * probability.max(axis=1, keepdims=True)).argmax(axis=1).astype(float)
    return end


def decline(probability: Values) -> Values:
    """Return, per item, the probability at the best earlier block minus the last block's.

    The best earlier block is chosen by the mean over the other half of the items, so that noise cannot make a peak.
    """
    fallen = np.empty(len(probability))
    for half in (0, 1):
        mine = np.arange(len(probability)) % 2 == half
        block = probability[~mine][:, :-1].mean(axis=0).argmax()
        fallen[mine] = probability[mine, block] - probability[mine, -1]
    return fallen


def planted_decline(n_items: int, seed: int) -> Interval:
    """Return the measure's interval when a fall of .05 from a noisy peak is planted."""
    rng = np.random.default_rng(seed)
    probability = np.concatenate([np.zeros((n_items, 5)), np.full((n_items, 3), 0.96), np.full((n_items, 2), 0.91)], 1)
    return bootstrap_mean(decline(probability + rng.normal(0, 0.05, size=probability.shape)), seed=seed)


def measure_all(name: str, ranks: pd.DataFrame, skipping: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the fall after the peak, what is kept without the last blocks, and how much of the depth is left."""
    known = ranks[ranks["final top"]]
    answer, rival = (by_block(known, column, "resid_post") for column in ("probability", "rival"))
    fall, rival_fall = decline(answer), decline(rival)
    n_blocks = answer.shape[1]
    wide = skipping.pivot(index="item", columns="first", values="kept").to_numpy(dtype=float)
    last, earlier = wide[:, -1], wide[:, :-1].mean(axis=1)
    left = (n_blocks - 1 - end_of_climb(answer)) / (n_blocks - 1)
    compared = (
        ("answer's probability at the best earlier block minus the last", fall, rival_fall, "a rival answer"),
        ("share of answers kept without the last blocks", last, earlier, "without as many earlier blocks"),
        (
            "share of depth left when nine tenths of the peak are reached",
            left,
            np.zeros_like(left),
            "climbing to the last block",
        ),
    )
    return [
        measurement(
            name,
            quantity,
            paired_difference(effect, control, seed=seed),
            control=float(control.mean()),
            unit="prompts",
            control_name=control_name,
        )
        for quantity, effect, control, control_name in compared
    ]


def run(context: Context) -> Part:
    """Measure all models and judge the claim."""
    ranks = {model.name: measure_ranks(model, context) for model in context.models}
    skipping = {model.name: measure_skipping(model, context) for model in context.models}
    every = {name: measure_all(name, ranks[name], skipping[name], context.seed) for name in ranks}
    deciding = [one for ms in every.values() for one in ms[:2]]
    planted = planted_decline(min(int(table["item"].nunique()) for table in skipping.values()), context.seed)
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=planted.above_zero),
        reason=f"{held(deciding)} A planted fall of 0.05 is found: {planted}. Prompts whose answer is the "
        f"model's top token; "
        "the plain lens on block outputs.",
        measurements=tuple(one for ms in every.values() for one in ms),
    )
    figures: tuple[Figure, ...] = tuple(_figure(name, ranks[name], context.seed) for name in ranks)
    section = Section(
        heading="How certainty climbs",
        text="\n\n".join(_describe(name, ranks[name], skipping[name], every[name]) for name in ranks),
        figures=tuple(figure.name for figure in figures),
        tables=("skipping",),
    )
    return Part((section,), {"skipping": joined(skipping)}, figures, (verdict,))


def _describe(name: str, ranks: pd.DataFrame, skipping: pd.DataFrame, found: Sequence[Measurement]) -> str:
    known = ranks[ranks["final top"]]
    answer = by_block(known, "probability", "resid_post")
    n_blocks = answer.shape[1]
    width, end = np.median(width_of_climb(answer)), np.median(end_of_climb(answer))
    first = int(skipping["first"].max())
    fall, kept, _ = found
    return (
        f"{name}, {known['item'].nunique()} prompts that it answers. The answer's probability reaches nine tenths of "
        f"its peak at block {end:.0f} of 0-{n_blocks - 1} (median), {width:.0f} after the block at a tenth. From the "
        f"best earlier block to the last it {_falls(fall.effect)}, a rival's {_falls(fall.control)} (difference of the "
        f"falls {interval(fall)}). Without blocks {first} to {n_blocks - 1} {kept.effect:.0%} of the answers stay on "
        f"top; without as many earlier blocks {kept.control:.0%}."
    )


def _falls(value: float) -> str:
    return f"{'falls' if value > 0 else 'rises'} by {number(abs(value))}"


def _figure(name: str, ranks: pd.DataFrame, seed: int) -> Profile:
    known = ranks[ranks["final top"]]
    rows: list[dict[str, object]] = []
    for column, label in (("probability", "answer"), ("rival", "rival answer")):
        values = by_block(known, column, "resid_post")
        rows += curve(label, enumerate(values.T), seed)
    return Profile(
        name=f"climb-{name}",
        title=f"Probability of the answer over the blocks of {name}",
        x_label="block",
        y_label="probability under the lens",
        table=pd.DataFrame(rows),
        note=f"n = {known['item'].nunique()} prompts that the model answers, 95 % bootstrap intervals; block outputs.",
    )
