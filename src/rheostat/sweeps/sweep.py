"""`sweep`: cells × prompts × metrics as one table, on the engine that branches where the edits are."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.base.progress import progress as show_progress
from rheostat.edit.plan import PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.cells import Cell, as_cells
from rheostat.engine.sweep import MAX_TOKEN_ROWS, prepare
from rheostat.metrics.metric import Metric
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt
from rheostat.store.fill import fill_chunks, missing_places
from rheostat.store.store import Store, Wanted
from rheostat.sweeps.executor import Executor, ExecutorName, make_executor
from rheostat.sweeps.keys import Keys
from rheostat.sweeps.pieces import PIECE, cut
from rheostat.sweeps.question import Advance, Place, Question

OWN_COLUMNS = ("cell", "prompt")


def sweep(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    metrics: "Metric | Sequence[Metric]",
    *,
    max_token_rows: int = MAX_TOKEN_ROWS,
    store: str | Path | None = None,
    name: str = "sweep",
    executor: ExecutorName = "local",
    address: str | None = None,
    n_workers: int | None = None,
    progress: bool | None = None,
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
        executor: who computes: `local`, this process; `ray`, the workers of a Ray cluster (`rheostat[ray]`), each of
            which loads the model by itself from where it came from.
        address: of a running Ray cluster, such as `10.0.0.5:6379`; None: a local one, which ends with the sweep, or the
            one that this process is connected to.
        n_workers: of a Ray cluster; None: one per GPU where the model is on a GPU, else one per CPU.
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Returns:
        One row per prompt and cell: columns cell and prompt (their numbers), the labels, then a column per metric.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied: before anything runs; the message names the cell.
        BadArgument: there is no metric, or two have one name, or a label has the name of another column; or the sweep
            cannot be sent to workers: its model was handed over as a module, or a metric is a function; or it cannot be
            kept: a label is NaN or infinite, or a forward hook that is not the model's own is on the network.
        FileNotUsable: the store cannot be read or written.
        MissingExtra, WorkerDiffers, WorkerLost: Ray is not installed, workers have other weights, or die repeatedly.
    """
    listed, asked = as_cells(cells), as_prompts(prompts, network)
    wanted = [metrics] if isinstance(metrics, Metric) else list(metrics)
    _check_names(listed, wanted)
    question = Question(network, asked, listed, wanted, max_token_rows)
    prepare(network, question.rows, listed, max_token_rows)  # refuses what cannot be done, in whichever cell
    question.check()
    chosen = make_executor(executor, question, address=address, n_workers=n_workers)
    places = list(product(range(len(asked)), range(len(listed))))
    if store is not None:
        values = _kept(question, places, chosen, progress, Path(store), name)
    else:
        with show_progress(name, len(places), show=progress) as advance:
            values = _compute(question, places, chosen, advance)
    labels = pd.DataFrame([{"cell": cell, "prompt": prompt, **listed[cell].labels} for prompt, cell in places])
    return labels.assign(**{metric.column: values[:, column].numpy() for column, metric in enumerate(wanted)})


def _compute(question: Question, places: Sequence[Place], executor: Executor, advance: Advance) -> Tensor:
    """Return (place, metric) of all places."""
    values = torch.full((len(places), len(question.metrics)), float("nan"), dtype=torch.float64)
    row = {place: number for number, place in enumerate(places)}
    with executor:
        pieces = cut(places, question.first_token, size=executor.piece_size(len(places)))
        for piece, found in executor.run(pieces, advance):
            values[[row[place] for place in piece]] = found
    return values


def _kept(
    question: Question, places: Sequence[Place], executor: Executor, show: bool | None, path: Path, name: str
) -> Tensor:
    """Return the values of all places from a store, after computing what it lacks."""
    network, rows = question.network, question.rows
    wanted = _wanted(question, places)
    with Store(path) as store:
        store.begin(name, {"model": network.name, "prompts": [row.text or list(row.ids) for row in rows]}, wanted)
        if missing := missing_places(store, wanted):
            with show_progress(name, len(missing), show=show) as advance, executor:
                place = {places[number]: number for number in missing}
                pieces = cut(list(place), question.first_token, size=min(PIECE, executor.piece_size(len(missing))))
                fill_chunks(
                    store,
                    wanted,
                    [[place[one] for one in piece] for piece in pieces],
                    lambda chunks: (
                        ([place[one] for one in piece], values.tolist())
                        for piece, values in executor.run(
                            (tuple(places[n] for n in chunk) for chunk in chunks), advance
                        )
                    ),
                )
        results = store.results(one.key for one in wanted)
    return torch.tensor([results[one.key] for one in wanted], dtype=torch.float64)


def _wanted(question: Question, places: Sequence[Place]) -> list[Wanted]:
    """Return the key and the labels of every place."""
    keys = Keys(question.network, question.cells)
    metrics = ["; ".join(each.identifier for each in bound) for bound in question.bound]
    return [keys.wanted(cell, question.rows[prompt], metrics[prompt], {"prompt": prompt}) for prompt, cell in places]


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
