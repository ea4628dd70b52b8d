"""Patching every block × position: cells that branch off one shared run, against one forward pass per cell."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare
from bench.prompt import prompt_of
from bench.timing import Times, take_turns
from rheostat.capture.activations import Activations
from rheostat.engine.cells import Cell, patching_cells
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import explain_sweep, sweep_logits
from rheostat.engine.taps import attach
from rheostat.model import Model
from rheostat.sites.site import resolve_single, tap

TOLERANCE = 1e-5
"""Of the range of the logits."""
ROWS_TARGET = 3.0
ROW_TOKENS = 1024
"""Rows × tokens of one batch of full rows: about where a row is cheapest."""


@dataclass(frozen=True)
class Case:
    """Two prompts of one length, and what is patched from the second into the first."""

    n_tokens: int
    differ_at: int
    kind: str = "resid_pre"
    target: float | None = None
    """The least speed against the plain loop."""
    every: int = 1
    """The slow ways run one cell in so many, and their times are multiplied: all their cells cost the same."""


CASES = (
    Case(5, 3, target=30),
    Case(29, 19, target=35, every=31),
    Case(29, 1, target=6, every=31),
    Case(5, 3, "attn_out"),
    Case(5, 3, "mlp_out"),
    Case(5, 3, "heads", every=11),
    Case(29, 19, "attn_out", every=31),
    Case(29, 19, "mlp_out", every=31),
)
TURNS = 5


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare pair by pair; `quick` takes the shortest pair, once."""
    cases, turns = (CASES[:1], 1) if quick else (CASES, TURNS)
    return [outcome for case in cases for outcome in compare_case(model, case, turns=turns)]


def compare_case(model: Model, case: Case, *, turns: int) -> list[Outcome]:
    """Compare the sweep with the plain loop and with batches of full rows."""
    prompt, donor = pair(model, case)
    ways = {
        "ours": partial(ours, model, case, prompt, donor),
        "plain": partial(plain, model, case, prompt, donor),
        "rows": partial(full_rows, model, case, prompt, donor),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    clean = model.run(prompt).logits[0, -1]
    cells = patching_cells(capture(model, case, donor), by_unit=case.kind == "heads")
    size = float(clean.max() - clean.min())
    found, wanted = results["ours"][:: case.every], results["plain"]
    checks = (
        Check("logits, relative to their range", float((found - wanted).abs().max()) / size, TOLERANCE),
        Check("logits of rows", float((results["rows"] - wanted).abs().max()) / size, TOLERANCE),
        Check("no cell moved the logits", float((wanted - clean).abs().max() < 100 * TOLERANCE * size), 0),
    )
    mine = (f"both prompts, then a sweep of {len(cells)} cells", times["ours"])
    described = f"{case.n_tokens} tokens from {case.differ_at}, {case.kind}"

    def against(what: str, way: str, target: float | None, parts: dict[str, float]) -> Outcome:
        scaled = _scaled(times[way], len(found), len(cells))
        return compare(
            "sweep", f"{described}: {what}", ours=mine, plain=(what, scaled), checks=checks, target=target, parts=parts
        )

    return [
        against("one pass per cell", "plain", case.target, floor(model, case, cells, prompt)),
        against("full rows", "rows", ROWS_TARGET if case.kind == "resid_pre" else None, {}),
    ]


def pair(model: Model, case: Case) -> tuple[list[int], list[int]]:
    """Return two prompts that differ in one token."""
    text = prompt_of(model, case.n_tokens)
    prompt = list(model.row(text).ids)
    donor = list(prompt)
    donor[case.differ_at] = prompt[case.differ_at - 1]
    return prompt, donor


def capture(model: Model, case: Case, donor: Sequence[int]) -> Activations:
    """Read what is patched in."""
    return model.capture(donor, f"blocks.*.{case.kind}", positions="all")


def ours(model: Model, case: Case, prompt: Sequence[int], donor: Sequence[int]) -> Tensor:
    """Sweep; return the last logits per cell."""
    site = f"blocks.*.{case.kind}"
    shared, other = share_runs(model, [prompt, donor], site)
    cells = patching_cells(other.activations(model, site), by_unit=case.kind == "heads")
    return sweep_logits(model, prompt, cells, shared=[shared])[:, 0, 0]


@torch.no_grad()
def plain(model: Model, case: Case, prompt: Sequence[int], donor: Sequence[int]) -> Tensor:
    """Hook one activation and run the whole prompt, cell by cell."""
    cells = patching_cells(capture(model, case, donor), by_unit=case.kind == "heads")
    ids = torch.tensor([prompt], device=model.device)
    keep: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in model.parameters_of_forward else {}
    found = []
    for cell in cells[:: case.every]:
        (edit,) = cell.plan
        position, value = edit.where.value, edit.source

        def put(tensor: Tensor, position: int = position, value: Any = value, edit: Any = edit) -> Tensor:
            new = tensor.clone()
            if edit.units is None:
                new[0, position] = value
            else:
                new.view(1, tensor.shape[1], *value.shape)[0, position, list(edit.units)] = value[list(edit.units)]
            return new

        with ExitStack() as stack:
            attach(stack, model.module, tap(model, resolve_single(model, edit.site)), put)
            found.append(model.module(ids, attention_mask=torch.ones_like(ids), use_cache=False, **keep).logits[0, -1])
    return torch.stack(found)


def full_rows(model: Model, case: Case, prompt: Sequence[int], donor: Sequence[int]) -> Tensor:
    """Run cells as rows of batches over the whole prompt."""
    cells = patching_cells(capture(model, case, donor), by_unit=case.kind == "heads")[:: case.every]
    size = max(1, ROW_TOKENS // len(prompt))
    parts = [cells[first : first + size] for first in range(0, len(cells), size)]
    logits = [model.run([prompt] * len(part), plans=[cell.plan for cell in part]).logits[:, -1] for part in parts]
    return torch.cat(logits)


def floor(model: Model, case: Case, cells: Sequence[Cell], prompt: Sequence[int]) -> dict[str, float]:
    """Return the seconds that the block-token-rows of the cells which change anything take at the best batch size."""
    changing = [cell for cell in cells if int(str(cell.labels["position"])) >= case.differ_at]
    work = explain_sweep(model, prompt, changing).block_token_rows
    cost = min(_token_row_seconds(model, n_rows) for n_rows in (8, 16, 32)) / model.n_blocks
    return {f"floor: {work} block-token-rows at {cost * 1e6:.1f} µs": work * cost}


@torch.no_grad()
def _token_row_seconds(model: Model, n_rows: int, n_tokens: int = 28) -> float:
    """Return what one token of one row takes in all blocks together, at a batch size."""
    ids = torch.zeros(n_rows, n_tokens, dtype=torch.long, device=model.device)
    pass_ = partial(model.module.base_model, ids, use_cache=False)  # type: ignore[arg-type]
    _, times = take_turns({"blocks": pass_}, turns=3, device=model.device)
    return min(times["blocks"].wall) / (n_rows * n_tokens)


def _scaled(times: Times, n_run: int, n_cells: int) -> Times:
    factor = n_cells / n_run
    return Times(tuple(one * factor for one in times.wall), tuple(one * factor for one in times.cpu))
