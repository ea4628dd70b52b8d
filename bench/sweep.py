"""Patching every block × position: cells that branch off one shared run, against one forward pass per cell."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from torch import Tensor

from bench.floor import Unit, best_unit, least_work, unit_of
from bench.outcome import Check, Outcome, compare
from bench.patching import PAIRS, ROW_TOKENS, Grid, full_rows, one_by_one, ours, pair
from bench.timing import ratio, scaled
from bench.where import where_time_goes
from rheostat.engine.cells import Cell
from rheostat.engine.explain import explain_sweep
from rheostat.engine.turns import Times, take_turns
from rheostat.model import Model

TOLERANCE = 1e-5
"""Of the range of the logits."""
ROWS_TARGET = 3.0


@dataclass(frozen=True)
class Case:
    """A pair of prompts, and what is patched from the second into the first."""

    pair: str
    kind: str = "resid_pre"
    target: float | None = None
    """The least speed against the plain loop."""
    n_single: int | None = 30
    """The plain loop runs so many cells, chosen at random, and its time is multiplied; None: all."""
    stride: int = 1
    """The grid is thinned to one cell in so many, for all ways alike."""
    turns: int = 3


SHORT, LATE, EARLY = PAIRS
CASES = (
    Case(SHORT, target=30, n_single=None, turns=5),
    Case(LATE, target=35, turns=5),
    Case(EARLY, target=6),
    Case(SHORT, "attn_out"),
    Case(SHORT, "mlp_out"),
    Case(SHORT, "heads"),
)
LONG_CASES = (
    Case(LATE, "attn_out"),
    Case(LATE, "mlp_out"),
    Case(LATE, "heads", turns=2),
    Case(EARLY, "attn_out"),
    Case(EARLY, "mlp_out"),
    Case(EARLY, "heads", stride=10, turns=2),
)


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare pair by pair; `quick` takes the shortest pair, once."""
    return _run(model, CASES[:1] if quick else CASES, quick=quick)


def run_long(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare sublayers and heads on the longer prompts; `quick` the cheapest of these, once."""
    return _run(model, LONG_CASES[:1] if quick else LONG_CASES, quick=quick)


def _run(model: Model, cases: Sequence[Case], *, quick: bool) -> list[Outcome]:
    unit = best_unit(model)
    return [outcome for case in cases for outcome in compare_case(model, case, unit, turns=1 if quick else case.turns)]


def compare_case(model: Model, case: Case, unit: Unit, *, turns: int) -> list[Outcome]:
    """Compare the sweep with the plain loop, with batches of full rows, and with the least work."""
    prompt, donor = pair(model, PAIRS[case.pair])
    grid = Grid(case.kind, prompt, donor, case.stride)
    cells = grid.cells(model.capture(donor, grid.site, positions="all"))
    shuffled = random.Random(0).sample(range(len(cells)), len(cells))
    n_single = len(cells) if case.n_single is None else min(case.n_single, len(cells))
    n_rows = min(len(cells), max(n_single, ROW_TOKENS // len(prompt)))
    sample = shuffled[: max(n_single, n_rows)]
    chosen = [cells[index] for index in sample]
    ways = {
        "ours": partial(ours, model, grid, sample),
        "plain": partial(one_by_one, model, prompt, chosen[:n_single]),
        "rows": partial(full_rows, model, prompt, chosen[:n_rows]),
        "unit": unit.run,
        "token": unit_of(model, 1, 1).run,
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    checks = _checks(model, prompt, results["ours"], results["plain"], results["rows"])
    mine = (f"both prompts, then a sweep of {len(cells)} cells", times["ours"])
    described = f"{case.pair}, {case.kind}" + (f", every {case.stride}th cell" if case.stride > 1 else "")
    by_plain = (f"one pass per cell, {n_single} of {len(cells)} run", scaled(times["plain"], n_single, len(cells)))
    by_rows = (f"full rows, {n_rows} of {len(cells)} run", scaled(times["rows"], n_rows, len(cells)))
    figures = _beside_floor(model, cells, prompt, PAIRS[case.pair].differ_at, unit, times)
    parts = where_time_goes(ways["ours"], model.part(model.body.unembed))
    rows_target = ROWS_TARGET if case.kind == "resid_pre" else None
    return [
        compare(
            "sweep", f"{described}: one pass per cell", ours=mine, plain=by_plain, checks=checks, target=case.target,
            parts=parts, figures=figures,
        ),
        compare("sweep", f"{described}: full rows", ours=mine, plain=by_rows, checks=checks, target=rows_target),
    ]  # fmt: skip


def _checks(model: Model, prompt: Sequence[int], found: Tensor, wanted: Tensor, in_rows: Tensor) -> tuple[Check, ...]:
    clean = model.run(prompt).logits[0, -1]
    size = float(clean.max() - clean.min())
    n_moved = int(((found - clean).abs().amax(-1) > 100 * TOLERANCE * size).sum())
    return (
        Check("logits, relative to their range", float((found[: len(wanted)] - wanted).abs().max()) / size, TOLERANCE),
        Check("logits of rows", float((found[: len(in_rows)] - in_rows).abs().max()) / size, TOLERANCE),
        Check(f"no cell of {len(found)} moved the logits", float(n_moved == 0), 0),
    )


def _beside_floor(
    model: Model, cells: Sequence[Cell], prompt: Sequence[int], differ_at: int, unit: Unit, times: Mapping[str, Times]
) -> Mapping[str, float]:
    """Return the work, the cost of one block-token-row, and ours over the time of the least work, turn by turn."""
    least = least_work(model, len(prompt), cells, differ_at)
    changing = [cell for cell in cells if int(str(cell.labels["position"])) >= differ_at]
    planned = explain_sweep(model, prompt, changing)
    costs = [seconds / unit.block_token_rows(model.n_blocks) for seconds in times["unit"].wall]
    over = ratio(times["ours"].wall, [least * cost for cost in costs])
    return {
        "cells": len(cells),
        "cells that change something": len(changing),
        "block-token-rows at least": least,
        "block-token-rows planned": planned.block_token_rows + model.n_blocks * len(prompt),  # the donor, whole
        "passes": planned.passes,
        "µs per block-token-row": median(costs) * 1e6,
        "rows of the cheapest batch": unit.n_rows,
        "tokens of the cheapest batch": unit.n_tokens,
        "floor, s": median(costs) * least,
        "ours over the floor": over.median,
        "ours over the floor, low": over.low,
        "ours over the floor, high": over.high,
        "a pass of one token, s": median(times["token"].wall),
    }
