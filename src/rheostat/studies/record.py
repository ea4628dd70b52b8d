"""What a study leaves behind: arguments, versions, tables, figures' numbers and a verdict per claim."""

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from rheostat.base.shapes import Figure

VerdictName = Literal["reproduced", "partly", "not", "contradicted", "not testable here", "not run"]


@dataclass(frozen=True)
class Measurement:
    """One model's evidence on a claim: effect minus control, with its 95 % bootstrap interval."""

    model: str
    quantity: str
    """What was measured, with its unit."""
    effect: float
    control: float
    """The same quantity under the control."""
    low: float
    high: float
    """95 % bootstrap interval of effect − control."""
    n: int
    unit: str
    """What was resampled: prompts, prompt pairs, token types."""
    control_name: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a study found on one claim of the literature."""

    claim: str
    """Identifier, such as `decode-6`."""
    statement: str
    verdict: VerdictName
    reason: str
    """One or two sentences: why this verdict, and what was not covered."""
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading with its text, and the tables and figures shown below it."""

    heading: str
    text: str
    """Paragraphs separated by blank lines; plain text."""
    figures: tuple[str, ...] = ()
    """Names of the record's figures."""
    tables: tuple[str, ...] = ()
    """Names of the record's tables."""


@dataclass(frozen=True)
class Record:
    """One execution of a study, complete enough to be drawn, cited and repeated."""

    study: str
    title: str
    source: str
    """The paper or post that is being tested."""
    arguments: dict[str, object]
    seed: int
    models: tuple[dict[str, str], ...]
    """Per model: name, revision, weight hash, dtype, device."""
    versions: dict[str, str]
    started: str
    """ISO 8601, UTC."""
    seconds: float
    warnings: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    sections: tuple[Section, ...] = ()
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
