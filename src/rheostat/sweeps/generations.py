"""`sweep_generations`: what the model writes under every plan, after every prompt, as one table.

Rows of any plan and prompt share batches of `generate`; what a row writes depends on none of its neighbours. A store
keeps a text as its token ids, which are numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from rheostat.base.errors import BadArgument, EditNotApplied, RheostatError
from rheostat.edit.plan import Plan, PlanLike
from rheostat.engine.batch import as_prompts
from rheostat.engine.binding import check_count
from rheostat.engine.cells import Cell, as_cells, bind_cells
from rheostat.engine.generate import generate
from rheostat.models.network import Network
from rheostat.models.tokens import Prompt, Row
from rheostat.store.fill import fill
from rheostat.store.key import digest
from rheostat.store.store import Store, Wanted
from rheostat.sweeps.keys import Keys

OWN_COLUMNS = ("cell", "prompt", "draw", "applied", "text", "ids")
MAX_TOKEN_ROWS = 2048

OfText: TypeAlias = Callable[[str], float]
"""From a new text to a number."""

Place: TypeAlias = tuple[int, int, int]
"""Numbers of a prompt, a cell and a draw."""


def sweep_generations(
    network: Network,
    prompts: "Prompt | Sequence[Prompt]",
    cells: "Sequence[Cell | PlanLike]",
    metrics: Mapping[str, OfText] | None = None,
    *,
    draws: int = 1,
    max_new_tokens: int = 20,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    max_token_rows: int = MAX_TOKEN_ROWS,
    store: str | Path | None = None,
    name: str = "generations",
) -> pd.DataFrame:
    """Continue every prompt under every cell, each as if alone.

    A draw's noise is keyed by (seed, the prompt's tokens, draw, step): the cells of one prompt share their luck, so
    that what differs between two texts is what the plans did; prompts and draws do not share it.

    Args:
        network: the loaded network.
        prompts: one or several texts or lists of token ids.
        cells: cells, or bare plans; a cell's labels become columns.
        metrics: functions of the new text by the name of their column.
        draws: samples of each prompt under each cell; 1 unless there is a temperature.
        max_new_tokens: tokens to write at most.
        temperature: None for greedy decoding; otherwise sampling.
        top_k: sample among the k likeliest tokens.
        top_p: sample among the likeliest tokens that together reach this probability.
        seed: of the sampling noise.
        max_token_rows: rows × tokens (prompt and new ones) of one batch; memory grows with it.
        store: a file that keeps the tokens of each finished batch; a sweep that was killed goes on where it stopped.
        name: of the run in the store.

    Returns:
        One row per prompt, cell and draw: columns cell, prompt, draw (their numbers), the labels, applied (false where
        the text ended before an edit of generated tokens could reach one), text, ids (a tuple), then the metrics.

    Raises:
        SiteNotFound, PositionNotFound, EditNotUsable, EditNotApplied, PromptTooLong: before anything is written; the
            message names the cell.
        BadArgument: a setting lies outside its range, or a label or metric has the name of another column; or it cannot
            be kept: a label is NaN or infinite, or a forward hook that is not the model's own is on the network.
        NeedsTokenizer: there are metrics, but the model has no tokenizer, so there is no text.
        FileNotUsable: the store cannot be read or written.
    """
    listed, asked, functions = as_cells(cells), as_prompts(prompts, network), dict(metrics or {})
    _check_names(listed, functions)
    if draws < 1 or (draws > 1 and temperature is None):
        raise BadArgument(f"draws={draws}: 1, or more with a temperature; greedy decoding always writes the same.")
    if max_token_rows < 1:
        raise BadArgument(f"max_token_rows={max_token_rows}: at least 1.")
    if functions:
        _ = network.tokens  # refuses a model that has no texts to measure
    decoding = _Decoding(max_new_tokens, temperature, top_k, top_p, seed)
    writing = _Writing(network, [network.row(prompt) for prompt in asked], listed, decoding, max_token_rows)
    writing.check()
    places = list(product(range(len(asked)), range(len(listed)), range(draws)))
    written = writing.ids(places) if store is None else _kept(writing, places, Path(store), name)
    rows: list[dict[str, object]] = []
    for (prompt, cell, draw), ids in zip(places, written, strict=True):
        text = network.decode(ids) if network.tokenizer is not None else ""
        found = {"applied": writing.applied(cell, ids), "text": text, "ids": ids}
        measured = {column: float(function(text)) for column, function in functions.items()}
        rows.append({"cell": cell, "prompt": prompt, "draw": draw, **listed[cell].labels, **found, **measured})
    return pd.DataFrame(rows)


def row_id(prompt: Sequence[int], draw: int) -> int:
    """Return the number that keys the noise of a draw: `generate(…, row_ids=[row_id(ids, draw)])` writes the same text.

    Args:
        prompt: its token ids.
        draw: which sample of it.
    """
    return int(digest(["draw", [int(token) for token in prompt], draw])[:15], 16)


@dataclass(frozen=True)
class _Decoding:
    """How tokens are chosen; see `generate`."""

    max_new_tokens: int
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int


@dataclass(frozen=True)
class _Writing:
    """What a sweep writes, resolved."""

    network: Network
    rows: Sequence[Row]
    cells: Sequence[Cell]
    decoding: _Decoding
    max_token_rows: int

    def check(self) -> None:
        """Refuse what cannot be done, in whichever cell, before anything is written."""
        for row in self.rows:
            self.network.check_length(len(row), generated=self.decoding.max_new_tokens)
        for cell in bind_cells(self.network, self.cells):
            try:
                for bound, row in product(cell.edits, self.rows):
                    check_count(bound.edit, bound.site, row, bound.value, generating=self.decoding.max_new_tokens > 1)
                    if bound.edit.where.kind == "generated" and self.decoding.max_new_tokens == 1:
                        raise EditNotApplied(f"{bound.edit} reaches no token: a single new token is never read.")
            except RheostatError as error:
                raise type(error)(f"cell {cell.index}: {error}") from error

    def applied(self, cell: int, ids: Sequence[int]) -> bool:
        """Tell whether each edit reached a token: the last new one is never read, so a text of one has no other."""
        return len(ids) > 1 or not any(edit.where.kind == "generated" for edit in self.cells[cell].plan)

    def ids(self, places: Sequence[Place]) -> list[tuple[int, ...]]:
        """Return the new tokens of places; rows of about the same length share batches."""
        order = sorted(range(len(places)), key=lambda number: len(self.rows[places[number][0]]))
        found: dict[int, tuple[int, ...]] = {}
        for batch in self._batches(order, places):
            found.update(zip(batch, self._together([places[number] for number in batch]), strict=True))
        return [found[number] for number in range(len(places))]

    def rows_at_once(self, n_tokens: int) -> int:
        """Return how many rows of a prompt length a batch may hold."""
        return max(1, self.max_token_rows // (n_tokens + self.decoding.max_new_tokens))

    def _batches(self, order: Sequence[int], places: Sequence[Place]) -> list[list[int]]:
        batches: list[list[int]] = []
        for number in order:  # ascending, so the row that comes is the longest of its batch
            n_tokens = len(self.rows[places[number][0]])
            if not batches or len(batches[-1]) >= self.rows_at_once(n_tokens):
                batches.append([])
            batches[-1].append(number)
        return batches

    def _together(self, places: Sequence[Place]) -> list[tuple[int, ...]]:
        """Write one batch. Where an edit of generated tokens met none, each row is written by itself."""
        try:
            return self._write(places, [self.cells[cell].plan for _, cell, _ in places])
        except EditNotApplied:
            return [self._alone(place) for place in places]

    def _alone(self, place: Place) -> tuple[int, ...]:
        plan = self.cells[place[1]].plan
        try:
            return self._write([place], [plan])[0]
        except EditNotApplied:  # the text ended at once; `applied` says so
            return self._write([place], [Plan(tuple(edit for edit in plan if edit.where.kind != "generated"))])[0]

    def _write(self, places: Sequence[Place], plans: Sequence[Plan]) -> list[tuple[int, ...]]:
        rows = [self.rows[prompt] for prompt, _, _ in places]
        prompts: list[Prompt] = [row.ids if row.text is None else row.text for row in rows]
        ids = [row_id(row.ids, draw) for row, (_, _, draw) in zip(rows, places, strict=True)]
        how = self.decoding
        written = generate(
            self.network,
            prompts,
            plans=plans,
            max_new_tokens=how.max_new_tokens,
            temperature=how.temperature,
            top_k=how.top_k,
            top_p=how.top_p,
            seed=how.seed,
            row_ids=ids,
        )
        return list(written.ids)


def _kept(writing: _Writing, places: Sequence[Place], path: Path, name: str) -> list[tuple[int, ...]]:
    """Return the new tokens of all places from a store, after writing what it lacks."""
    wanted = _wanted(writing, places)
    order = sorted(range(len(places)), key=lambda number: len(writing.rows[places[number][0]]))
    n_together = writing.rows_at_once(max(map(len, writing.rows)))
    with Store(path) as store:
        prompts = [row.text or list(row.ids) for row in writing.rows]
        store.begin(name, {"model": writing.network.name, "prompts": prompts}, wanted)
        fill(
            store,
            [wanted[number] for number in order],
            lambda chosen: [list(map(float, ids)) for ids in writing.ids([places[order[one]] for one in chosen])],
            chunk_size=n_together,
        )
        found = store.results(one.key for one in wanted)
    return [tuple(int(number) for number in found[one.key]) for one in wanted]


def _wanted(writing: _Writing, places: Sequence[Place]) -> list[Wanted]:
    """Return the key and the labels of every place."""
    stop = getattr(getattr(writing.network.module, "generation_config", None), "eos_token_id", None)
    keys = Keys(writing.network, writing.cells, {**asdict(writing.decoding), "stop": str(stop)})
    return [
        keys.wanted(cell, writing.rows[prompt], "generation", {"prompt": prompt, "draw": draw}, draw=draw)
        for prompt, cell, draw in places
    ]


def _check_names(cells: Sequence[Cell], functions: Mapping[str, OfText]) -> None:
    labels = {label for cell in cells for label in cell.labels}
    if taken := sorted((labels & {*functions, *OWN_COLUMNS}) | (set(functions) & set(OWN_COLUMNS))):
        raise BadArgument(f"the name {taken[0]!r} belongs to another column; choose another for the label or metric.")
