"""What one part of the study contributes to its record."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from rheostat.base.shapes import Figure
from rheostat.model import Model
from rheostat.studies.record import Section, Verdict
from rheostat.studies.study import Context

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


def step_params(model: Model, context: Context, **settings: object) -> dict[str, object]:
    """Return what a step's table depends on: the weights, the seed, quick or not, and the part's own settings."""
    return {"weights": model.weight_hash, "seed": context.seed, "quick": context.quick, **settings}


def joined(tables: Tables) -> pd.DataFrame:
    """Return the tables of all models as one, with the column `model` first."""
    parts = [table.assign(model=name) for name, table in tables.items()]
    whole = pd.concat(parts, ignore_index=True)
    return whole[["model", *[column for column in whole.columns if column != "model"]]]
