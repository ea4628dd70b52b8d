"""Parts of a study: what each contributes to the record, and all of them joined."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rheostat.base.shapes import Figure
from rheostat.model import Model
from rheostat.studies.record import Section, Verdict
from rheostat.studies.study import Context, Findings

Tables = Mapping[str, pd.DataFrame]
"""Model name → what was measured on it."""


@dataclass(frozen=True)
class Part:
    """Sections, tables, figures and verdicts of one part."""

    sections: tuple[Section, ...]
    tables: Tables = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    warnings: tuple[str, ...] = ()


def run_parts(
    context: Context,
    parts: Sequence[Callable[[Context], Part]],
    claims: Sequence[str],
    *,
    trained: tuple[dict[str, str], ...] = (),
) -> Findings:
    """Run every part in order and join what they found, verdicts in the order of the claims.

    Args:
        context: of the study.
        parts: in the order of the page.
        claims: their identifiers, in order.
        trained: networks that the study trained itself, as a record states models.
    """
    sections: list[Section] = []
    figures: list[Figure] = []
    verdicts: list[Verdict] = []
    tables: dict[str, pd.DataFrame] = {}
    warnings: list[str] = []
    for part in parts:
        found = part(context)
        sections += found.sections
        figures += found.figures
        verdicts += found.verdicts
        tables.update(found.tables)
        warnings += found.warnings
    if context.quick:
        warnings.append("A quick run: few prompts, some blocks left out. Its verdicts are hints, not findings.")
    order_of = {claim: place for place, claim in enumerate(claims)}
    return Findings(
        verdicts=tuple(sorted(verdicts, key=lambda verdict: order_of[verdict.claim])),
        sections=tuple(sections),
        tables=tables,
        figures=tuple(figures),
        warnings=tuple(warnings),
        trained=trained,
    )


def step_params(model: Model, context: Context, **settings: object) -> dict[str, object]:
    """Return what a step's table depends on: the weights, the seed, quick or not, and the part's own settings."""
    return {"weights": model.weight_hash, "seed": context.seed, "quick": context.quick, **settings}


def joined(tables: Tables) -> pd.DataFrame:
    """Return the tables of all models as one, with the column `model` first."""
    parts = [table.assign(model=name) for name, table in tables.items()]
    whole = pd.concat(parts, ignore_index=True)
    return whole[["model", *[column for column in whole.columns if column != "model"]]]
