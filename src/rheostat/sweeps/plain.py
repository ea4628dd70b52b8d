"""`sweep_plain`: cells × inputs × functions of the output, for a module that is no language model."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike
from rheostat.engine.cells import Cell, as_cells
from rheostat.engine.plain_sweep import MAX_ROWS, sweep_outputs
from rheostat.models.network import Network

OWN_COLUMNS = ("cell", "row")

OfOutput: TypeAlias = Callable[[Tensor], Tensor]
"""From an output (row, …) to a number per row (row,)."""


def sweep_plain(
    network: Network,
    inputs: Tensor,
    cells: "Sequence[Cell | PlanLike]",
    metrics: Mapping[str, OfOutput],
    *,
    max_rows: int = MAX_ROWS,
) -> pd.DataFrame:
    """Measure every cell on every input, with the numbers of one `run_plain` per cell.

    Cells share passes, and in an `nn.Sequential` also what comes before the first part that they edit; see
    `rheostat.engine.plain_sweep`.

    Args:
        network: a module that was loaded as a plain one and returns a tensor.
        inputs: (row, …).
        cells: cells, or bare plans, with edits at module paths; a cell's labels become columns.
        metrics: functions of the output by the name of their column.
        max_rows: cells × inputs of one pass; memory grows with it.

    Returns:
        One row per input and cell: columns cell and row (their numbers), the labels, then a column per metric.

    Raises:
        SiteNotFound, EditNotUsable, EditNotApplied: before any cell runs; the message names the cell.
        BadArgument: there is no metric, a label or metric has the name of another column, a metric returns another
            shape, or the module returns no tensor with a row per input.
    """
    listed = as_cells(cells)
    _check_names(listed, metrics)
    n_rows = len(inputs)
    values = torch.full((len(metrics), len(listed), n_rows), float("nan"), dtype=torch.float64)
    for chunk in sweep_outputs(network, inputs, listed, max_rows=max_rows):
        for cell, output in zip(chunk.cells, chunk.outputs, strict=True):
            for column, (name, function) in enumerate(metrics.items()):
                found = function(output)
                if not isinstance(found, Tensor) or found.shape != (n_rows,):
                    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                    raise BadArgument(f"the metric {name!r} returned {shape} for {n_rows} rows; a number each.")
                values[column, cell] = found.double().cpu()
    columns = {name: values[column].T.flatten().numpy() for column, name in enumerate(metrics)}
    return _labelled(listed, n_rows).assign(**columns)


def _labelled(cells: Sequence[Cell], n_rows: int) -> pd.DataFrame:
    """Return the numbers and labels of all cells, once per input."""
    of_cells = pd.DataFrame([{"cell": number, "row": 0, **cell.labels} for number, cell in enumerate(cells)])
    table = of_cells.take(np.tile(np.arange(len(cells)), n_rows)).reset_index(drop=True)
    return table.assign(row=np.repeat(np.arange(n_rows), len(cells)))


def _check_names(cells: Sequence[Cell], metrics: Mapping[str, OfOutput]) -> None:
    if not metrics:
        raise BadArgument("there is no metric. Give one, such as {'first': lambda output: output[:, 0]}.")
    labels = {label for cell in cells for label in cell.labels}
    if taken := sorted((labels & {*metrics, *OWN_COLUMNS}) | (set(metrics) & set(OWN_COLUMNS))):
        raise BadArgument(f"the name {taken[0]!r} belongs to another column; choose another for the label or metric.")
