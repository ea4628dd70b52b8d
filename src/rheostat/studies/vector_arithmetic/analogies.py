"""Does meaning arithmetic work on the model's own input embeddings (king − man + woman = queen)?"""

from collections.abc import Sequence

import pandas as pd

from rheostat.base.shapes import Grid
from rheostat.data.analogies import WHEEL, load_analogies
from rheostat.metrics.statistics import Values, bootstrap_mean
from rheostat.model import Model
from rheostat.studies.judging import against, compared_all, held, judge
from rheostat.studies.part import Part, joined, step_params
from rheostat.studies.power import in_words, would_be_seen
from rheostat.studies.record import Measurement, Section, Verdict
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.word_vectors import (
    ALONE,
    MISMATCHED,
    OFFSET,
    OTHER_RELATION,
    Analogy,
    nearest,
    one_token_pairs,
    queries,
    whole_words,
)
from rheostat.studies.vector_arithmetic.word_vectors import analogies as drawn_analogies

CLAIM = "vecarith-6"
STATEMENT = "Meaning arithmetic works on the embeddings themselves (king − male + female = queen)."
LIMIT, LIMIT_QUICK = 40, 8
"""Asked pairs per relation."""
PER_PAIR = 3
LEFT_OUT, KEPT = "question words left out", "question words kept"
RULES = (LEFT_OUT, KEPT)
CONTROLS = (ALONE, OTHER_RELATION, MISMATCHED)
PLANTED = 0.1
"""A difference of the accuracy that must be seen."""


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per analogy and way of asking: relation, a, b, c, d, way, and whether each rule finds d."""

    def compute() -> pd.DataFrame:
        relations = one_token_pairs(model, load_analogies())
        limit = LIMIT_QUICK if context.quick else LIMIT
        asked = drawn_analogies(relations, per_pair=PER_PAIR, limit=limit, seed=context.seed)
        words = sorted({*whole_words(model), *(one for pairs in relations.values() for pair in pairs for one in pair)})
        return pd.concat(
            [
                rows(asked, nearest(model, wanted, words).tolist()).assign(way=way)
                for way, wanted in queries(model, asked, relations, context.seed).items()
            ],
            ignore_index=True,
        )

    params = step_params(model, context, words=WHEEL.sha256, limit=LIMIT, per_pair=PER_PAIR)
    return context.step(f"analogies-{model.name}", params, compute)


def rows(asked: Sequence[Analogy], found: Sequence[Sequence[int]]) -> pd.DataFrame:
    """Return a row per analogy with the columns of both rules: 1 where the nearest word is d, else 0.

    Args:
        asked: the analogies.
        found: per analogy the nearest words, in order.
    """
    listed = []
    for one, near in zip(asked, found, strict=True):
        others = [word for word in near if word not in (one.a, one.b, one.c)]
        right = {KEPT: near[0] == one.d, LEFT_OUT: others[:1] == [one.d]}
        listed.append({**vars(one), **{rule: float(value) for rule, value in right.items()}})
    return pd.DataFrame(listed)


def accuracy(table: pd.DataFrame, way: str, rule: str) -> Values:
    """Return, per asked pair, the share of its analogies that are answered."""
    chosen = table[table["way"] == way]
    found: Values = chosen.groupby(["relation", "c", "d"], sort=False)[rule].mean().to_numpy(dtype=float)
    return found


def measure_all(name: str, table: pd.DataFrame, seed: int) -> list[Measurement]:
    """Return the accuracy under both rules against every control."""
    found = []
    for rule in RULES:
        controls = {way: accuracy(table, way, rule) for way in CONTROLS}
        effect = accuracy(table, OFFSET, rule)
        found += against(name, f"analogies answered, {rule} (share)", effect, controls, unit="asked pairs", seed=seed)
    return found


def decides(one: Measurement) -> bool:
    """Tell whether a comparison decides.

    With the question words kept, the word nearest to the source word is that word itself, so it never answers.
    """
    alone = one.control_name == ALONE and KEPT in one.quantity
    return one.control_name != MISMATCHED and not alone


def run(context: Context) -> Part:
    """Ask the analogies of all models' embeddings and judge the claim."""
    tables = {model.name: measure(model, context) for model in context.models}
    found = {name: measure_all(name, table, context.seed) for name, table in tables.items()}
    every = [one for ms in found.values() for one in ms]
    deciding = [one for one in every if decides(one)]
    verdict = Verdict(
        claim=CLAIM,
        statement=STATEMENT,
        verdict=judge(deciding, planted_found=would_be_seen(deciding, PLANTED) == len(deciding)),
        reason=f"{held(deciding)} Input embeddings of unit length, whole-word tokens only, with and without leaving "
        "out the three question words. Mismatched offsets, b and a from two pairs of one relation, do not decide: they "
        "carry what the relation's pairs share; nor does the source word alone where question words are kept, since it "
        f"is its own nearest word. {in_words(deciding, PLANTED)}",
        measurements=tuple(every),
    )
    figures = tuple(_figure(name, table, context.seed) for name, table in tables.items())
    section = Section(
        heading="Analogies of the embeddings",
        text="\n\n".join(
            f"{name}, {len(table) // table['way'].nunique()} analogies of {table['relation'].nunique()} relations. "
            f"{compared_all(found[name])}"
            for name, table in tables.items()
        ),
        figures=tuple(figure.name for figure in figures),
    )
    return Part((section,), {"analogies": joined(tables)}, figures, (verdict,))


def _figure(name: str, table: pd.DataFrame, seed: int) -> Grid:
    cells = []
    for relation, mine in table.groupby("relation", sort=False):
        for label, way, rule in (
            ("offset", OFFSET, LEFT_OUT),
            ("word alone", ALONE, LEFT_OUT),
            ("other relation's", OTHER_RELATION, LEFT_OUT),
            ("mismatched", MISMATCHED, LEFT_OUT),
            ("offset, words kept", OFFSET, KEPT),
        ):
            values = accuracy(mine, way, rule)
            value, text = float(values.mean()), f"{values.mean():.0%}"
            if len(values) > 1:
                mean = bootstrap_mean(values, seed=seed)
                text = f"{mean.value:.0%} [{mean.low:.0%}, {mean.high:.0%}]"
            cells.append(
                {
                    "x": label,
                    "y": str(relation).split("-", 1)[-1] if str(relation).startswith("gram") else str(relation),
                    "value": value,
                    "text": text,
                }
            )
    return Grid(
        f"analogies-{name}",
        f"Analogies of the input embeddings, {name}",
        "what is asked; question words left out but in the last column",
        "relation",
        "share answered",
        pd.DataFrame(cells),
        "95 % bootstrap intervals over asked pairs; the nearest whole word by angle.",
        limits=(0.0, 1.0),
    )
