"""`ask_items`: how items are answered, by the network as it is and under plans at the end of their prompts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from rheostat.engine.cells import Cell
from rheostat.models.network import Network
from rheostat.sweeps.sweep import sweep
from rheostat.tasks.item import Item, ask

COLUMNS = ("item", "group", "answer_tokens", "loss", "exact", "first")
Cells = Callable[[int], Sequence[Cell]]
"""From the position of the prompt's last token, a negative number, to cells with equal labels for every position."""


def intact(end: int) -> list[Cell]:
    """Return one cell, the network as it is."""
    return [Cell((), {})]


def ask_items(
    network: Network,
    items: Sequence[Item],
    cells: Cells = intact,
    *,
    store: str | Path | None = None,
    name: str = "answers",
    progress: bool | None = None,
) -> pd.DataFrame:
    """Measure how every item is answered in every cell.

    Args:
        network: a language model.
        items: with answers of one or several tokens.
        cells: what is done to the network, given where the prompt ends.
        store: a file that keeps what is computed (see `sweep`).
        name: of the run in the store and of the bar.
        progress: show a bar on stderr; None: only where stderr is a terminal.

    Returns:
        A row per item and cell: the cell's labels, item (its number), group, answer_tokens, loss (mean over the
        answer's tokens, nats), exact (1 where greedy decoding would have written all of them) and first (its first).

    Raises:
        SiteNotFound, EditNotUsable: a cell does not fit the network.
        BadArgument: an answer holds no token.
    """
    asked = ask(network, items)
    tables = []
    for n in sorted(set(asked.n_answer_tokens)):
        places = [place for place, own in enumerate(asked.n_answer_tokens) if own == n]
        chosen = ask(network, [items[place] for place in places])
        metrics = [chosen.loss, chosen.right, chosen.begun]
        table = sweep(network, chosen.rows, cells(-n - 1), metrics, store=store, name=name, progress=progress)
        tables.append(table.assign(item=table["prompt"].map(dict(enumerate(places))), answer_tokens=n))
    found = pd.concat(tables, ignore_index=True).rename(columns={"greedy_match": "exact", "first_match": "first"})
    found["group"] = found["item"].map(dict(enumerate(item.group or str(place) for place, item in enumerate(items))))
    labels = [column for column in found.columns if column not in (*COLUMNS, "cell", "prompt")]
    return found.sort_values(["item", "cell"], ignore_index=True)[[*labels, *COLUMNS]]
