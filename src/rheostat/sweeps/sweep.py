"""`sweep`: cells × prompts × metrics as one table, on the engine that branches where the edits are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import Plan, PlanLike
from rheostat.edit.source import FromPrompt
from rheostat.engine.batch import as_prompts
from rheostat.engine.cells import Cell, as_cells
from rheostat.engine.forward import run
from rheostat.engine.sweep import MAX_TOKEN_ROWS, explain_sweep, sweep_chunks
from rheostat.metrics.metric import Bound, Metric
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.store.fill import fill
from rheostat.store.key import result_key, versions_that_matter
from rheostat.store.store import Store, Wanted

OWN_COLUMNS = ("cell", "prompt")
CHUNK = 256
"""Cells computed and committed together."""


def sweep(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    metrics: "Metric | Sequence[Metric]",
    *,
    max_token_rows: int = MAX_TOKEN_ROWS,
    store: str | Path | None = None,
    name: str = "sweep",
) -> pd.DataFrame:
    """Measure every cell on every prompt, with the numbers of one run per cell.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        cells: cells, or bare plans; a cell's labels become columns.
        metrics: one or several; what they call clean is the unedited network, for cells with a base too.
        max_token_rows: rows × tokens that one pass may hold; memory grows with it.
        store: a file that keeps each chunk of results; a sweep that was killed goes on where it stopped.
        name: of the run in the store.

    Returns:
        One row per prompt and cell: columns cell and prompt (their numbers), the labels, then a column per metric.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
        BadArgument: there is no metric, or two have one name, or a label has the name of another column.
        FileNotUsable: the store cannot be read or written.
    """
    listed, asked = as_cells(cells), as_prompts(prompts)
    wanted = [metrics] if isinstance(metrics, Metric) else list(metrics)
    _check_names(listed, wanted)
    rows = [network.row(prompt) for prompt in asked]
    explain_sweep(network, asked, listed)  # refuses what cannot be done, in whichever cell
    bound = tuple(zip(*(metric.bind(network, rows) for metric in wanted), strict=True))
    question = _Question(network, asked, listed, bound, max_token_rows)
    places = list(product(range(len(asked)), range(len(listed))))
    values = question.values(places) if store is None else _kept(question, rows, places, Path(store), name)
    labels = pd.DataFrame([{"cell": cell, "prompt": prompt, **listed[cell].labels} for prompt, cell in places])
    return labels.assign(**{metric.column: values[:, column].numpy() for column, metric in enumerate(wanted)})


@dataclass(frozen=True)
class _Question:
    """What a sweep asks, resolved."""

    network: Network
    prompts: Sequence[Prompt]
    cells: Sequence[Cell]
    bound: Sequence[Sequence[Bound]]
    """Per prompt, its metrics."""
    max_token_rows: int

    def values(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """Return (place, metric) of places (prompt, cell), which stand in the order of prompts."""
        parts = [
            self._on_one_prompt(prompt, [cell for _, cell in group])
            for prompt, group in groupby(places, key=lambda place: place[0])
        ]
        return torch.cat(parts)

    def _on_one_prompt(self, prompt: int, members: Sequence[int]) -> Tensor:
        bound, asked = self.bound[prompt], [self.prompts[prompt]]
        positions = sorted({position for each in bound for position in each.positions})
        clean = None
        if any(each.needs_clean for each in bound):
            clean = run(self.network, asked, logits_at=positions).logits[0]
        values = torch.full((len(members), len(bound)), float("nan"), dtype=torch.float64)
        cells = [self.cells[cell] for cell in members]
        chunks = sweep_chunks(self.network, asked, cells, logits_at=positions, max_token_rows=self.max_token_rows)
        for chunk in chunks:
            values[list(chunk.cells)] = _measure(chunk.logits, bound, clean, positions)
        return values


def _measure(logits: Tensor, bound: Sequence[Bound], clean: Tensor | None, positions: Sequence[int]) -> Tensor:
    """Return (cell, metric) of logits (cell, pos, d_vocab) at `positions`."""
    columns = [[positions.index(one) for one in each.positions] for each in bound]
    values = [
        each(logits[:, where], None if clean is None or not each.needs_clean else clean[where])
        for each, where in zip(bound, columns, strict=True)
    ]
    return torch.stack([one.double().cpu() for one in values], dim=-1)


def _kept(question: _Question, rows: Sequence[Row], places: Sequence[tuple[int, int]], path: Path, name: str) -> Tensor:
    """Return the values of all places from a store, after computing what it lacks."""
    network = question.network
    versions, attention = (
        versions_that_matter(),
        getattr(getattr(network.module, "config", None), "_attn_implementation", None),
    )
    plans = [cell.plan.fingerprint() for cell in question.cells]
    sources = [_source_tokens(network, cell.plan) for cell in question.cells]
    wanted = [
        Wanted(
            result_key(
                weights=network.weight_hash,
                plan=plans[cell],
                prompt=rows[prompt].ids,
                metric="; ".join(each.identifier for each in question.bound[prompt]),
                dtype=str(network.dtype),
                versions=versions,
                settings={"attention": attention, "device": network.device.type, "sources": sources[cell]},
            ),
            {"cell": cell, "prompt": prompt, **{label: _plain(v) for label, v in question.cells[cell].labels.items()}},
        )
        for prompt, cell in places
    ]
    with Store(path) as store:
        store.begin(name, {"model": network.name, "prompts": [row.text or list(row.ids) for row in rows]}, wanted)
        fill(store, wanted, lambda chosen: question.values([places[one] for one in chosen]).tolist(), chunk_size=CHUNK)
        results = store.results(one.key for one in wanted)
    return torch.tensor([results[one.key] for one in wanted], dtype=torch.float64)


def _source_tokens(network: Network, plan: Plan) -> str:
    """Return the tokens of the prompts that a plan reads: the plan knows their texts, not how they are tokenized."""
    prompts = [edit.source.prompt for edit in plan if isinstance(edit.source, FromPrompt)]
    return "; ".join(str(network.row(prompt).ids) for prompt in prompts)


def _plain(value: object) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


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
