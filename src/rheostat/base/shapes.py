"""The shapes that results come in: profile, grid, scatter, diagram, tokens. They hold numbers; `report` draws them."""

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Profile:
    """Values along one ordered axis, usually blocks; one line per series."""

    name: str
    """File name stem, also the figure's anchor: letters, digits and dashes."""
    title: str
    x_label: str
    y_label: str
    """With its unit."""
    table: pd.DataFrame
    """Columns `x`, `value`, `series`; optionally `low` and `high`, the 95 % interval."""
    note: str = ""
    """What is shown, with n, how the interval was made and what the control is."""
    reference: dict[str, float] = field(default_factory=dict)
    """Named horizontal lines: a chance level, a control, the paper's figure."""
    kind: Literal["profile"] = "profile"


@dataclass(frozen=True)
class Grid:
    """Values on two axes, such as blocks × points or blocks × tokens."""

    name: str
    title: str
    x_label: str
    y_label: str
    value_label: str
    table: pd.DataFrame
    """Columns `x`, `y`, `value`; optionally `text`, shown in the cell. Order of first appearance is the axes' order."""
    note: str = ""
    centre: float | None = None
    """Diverging colours around this value; None: sequential colours."""
    limits: tuple[float, float] | None = None
    """Values at the ends of the colour scale, such as (0, 1) for a probability; None: those of the table."""
    kind: Literal["grid"] = "grid"


@dataclass(frozen=True)
class Scatter:
    """One point per item, coloured by series."""

    name: str
    title: str
    x_label: str
    y_label: str
    table: pd.DataFrame
    """Columns `x`, `y`, `series`; optionally `text`, the point's label."""
    note: str = ""
    kind: Literal["scatter"] = "scatter"


@dataclass(frozen=True)
class BlockDiagram:
    """One block of a transformer with what the lens reads at its four points."""

    name: str
    title: str
    table: pd.DataFrame
    """Columns `block`, `point` (attn_out, resid_mid, mlp_out, resid_post), `token`, `probability`: a row each."""
    note: str = ""
    kind: Literal["diagram"] = "diagram"


@dataclass(frozen=True)
class TokenStrip:
    """A text whose tokens are coloured by a value, with the value beside each; one line of tokens per text."""

    name: str
    title: str
    value_label: str
    table: pd.DataFrame
    """Columns `token`, as it stands in running text, and `value`, in reading order; optionally `text`, a label: where
    it changes, another text begins."""
    note: str = ""
    centre: float | None = 0.0
    """Diverging colours around this value; None: sequential colours."""
    limits: tuple[float, float] | None = None
    """Values at the ends of the colour scale; beyond them the colour stays, the number does not."""
    threshold: float | None = None
    """Tokens whose value lies above are framed."""
    kind: Literal["tokens"] = "tokens"


Figure = Profile | Grid | Scatter | BlockDiagram | TokenStrip
