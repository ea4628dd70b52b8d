"""`impairment_curves`: loss and accuracy of tasks as dials are turned up."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rheostat.base.errors import BadArgument
from rheostat.engine.cells import Cell
from rheostat.impairment.dial import Dial
from rheostat.models.network import Network
from rheostat.sweeps.executor import ExecutorName
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.item import Item, Task, ask


def impairment_curves(
    network: Network,
    tasks: Sequence[Task],
    dials: Mapping[str, Dial],
    intensities: Sequence[float],
    *,
    draws: int = 1,
    first_draw: int = 0,
    crossed: bool = True,
    seed: int = 0,
    store: str | Path | None = None,
    executor: ExecutorName = "local",
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure every item of every task under every dial at every intensity.

    Args:
        network: a language model.
        tasks: what is asked; names differ.
        dials: by the name that the table gives them.
        intensities: at least 0, ascending; 0, the intact network, is always measured, once for all dials.
        draws: of the noise; a dial that draws none is measured once.
        first_draw: number of the first draw, from 0 on; other numbers are other noise.
        crossed: every item under every draw; else each group of items under one of the draws, in turns, which costs
            a `draws`-th and still averages over draws.
        seed: of the noise.
        store: a file that keeps what is computed (see `sweep`).
        executor: who computes (see `sweep`).
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Returns:
        Rows {dial, intensity, draw, task, item, group, answer_tokens, loss, right}: item is its number in the task,
        loss the mean over the answer's tokens in nats, right 1 where greedy decoding would have written all of them.

    Raises:
        BadArgument: no task, two of one name, intensities that do not ascend from 0, or fewer than one draw, or a
            negative intensity or number of a draw.
        ClusterNotUsable, SiteNotFound: a dial does not fit the network.
    """
    levels = _check(tasks, intensities, draws, first_draw)
    for dial in dials.values():
        dial.check(network)
    items = [(task.name, number, item) for task in tasks for number, item in enumerate(task.items)]
    tables = []
    numbers = range(first_draw, first_draw + draws)
    for part in [numbers] if crossed else [[draw] for draw in numbers]:
        chosen = items if crossed else _of_draw(items, part[0] - first_draw, draws)
        if chosen:
            cells = _cells(dials, levels, part, seed)
            tables.append(_measured(network, chosen, cells, store, executor, progress))
    return pd.concat(tables, ignore_index=True)


def _measured(
    network: Network,
    items: Sequence[tuple[str, int, Item]],
    cells: Sequence[Cell],
    store: str | Path | None,
    executor: ExecutorName,
    progress: bool | None,
) -> pd.DataFrame:
    asked = ask(network, [item for *_, item in items])
    found = sweep(
        network,
        asked.rows,
        cells,
        [asked.loss, asked.right],
        store=store,
        name="impairment",
        executor=executor,
        progress=progress,
    )
    described = pd.DataFrame(
        {
            "task": [task for task, *_ in items],
            "item": [number for _, number, _ in items],
            "group": [item.group or f"{task} {number}" for task, number, item in items],
            "answer_tokens": asked.n_answer_tokens,
        }
    )
    table = found.rename(columns={"greedy_match": "right"}).join(described, on="prompt")
    columns = ["dial", "intensity", "draw", "task", "item", "group", "answer_tokens", "loss", "right"]
    return table[columns]


def _cells(dials: Mapping[str, Dial], levels: Sequence[float], draws: Sequence[int], seed: int) -> list[Cell]:
    """Return the intact network's cell, and one per dial, intensity and draw."""
    cells = [Cell((), {"dial": "", "intensity": 0.0, "draw": draws[0]})]
    for name, dial in dials.items():
        for level in levels:
            for draw in draws if dial.mode != "magnitude" else draws[:1]:
                labels = {"dial": name, "intensity": level, "draw": draw}
                cells.append(Cell(dial.plan(level, seed=seed, draw=draw), labels))
    return cells


def _of_draw(items: Sequence[tuple[str, int, Item]], draw: int, draws: int) -> list[tuple[str, int, Item]]:
    """Return the items whose group is measured under a draw."""
    groups = {
        group: place for place, group in enumerate(dict.fromkeys(item.group or item.prompt for *_, item in items))
    }
    return [one for one in items if groups[one[2].group or one[2].prompt] % draws == draw]


def _check(tasks: Sequence[Task], intensities: Sequence[float], draws: int, first_draw: int) -> list[float]:
    """Return the intensities above 0."""
    names = [task.name for task in tasks]
    if not tasks or len(set(names)) < len(names):
        raise BadArgument(f"tasks {names}: give at least one, each with a name of its own.")
    if list(intensities) != sorted(set(intensities)) or any(not 0 <= one < float("inf") for one in intensities):
        raise BadArgument(f"intensities {list(intensities)}: ascending, from 0 on, each once.")
    if draws < 1 or first_draw < 0:
        raise BadArgument(f"draws={draws}, first_draw={first_draw}: at least 1 draw, numbered from 0 on.")
    return [float(one) for one in intensities if one > 0]
