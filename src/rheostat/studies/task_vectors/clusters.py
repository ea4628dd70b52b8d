"""Do the vectors of one task lie together and apart from those of others?

Centroids are of vectors whose demonstrations come from the pairs to show, what is tested is of the other pairs, and the
other way round: no pair of a tested vector's demonstrations was seen, though tasks of few answers (languages, kinds)
show the same answers in both halves. Controls: shuffled labels; and the surface, the mean embedding of the prompts'
tokens, above all between tasks and their inverses, which show the same words.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rheostat.base.shapes import Figure, Profile, Scatter
from rheostat.directions.clusters import nearest_is_own, standardised, tsne
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.studies.judging import against, compared_all, held, judge, number
from rheostat.studies.part import Part, step_params
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.task_vectors.measured import Measured
from rheostat.studies.task_vectors.setup import task_params

Codes = NDArray[np.int64]
CLAIM = "taskvec-4"
STATEMENT = "Vectors of one task lie together and apart from those of other tasks."
GOOD = 0.9
SHUFFLES = 20
INVERSES = (
    ("english-french", "french-english"), ("english-spanish", "spanish-english"), ("plural", "singular"),
    ("next-letter", "previous-letter"), ("first-of-list", "last-of-list"),
)  # fmt: skip
"""Tasks that show the same words, in the other order or with another of them as the answer."""
COUNTRIES = ("country-capital", "country-language", "country-currency", "country-continent", "country-nationality")
"""Tasks that ask about the same words."""


def states_at(one: Measured, block: int, tasks: Sequence[str]) -> tuple[Values, Codes, Codes]:
    """Return the vectors of some tasks at a block (−1: the surface), standardised, with their tasks and halves."""
    places = [one.vectors.names.index(task) for task in tasks]
    values = one.vectors.values[places][:, :, :, block].double().numpy()
    n_tasks, n_halves, n, width = values.shape
    codes, halves, _ = np.indices((n_tasks, n_halves, n), dtype=np.int64).reshape(3, -1)
    return standardised(values.reshape(-1, width)), codes, halves


def right(one: Measured, block: int, tasks: Sequence[str]) -> Values:
    """Return, per vector, 1 where the nearest centroid of the other half is its own task's."""
    states, codes, halves = states_at(one, block, tasks)
    return nearest_is_own(states, codes, halves)


def right_by_chance(one: Measured, block: int, tasks: Sequence[str], seed: int) -> Values:
    """Return the same with permuted labels, averaged over permutations."""
    states, codes, halves = states_at(one, block, tasks)
    rng = np.random.default_rng(seed)
    found: Values = np.mean([nearest_is_own(states, rng.permutation(codes), halves) for _ in range(SHUFFLES)], axis=0)
    return found


def planted(one: Measured, seed: int) -> bool:
    """Tell whether clusters are found where vectors that know nothing get a direction of their task's own."""
    states, codes, halves = states_at(one, one.common, one.vectors.names)
    rng = np.random.default_rng(seed)
    lost = states[rng.permutation(len(states))]
    own = rng.normal(size=(len(one.vectors.names), states.shape[1]))
    found = nearest_is_own(lost + own[codes], codes, halves)
    return bootstrap_mean(found - GOOD, seed=seed).low > 0


def between_inverses(one: Measured, block: int) -> Values:
    """Return, per vector of a task with an inverse, 1 where it lies nearer to its own task's centroid of the two."""
    pairs = [pair for pair in INVERSES if set(pair) <= set(one.vectors.names)]
    return np.concatenate([right(one, block, pair) for pair in pairs]) if pairs else np.empty(0)


def cosine_gap(one: Measured, block: int, tasks: Sequence[str]) -> tuple[float, float]:
    """Return the mean cosine within and between tasks, of vectors without the mean of all."""
    states, codes, _ = states_at(one, block, tasks)
    unit = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    cosines, same = unit @ unit.T, codes[:, None] == codes[None]
    np.fill_diagonal(same, False)
    other = codes[:, None] != codes[None]
    return float(cosines[same].mean()), float(cosines[other].mean())


def measure_all(one: Measured, seed: int) -> list[Measurement]:
    """Return the accuracy of nearest centroids against every control, over vectors; all of it decides but the last."""
    block, names = one.common, one.vectors.names
    whole = right(one, block, names)
    controls = {"shuffled labels": right_by_chance(one, block, names, seed), f"{GOOD}": np.full(len(whole), GOOD)}
    what = "nearest-centroid accuracy, all tasks"
    found = against(one.model.name, what, whole, controls, unit="vectors", seed=seed)
    inverses = between_inverses(one, block)
    if len(inverses):
        surface = {"surface": between_inverses(one, -1)}
        what = "nearest-centroid accuracy between tasks and their inverses"
        found += against(one.model.name, what, inverses, surface, unit="vectors", seed=seed)
    surface = {"surface": right(one, -1, names)}
    return found + against(
        one.model.name, "nearest-centroid accuracy, all tasks", whole, surface, unit="vectors", seed=seed
    )


def run(context: Context, measured: Sequence[Measured]) -> Part:
    """Score the clusters of all models, draw them and judge the claim."""
    found = {one.model.name: measure_all(one, context.seed) for one in measured}
    deciding = [m for ms in found.values() for m in ms[:-1]]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=all(planted(one, context.seed) for one in measured)),
        reason=f"{held(deciding)} Vectors are tested by centroids of vectors that share no demonstration with them. "
        "The surface of the prompts tells most tasks apart too, so it decides only between tasks and their inverses.",
        measurements=tuple(m for ms in found.values() for m in ms),
    )
    figures: list[Figure] = []
    for one in measured:
        figures += [_profile(one, context.seed), _picture(one, context)]
    section = Section(
        heading="Clusters",
        text="\n\n".join(_describe(one, found[one.model.name], context.seed) for one in measured),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), figures=tuple(figures), verdicts=(verdict,))


def _describe(one: Measured, found: Sequence[Measurement], seed: int) -> str:
    countries = [task for task in COUNTRIES if task in one.vectors.names]
    within, between = cosine_gap(one, one.common, one.vectors.names)
    own, surface = (bootstrap_mean(right(one, block, countries), seed=seed) for block in (one.common, -1))
    n = one.vectors.values.shape[1] * one.vectors.values.shape[2]
    return (
        f"{one.model.name}, block {one.common}, {len(one.vectors.names)} tasks with {n} vectors each. "
        f"{compared_all(found)} Between the {len(countries)} tasks on countries: {own}; surface {surface}. Mean cosine "
        f"within a task {number(within)}, between tasks {number(between)}, states standardised per dimension."
    )


def _profile(one: Measured, seed: int) -> Profile:
    rows, names = [], one.vectors.names
    for block in range(one.vectors.n_blocks):
        for series, values in (
            ("all tasks", right(one, block, names)),
            ("tasks and inverses", between_inverses(one, block)),
        ):
            if len(values):
                mean = bootstrap_mean(values, seed=seed)
                rows.append({"x": block, "value": mean.value, "low": mean.low, "high": mean.high, "series": series})
        within, between = cosine_gap(one, block, names)
        gap = within - between
        rows.append({"x": block, "value": gap, "low": gap, "high": gap, "series": "cosine within − between"})
    reference = {"surface, all tasks": float(right(one, -1, names).mean())}
    if len(surface := between_inverses(one, -1)):
        reference["surface, inverses"] = float(surface.mean())
    return Profile(
        name=f"clusters-{one.model.name}",
        title=f"Telling tasks apart by their vectors, {one.model.name}",
        x_label="block",
        y_label="nearest-centroid accuracy, share; cosine",
        table=pd.DataFrame(rows),
        note=f"n = {len(right(one, 0, names))} vectors of {len(names)} tasks, {len(surface)} of tasks with an inverse. "
        "Bands: 95 % bootstrap intervals over vectors. Surface: mean embedding of the prompts' tokens.",
        reference=reference,
    )


def _picture(one: Measured, context: Context) -> Scatter:
    names, block = one.vectors.names, one.common
    _, codes, _ = states_at(one, block, names)

    def compute() -> pd.DataFrame:
        places = tsne(states_at(one, block, names)[0], context.seed)
        return pd.DataFrame({"x": places[:, 0], "y": places[:, 1]})

    params = step_params(one.model, context, **task_params(one.asked), block=block)
    table = context.step(f"tsne-{one.model.name}", params, compute)
    kinds = {asked.name: asked.task.kind for asked in one.asked}
    first = np.r_[True, codes[1:] != codes[:-1]]
    table["series"] = [kinds[names[code]] for code in codes]
    table["text"] = [names[code] if begins else "" for code, begins in zip(codes, first, strict=True)]
    accuracy = right(one, block, names).mean()
    return Scatter(
        name=f"tsne-{one.model.name}",
        title=f"t-SNE of {len(codes)} task vectors after block {block}, {one.model.name}",
        x_label="t-SNE dimension 1",
        y_label="t-SNE dimension 2",
        table=table,
        note=f"{len(names)} tasks, coloured by kind, one point of each named. Held-out nearest-centroid accuracy of "
        f"the states {accuracy:.2f}; sizes and distances in this picture mean little.",
    )
