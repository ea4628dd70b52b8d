"""`sweep`: cells × prompts × metrics as one table, on the engine that branches where the edits are."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.cells import Cell, as_cells
from rheostat.engine.forward import run
from rheostat.engine.sweep import MAX_TOKEN_ROWS, Chunk, sweep_chunks
from rheostat.metrics.metric import Bound, Metric
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt

OWN_COLUMNS = ("cell", "prompt")


def sweep(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    metrics: "Metric | Sequence[Metric]",
    *,
    max_token_rows: int = MAX_TOKEN_ROWS,
) -> pd.DataFrame:
    """Measure every cell on every prompt, with the numbers of one run per cell.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        cells: cells, or bare plans; a cell's labels become columns.
        metrics: one or several.
        max_token_rows: rows × tokens that one pass may hold; memory grows with it.

    Returns:
        One row per cell and prompt: columns cell and prompt (their numbers), the labels, then a column per metric.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
        BadArgument: there is no metric, or two have one name, or a label has the name of another column.
    """
    listed, asked = as_cells(cells), as_prompts(prompts)
    wanted = [metrics] if isinstance(metrics, Metric) else list(metrics)
    _check_names(listed, wanted)
    rows = [network.row(prompt) for prompt in asked]
    bound = list(zip(*(metric.bind(network, rows) for metric in wanted), strict=True))
    needed = [sorted({position for one in each for position in one.positions}) for each in bound]
    chunks = [
        sweep_chunks(network, [prompt], listed, logits_at=positions, max_token_rows=max_token_rows)
        for prompt, positions in zip(asked, needed, strict=True)
    ]  # all of them are checked before the first one runs
    names = [metric.column for metric in wanted]
    tables = []
    for number, (prompt, each, positions, found) in enumerate(zip(asked, bound, needed, chunks, strict=True)):
        clean = _clean_logits(network, prompt, each, positions)
        values = torch.full((len(listed), len(wanted)), float("nan"), dtype=torch.float64)
        for chunk in found:
            values[list(chunk.cells)] = _measure(chunk, each, clean, positions)
        labels = pd.DataFrame([dict(cell.labels) for cell in listed])
        labels.insert(0, "prompt", number)
        labels.insert(0, "cell", range(len(listed)))
        tables.append(labels.assign(**dict(zip(names, values.T.numpy(), strict=True))))
    return pd.concat(tables, ignore_index=True)


def _measure(chunk: Chunk, bound: Sequence[Bound], clean: Tensor | None, positions: Sequence[int]) -> Tensor:
    """Return (cell, metric)."""
    columns = [[positions.index(one) for one in each.positions] for each in bound]
    values = [
        each(chunk.logits[:, where], None if clean is None or not each.needs_clean else clean[where])
        for each, where in zip(bound, columns, strict=True)
    ]
    return torch.stack([one.double().cpu() for one in values], dim=-1)


def _clean_logits(network: Network, prompt: Prompt, bound: Sequence[Bound], positions: Sequence[int]) -> Tensor | None:
    if not any(each.needs_clean for each in bound):
        return None
    return run(network, [prompt], logits_at=positions).logits[0]


def _check_names(cells: Sequence[Cell], metrics: Sequence[Metric]) -> None:
    if not metrics:
        raise BadArgument("there is no metric. Give one, such as LogitDifference(' Berlin', ' Paris').")
    names = [metric.column for metric in metrics]
    labels = {label for cell in cells for label in cell.labels}
    for name in names:
        if names.count(name) > 1:
            raise BadArgument(f"two metrics are called {name!r}; measure them in two sweeps.")
    if taken := sorted(labels & {*names, *OWN_COLUMNS}):
        raise BadArgument(f"the label {taken[0]!r} has the name of another column; call it otherwise.")
