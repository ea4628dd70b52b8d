"""Does damage follow intensity smoothly, in every mode and at every site (impair-1 to impair-3)?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import pandas as pd

from rheostat.edit.arithmetic import Zero
from rheostat.metrics.statistics import Interval
from rheostat.model import Model
from rheostat.studies.impairment import gradedness as of
from rheostat.studies.impairment.curve_figures import figures_of
from rheostat.studies.impairment.graded import Graded, measure_graded
from rheostat.studies.impairment.kinds_of_damage import (
    BESIDE,
    DISTRIBUTIONS,
    MAIN,
    SHIFT,
    SITES,
    SIZES,
    Damage,
    cluster_of,
)
from rheostat.studies.judging import compared_all, held, judge, measurement, number
from rheostat.studies.part import Part
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context

AFTER = ("neurons", "mlp_out")
BEFORE = "mlp_in"
STATEMENTS = {
    "impair-1": "Gaussian noise on a small cluster of MLP units in every block worsens keyword performance in step "
    "with its intensity, along a smooth curve.",
    "impair-2": "The same holds for noise that only lowers, and for multiplying the cluster's activations by a factor "
    "between 0 and 1.",
    "impair-3": "Moving the noise to the hidden state just before the MLP also gives graded damage.",
}


@dataclass(frozen=True)
class Identities:
    """Largest differences between logits that should be equal, over the sites."""

    nothing: float
    """Between the intact network and every mode at intensity 0."""
    all_of_it: float
    """Between magnitude at intensity 1 and the cluster's activations set to zero."""


def part(context: Context) -> Part:
    """Measure, judge and draw."""
    found = {model.name: measure_graded(model, context) for model in context.models}
    exact = {model.name: identities(model, context) for model in context.models}
    guessing = {model.name: log(model.d_vocab) for model in context.models}
    lines = pd.concat([summary(name, one, guessing[name], context.seed) for name, one in found.items()])
    figures = tuple(figure for name, one in found.items() for figure in figures_of(name, one, context.seed))
    verdicts = tuple(_verdict(claim, found, guessing, context.seed) for claim in STATEMENTS)
    curves = pd.concat([curves_of(name, one) for name, one in found.items()], ignore_index=True)
    pilots = pd.concat([one.pilot.assign(model=name) for name, one in found.items()], ignore_index=True)
    section = Section(
        heading="Does damage follow intensity?",
        text=_text(exact, verdicts),
        figures=tuple(figure.name for figure in figures),
        tables=("graded-damage", "graded-curves", "graded-pilot"),
    )
    tables = {"graded-damage": lines.reset_index(drop=True), "graded-curves": curves, "graded-pilot": pilots}
    return Part((section,), tables, figures, verdicts)


def identities(model: Model, context: Context) -> Identities:
    """Compare logits where they should be equal."""
    prompt = "The government said on Tuesday that the economy"
    intact = model.run(prompt, logits_at="all").logits
    nothing, all_of_it = 0.0, 0.0
    for damage in MAIN:
        cluster = cluster_of(model, damage.kind, damage.share, context.seed)
        at_zero = Damage(damage.mode, damage.kind, relative=False)
        plan = at_zero.plan(model, None, 0.0, seed=context.seed, draw=0)
        nothing = max(nothing, float((model.run(prompt, plan, logits_at="all").logits - intact).abs().max()))
        if damage.mode == "magnitude":
            plan = at_zero.plan(model, None, 1.0, seed=context.seed, draw=0)
            zeroed = [Zero(cluster.site(block), units=units) for block, units in cluster.units.items()]
            logits = [model.run(prompt, edits, logits_at="all").logits for edits in (plan, zeroed)]
            all_of_it = max(all_of_it, float((logits[0] - logits[1]).abs().max()))
    return Identities(nothing, all_of_it)


def claimed(graded: Graded, claim: str) -> list[Damage]:
    """Return the kinds of damage that decide a claim, as far as they were measured."""
    gaussian = [one for one in (*MAIN, *DISTRIBUTIONS) if one.mode == "gaussian"]
    every = {
        "impair-1": [one for one in gaussian if one.kind in AFTER],
        "impair-2": [one for one in MAIN if one.mode != "gaussian" and one.kind in AFTER],
        "impair-3": [one for one in gaussian if one.kind == BEFORE],
    }[claim]
    measured = set(graded.table["damage"])
    return [one for one in every if one.label in measured]


def curve(graded: Graded, damage: Damage, *, topic: str | None = None) -> of.Curve:
    """Return the curve of one kind of damage, against the intact network on the same prompts."""
    (suite,) = graded.table.loc[graded.table["damage"] == damage.label, "suite"].unique()
    return of.curve_of(graded.table[graded.table["suite"] == suite], damage.label, topic=topic)


def measure_claim(name: str, graded: Graded, claim: str, seed: int) -> list[Measurement]:
    """Return, per kind of damage: rise, rank correlations against chance and against 0.9, and the largest step."""
    found = []
    for damage in claimed(graded, claim):
        one = curve(graded, damage)
        chance = of.permuted(one.intensities, one.mean_losses(), seed)
        chance_right = -of.permuted(one.intensities, one.accuracies(), seed)
        loss, accuracy = of.loss_follows(one, seed), of.accuracy_follows(one, seed)
        step = of.largest_step(one, seed)
        room = Interval(of.LARGEST_STEP - step.value, of.LARGEST_STEP - step.high, of.LARGEST_STEP - step.low, step.n)
        for quantity, value, control, control_name in (
            ("rise of loss (nats)", of.rise(one, seed), 0.0, "the intact model"),
            ("Spearman(intensity, loss)", loss, chance, "permuted intensities"),
            ("Spearman(intensity, loss) above 0.9", loss, of.NEAR_ONE, "the mark for near 1"),
            ("−Spearman(intensity, accuracy)", accuracy, chance_right, "permuted intensities"),
            ("room below a third of the rise in the largest step", room, 0.0, "none"),
        ):
            difference = Interval(value.value - control, value.low - control, value.high - control, value.n)
            found.append(
                measurement(
                    name,
                    f"{quantity}, {damage.label}",
                    difference,
                    control=control,
                    unit="draws of noise with their articles",
                    control_name=control_name,
                )
            )
    return found


def summary(
    name: str,
    graded: Graded,
    guessing: float,
    seed: int,
    damages: Sequence[Damage] = (*MAIN, *DISTRIBUTIONS, *BESIDE, *SIZES),
) -> pd.DataFrame:
    """Return a row per kind of damage that was measured: its range, how the curve goes, where half of it is done."""
    doses = dict(zip(graded.doses["damage"], graded.doses["dose"], strict=True))
    rows: list[dict[str, object]] = []
    for damage in damages:
        if damage.label not in set(graded.table["damage"]):
            continue
        one = curve(graded, damage)
        means = one.mean_losses()
        half = of.intensity_at(one, (float(means[0]) + guessing) / 2, seed)
        reached = float(means.max()) >= (float(means[0]) + guessing) / 2
        loss, accuracy, step = of.loss_follows(one, seed), of.accuracy_follows(one, seed), of.largest_step(one, seed)
        rows.append(
            {
                "model": name,
                "damage": damage.label,
                "prompts": int(one.counts.sum()),
                "last intensity": float(one.intensities[-1]),
                "intact loss": float(means[0]),
                "last loss": float(means[-1]),
                "intact accuracy": float(one.accuracies()[0]),
                "last accuracy": float(one.accuracies()[-1]),
                "Spearman loss": str(loss),
                "Spearman accuracy": str(Interval(-accuracy.value, -accuracy.high, -accuracy.low, accuracy.n)),
                "permuted": of.permuted(one.intensities, one.mean_losses(), seed),
                "largest step": str(step),
                "falls": int((np.diff(means) < 0).sum()),
                "half damage at": half.value if reached else np.nan,
                "half damage low": half.low if reached else np.nan,
                "half damage high": half.high if reached else np.nan,
                "dose at half": half.value * doses[damage.label] if reached and damage.label in doses else np.nan,
            }
        )
    return pd.DataFrame(rows)


def curves_of(name: str, graded: Graded) -> pd.DataFrame:
    """Return mean loss and accuracy: rows {model, damage, topic, intensity, loss, right, prompts}."""
    grouped = graded.table.groupby(["suite", "damage", "topic", "level", "intensity"], sort=False)
    means = grouped.agg(loss=("loss", "mean"), right=("right", "mean"), prompts=("loss", "size")).reset_index()
    return means.assign(model=name)[["model", *means.columns]]


def planted_is_noticed(graded: Graded, seed: int) -> bool:
    """Return whether a planted smooth curve passes and a planted one that falls again does not.

    Both have the measured curves' intensities and draws, and as much scatter between draws.
    """
    one = curve(graded, MAIN[0])
    scatter = one.losses / one.counts[:, None] - one.mean_losses()
    x = one.intensities / one.intensities[-1]
    shapes = {True: 10 * x, False: 10 * np.sin(np.pi * x)}
    planted = {
        graded_one: of.Curve(one.intensities, (shape + scatter) * one.counts[:, None], one.right, one.counts)
        for graded_one, shape in shapes.items()
    }
    return all(of.is_graded(curve_of, seed) == expected for expected, curve_of in planted.items())


def _verdict(claim: str, found: Mapping[str, Graded], guessing: Mapping[str, float], seed: int) -> Verdict:
    measured = [one for name, graded in found.items() for one in measure_claim(name, graded, claim, seed)]
    planted = all(planted_is_noticed(graded, seed) for graded in found.values())
    beside = {"impair-2": _shift_beside, "impair-3": _sites_beside}.get(claim)
    said = [] if beside is None else [beside(name, one, guessing[name], seed) for name, one in found.items()]
    return Verdict(
        claim=claim,
        statement=STATEMENTS[claim],
        verdict=judge(measured, planted_found=planted),
        reason=f"{held(measured)} {_not_graded(found, claim, seed)} {' '.join(said)}".strip(),
        measurements=tuple(measured),
    )


def _not_graded(found: Mapping[str, Graded], claim: str, seed: int) -> str:
    """Name the kinds of damage whose curve is not near 1 or has a step above a third."""
    failing = []
    for name, graded in found.items():
        for damage in claimed(graded, claim):
            one = curve(graded, damage)
            loss, step = of.loss_follows(one, seed), of.largest_step(one, seed)
            if loss.value < of.NEAR_ONE or step.value > of.LARGEST_STEP:
                failing.append(f"{damage.label} on {name} (Spearman {loss.value:.2f}, step {step.value:.2f})")
    return f"Not graded at the mean: {'; '.join(failing)}." if failing else "At the mean, every curve is graded."


def _shift_beside(name: str, graded: Graded, _: float, seed: int) -> str:
    """Say what the shift of negative noise does without the noise, at its middle intensity."""
    if Damage(SHIFT, BEFORE).label not in set(graded.table["damage"]):
        return ""
    said = []
    for kind in SITES:
        pair = [curve(graded, Damage(mode, kind)) for mode in ("negative", SHIFT)]
        middle = len(pair[0].intensities) // 2
        rises = [float(one.mean_losses()[middle] - one.mean_losses()[0]) for one in pair]
        said.append(f"{number(rises[0])} against {number(rises[1])} at {kind}")
    sizes = []
    for damage in SIZES:
        rise, follows = of.rise(curve(graded, damage), seed), of.loss_follows(curve(graded, damage), seed)
        sizes.append(f"{damage.label}: {number(rise.value)} (Spearman {number(follows.value)})")
    return (
        f"Rise of loss by negative noise against its mean shift alone, middle intensity, {name}: {', '.join(said)}. "
        f"Larger clusters, rise of loss with nothing of the activation left: {'; '.join(sizes)}."
    )


def _sites_beside(name: str, graded: Graded, guessing: float, seed: int) -> str:
    """Compare sites at half damage, in intensity and in dose."""
    said = []
    table = summary(name, graded, guessing, seed, [Damage("gaussian", kind) for kind in SITES])
    for kind in SITES:
        row = table[table["damage"] == Damage("gaussian", kind).label].iloc[0]
        said.append(f"{number(float(row['half damage at']))} (dose {number(float(row['dose at half']))}) at {kind}")
    return f"Half damage of normal noise, in standard deviations and as dose, {name}: {', '.join(said)}."


def _text(exact: Mapping[str, Identities], verdicts: Sequence[Verdict]) -> str:
    same = "; ".join(
        f"{name}: intensity 0 against intact {number(one.nothing)}, magnitude 1 against zeroing {number(one.all_of_it)}"
        for name, one in exact.items()
    )
    return (
        "A random 2 % of the units of every block is damaged, at three sites. Intensity counts in standard deviations "
        "of the site, measured without the first token; one line is absolute for comparison. A pilot on other articles "
        "finds where normal and negative noise bring the mean loss to that of guessing among all tokens; eight "
        "intensities lie up to there, at (k/8)^1.5 of it. The ranges of truncated and uniform noise follow from their "
        "spread. Every article is measured under one draw of the noise; intervals resample draws with their "
        "articles.\n\n"
        "Largest step: the most that the mean loss rises between neighbouring intensities, as a share of the whole "
        "rise (it depends on the grid). Half damage: where the mean loss is halfway between intact and guessing. Dose: "
        "length of the change over length of the activation, averaged over blocks.\n\n"
        f"Largest difference between logits that must be equal. {same}.\n\n"
        + "\n\n".join(f"{one.claim}. {compared_all(one.measurements)}" for one in verdicts)
    )
