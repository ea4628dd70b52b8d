"""Removal of MLPs by depth: windows scaled down by a growing share, read at equal damage to neutral text."""

from itertools import pairwise

import numpy as np
import pandas as pd

from rheostat.edit.arithmetic import Zero
from rheostat.engine.cells import Cell
from rheostat.metrics.statistics import Values
from rheostat.model import Model
from rheostat.studies.part import step_params
from rheostat.studies.study import Context
from rheostat.studies.vector_arithmetic.cutting import neutral_losses, ranks_under
from rheostat.studies.vector_arithmetic.fact_versions import ABSTRACTIVE, EXTRACTIVE
from rheostat.studies.vector_arithmetic.knowing import answered, asked_versions
from rheostat.studies.vector_arithmetic.knowing import measure as read_versions

N_WINDOWS, N_WINDOWS_QUICK = 5, 3
SHARES, SHARES_QUICK = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0), (0.3, 0.6, 1.0)
"""How far the MLP outputs of a window are scaled down; 1 is removal."""
N_FACTS, N_FACTS_QUICK = 24, 4
DAMAGE = 0.5
"""Rise of the loss on neutral text, in nats, at which windows are compared."""
REMOVED = "Values between two shares are interpolated."


def windows(n_blocks: int, n_windows: int) -> list[range]:
    """Return the blocks in windows of about equal width, the lowest first."""
    borders = np.linspace(0, n_blocks, n_windows + 1).round().astype(int).tolist()
    return [range(start, end) for start, end in pairwise(borders)]


def cells_of(n_blocks: int, *, quick: bool) -> list[Cell]:
    """Return nothing removed (window −1), then every window at every share."""
    found = [Cell((), {"window": -1, "share": 0.0})]
    for number, window in enumerate(windows(n_blocks, N_WINDOWS_QUICK if quick else N_WINDOWS)):
        for share in SHARES_QUICK if quick else SHARES:
            edits = [Zero(f"blocks.{block}.mlp_out", strength=share) for block in window]
            found.append(Cell(edits, {"window": number, "share": share}))
    return found


def measure(model: Model, context: Context) -> pd.DataFrame:
    """Return one row per fact, version, window and share: rank, rival_rank, loss (of neutral text, nats)."""
    kept = sorted(answered(read_versions(model, context), ABSTRACTIVE, EXTRACTIVE)["fact"].unique())
    chosen = set(kept[: N_FACTS_QUICK if context.quick else N_FACTS])
    listed = [o for o in asked_versions(model, context) if o.fact in chosen and o.version in (ABSTRACTIVE, EXTRACTIVE)]
    cells = cells_of(model.n_blocks, quick=context.quick)

    def compute() -> pd.DataFrame:
        table = ranks_under(model, listed, cells, context, "removing by depth")
        return table.merge(neutral_losses(model, cells, quick=context.quick), on="cell").drop(columns="cell")

    params = step_params(
        model, context, prompts=[one.prompt for one in listed], plans=[one.plan.fingerprint() for one in cells]
    )
    return context.step(f"depth-{model.name}", params, compute)


def at_damage(table: pd.DataFrame, window: int, version: str, damage: float = DAMAGE) -> Values:
    """Return, per fact, the loss of the answer's reciprocal rank where neutral text has lost so much.

    Interpolated between the first two shares that enclose the damage; NaN where the window never does it.

    Args:
        table: as `measure` returns it.
        window: its number, the lowest 0.
        version: of the facts.
        damage: rise of the loss on neutral text, in nats.
    """
    chosen = table[(table["version"] == version) & table["window"].isin([-1, window])]
    scores = (1 / chosen["rank"]).groupby([chosen["share"], chosen["fact"]]).mean().unstack()
    lost = scores.iloc[0].to_numpy() - scores.to_numpy()
    rise = chosen.groupby("share")["loss"].mean()
    above = np.flatnonzero((rise - rise.iloc[0]).to_numpy() >= damage)
    if not len(above):
        return np.full(lost.shape[1], np.nan)
    after = int(above[0])
    low, high = ((rise.iloc[place] - rise.iloc[0]) for place in (after - 1, after))
    weight = (damage - low) / (high - low)
    return np.asarray(lost[after - 1] + weight * (lost[after] - lost[after - 1]), dtype=np.float64)
