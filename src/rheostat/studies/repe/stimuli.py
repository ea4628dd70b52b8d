"""How many stimuli does a direction need, does the first component do, and do opposite scenarios help?

Directions are fitted at the middle block on n pairs drawn from the fitting half, and judged on the other half.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rheostat.base.shapes import Figure, Profile
from rheostat.data.happiness import NEUTRAL
from rheostat.directions.texts import LabelledTexts, texts_of_pairs
from rheostat.metrics.statistics import Values, auroc, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.judging import against, held, judge, number
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.repe.concepts import HAPPINESS, asking, happiness, sentiment, truth
from rheostat.studies.study import Context

CLAIM = "repe-5"
STATEMENT = (
    "5 to 128 stimuli and the first principal component suffice, and subtracting opposite scenarios improves the "
    "direction."
)
COUNTS = (2, 5, 10, 16, 32, 64)
DRAWS = 40
FIRST, SECOND, MEAN, RANDOM = "first component", "second component", "mean difference", "random direction"
NEUTRALLY, ALONE = "against neutral ones", "happy ones alone"
PLENTY = 0.9
"""Few stimuli suffice if they keep this share of what many reach beyond chance."""


def components(differences: Values, order: Values, n: int) -> Values:
    """Return the first principal axes (n, width) of pair differences, whose order is drawn before they are centred."""
    turned = differences * order[:, None]
    _, _, axes = np.linalg.svd(turned - turned.mean(0), full_matrices=False)
    return np.asarray(axes[:n])


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per concept, draw, number of pairs and way of fitting: AUROC on the other half of the groups."""
    concepts = [
        truth(limit=24 if context.quick else None, seed=context.seed),
        happiness(limit=12 if context.quick else 24),
        sentiment(limit=12 if context.quick else 32, seed=context.seed),
    ]
    neutral = [asking(HAPPINESS, one) for one in NEUTRAL]
    block = model.n_blocks // 2

    def compute() -> pd.DataFrame:
        tables = []
        for concept in context.progress(concepts, f"drawing stimuli, {model.name}"):
            texts = texts_of_pairs(model, concept.pairs)
            site = f"blocks.{block}.resid_post"
            states = states_at(model, texts.texts, site)
            others = states_at(model, neutral[: len(concept.pairs)], site) if concept.name == HAPPINESS else None
            for draw in range(DRAWS):
                rows = drawn(states, texts, others, seed=context.seed + draw)
                tables.append(pd.DataFrame(rows).assign(concept=concept.name, draw=draw))
        return pd.concat(tables, ignore_index=True)

    asked = [(one.positive, one.negative) for concept in concepts for one in concept.pairs]
    params = step_params(model, context, pairs=asked, counts=COUNTS, draws=DRAWS, block=block, neutral=neutral)
    return context.step(f"stimuli-{model.name}", params, compute)


def states_at(model: Model, texts: Sequence[str], site: str) -> Values:
    """Return the last token's states (text, width) at one site."""
    parts = []
    for start in range(0, len(texts), 32):
        held_states = model.capture(list(texts[start : start + 32]), site, "last")[site]
        parts.append(held_states[:, 0].double().numpy())
    return np.concatenate(parts)


def drawn(states: Values, texts: LabelledTexts, neutral: Values | None, *, seed: int) -> list[dict[str, object]]:
    """Fit on drawn pairs of one half of the groups and read the other half."""
    rng = np.random.default_rng(seed)
    half = rng.permutation(texts.n_groups) < texts.n_groups // 2
    fitting = np.flatnonzero(half[texts.groups[::2]])
    test = ~half[texts.groups]
    rng.shuffle(fitting)
    rows: list[dict[str, object]] = []
    for count in sorted({*(n for n in COUNTS if n < len(fitting)), len(fitting)}):
        pairs = fitting[:count]
        positive, negative = states[2 * pairs], states[2 * pairs + 1]
        towards = positive.mean(0) - negative.mean(0)
        axes = {MEAN: towards, RANDOM: rng.normal(size=states.shape[1])}
        found = components(positive - negative, rng.choice([-1.0, 1.0], size=count), 2)
        axes |= dict(zip((FIRST, SECOND), found, strict=False))
        if neutral is not None:
            axes[NEUTRALLY] = positive.mean(0) - neutral[pairs].mean(0)
            axes[ALONE] = components(positive, np.ones(count), 1)[0]
        for way, axis in axes.items():
            sign = 1.0 if axis @ towards >= 0 else -1.0
            score = float(auroc(sign * (states[test] @ axis), texts.positive[test]))
            rows.append({"pairs": count, "all": count == len(fitting), "way": way, "auroc": score})
    return rows


def values_of(table: pd.DataFrame, way: str, *, pairs: int | None = None) -> Values:
    """Return one AUROC per draw of a concept, from so many pairs; None: all of the fitting half."""
    own = table[table["way"] == way]
    own = own[own["all"]] if pairs is None else own[own["pairs"] == pairs]
    return own.sort_values("draw")["auroc"].to_numpy(dtype=np.float64)


def measure_concept(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the comparisons of one concept, over draws of stimuli."""
    concept, unit = table["concept"].iloc[0], "draws of stimuli"
    few, many = values_of(table, FIRST, pairs=5), values_of(table, FIRST)
    found = against(
        name,
        f"AUROC of {concept}, first component of 5 pairs",
        few,
        {
            RANDOM: values_of(table, RANDOM, pairs=5),
            f"{PLENTY:.0%} of what all pairs reach": 0.5 + PLENTY * (many - 0.5),
        },
        unit=unit,
        seed=seed,
    )
    found += against(
        name,
        f"AUROC of {concept}, first component of all pairs",
        many,
        {SECOND: values_of(table, SECOND), f"{PLENTY:.0%} of {MEAN}": 0.5 + PLENTY * (values_of(table, MEAN) - 0.5)},
        unit=unit,
        seed=seed,
    )
    if (table["way"] == NEUTRALLY).any():
        found += against(
            name,
            f"AUROC of {concept}, happy against unhappy scenarios",
            values_of(table, MEAN),
            {one: values_of(table, one) for one in (NEUTRALLY, ALONE)},
            unit=unit,
            seed=seed,
        )
    return found


def run(context: Context) -> Part:
    """Draw stimuli on all models and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    split = {
        (name, str(concept)): own
        for name, table in tables.items()
        for concept, own in table.groupby("concept", sort=False)
    }
    found = {key: measure_concept(key[0], own, context.seed) for key, own in split.items()}
    deciding = [one for measured in found.values() for one in measured]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=False),
        reason=f"{held(deciding)} At the middle block; the sign of every axis is taken from the fitted pairs. A "
        f"shortcut suffices if it keeps {PLENTY:.0%} of what the full way reaches beyond chance.",
        measurements=tuple(deciding),
    )
    figures: tuple[Figure, ...] = tuple(_profile(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="How many stimuli, and which component",
        text="\n\n".join(_describe(name, split) for name in tables),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"stimuli": joined(tables)}, figures, (verdict,))


def _describe(name: str, split: dict[tuple[str, str], pd.DataFrame]) -> str:
    sentences = []
    for (model, concept), own in split.items():
        if model == name:
            five = values_of(own, FIRST, pairs=5)
            ways = own[own["all"]].groupby("way", sort=False)["auroc"].mean()
            listed = ", ".join(f"{way} {number(value)}" for way, value in ways.items())
            sentences.append(
                f"{concept.capitalize()}, all {int(own['pairs'].max())} pairs of the fitting half: {listed}; "
                f"first component of 5 pairs {number(five.mean())}, standard deviation over draws "
                f"{number(five.std(ddof=1))}."
            )
    return f"{name}, middle block, mean AUROC over {DRAWS} draws. " + " ".join(sentences)


def _profile(name: str, table: pd.DataFrame, seed: int) -> Profile:
    rows = []
    for (concept, way, _), own in table.groupby(["concept", "way", "pairs"], sort=False):
        if way in (FIRST, MEAN):
            mean = bootstrap_mean(own["auroc"].to_numpy(dtype=np.float64), seed=seed)
            series = f"{concept}, {way}"
            pairs = int(own["pairs"].iloc[0])
            rows.append({"x": pairs, "value": mean.value, "low": mean.low, "high": mean.high, "series": series})
    return Profile(
        name=f"stimuli-{name}",
        title=f"AUROC by the number of fitted pairs, {name}",
        x_label="pairs that were fitted on",
        y_label="AUROC on the other half of the groups",
        table=pd.DataFrame(rows).sort_values(["series", "x"]).reset_index(drop=True),
        note=f"Middle block; {DRAWS} draws of pairs and halves; 95 % bootstrap intervals over draws.",
        reference={"chance": 0.5},
    )
