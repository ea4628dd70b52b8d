"""Perplexity over block × coefficient of an activation addition: one sweep, against one hooked pass per cell."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.outcome import Check, Outcome, compare, relative_error
from bench.prompt import prompt_of
from rheostat.directions.activation_addition import PromptVector, prompt_vectors
from rheostat.engine.cells import Cell
from rheostat.engine.turns import Times, take_turns
from rheostat.metrics.loss import Loss
from rheostat.model import Model

LENGTHS = (12, 16, 24)
"""Tokens of the texts."""
COEFFICIENTS = (-1.0, 0.5, 1.0, 2.0)
N_SINGLE = 24
"""The plain loop runs so many cells, chosen at random, and its time is multiplied."""
TURNS = 5
TARGET = 4.0
TOLERANCE = 1e-4
"""Of the largest loss."""


def run(model: Model, *, quick: bool) -> list[Outcome]:
    """Compare text by text; `quick` takes the shorter one, once."""
    return [_compare(model, length, turns=1 if quick else TURNS) for length in (LENGTHS[:1] if quick else LENGTHS)]


def ours(model: Model, prompt: Sequence[int], vectors: Sequence[PromptVector], order: Sequence[int]) -> Tensor:
    """Return the loss of every cell, those in `order` first."""
    cells = [
        Cell(vector.add(c), {"block": block, "c": c}) for block, vector in enumerate(vectors) for c in COEFFICIENTS
    ]
    metric = Loss(tokens=slice(len(vectors[0]) + 1, None))
    table = model.sweep([list(prompt)], [cells[number] for number in order], metric, progress=False)
    return torch.tensor(table["loss"].to_numpy())


def plain(model: Model, prompt: Sequence[int], vectors: Sequence[PromptVector], order: Sequence[int]) -> Tensor:
    """Return the loss of some cells: for each a pass with a hook on one block, and all logits."""
    module, ids = model.module, torch.tensor([list(prompt)], device=model.device)
    covered, found = len(vectors[0]), []
    for number in order:
        block, which = divmod(number, len(COEFFICIENTS))
        added = COEFFICIENTS[which] * vectors[block].vector

        def add(_module: Any, args: tuple[Any, ...], added: Tensor = added) -> tuple[Any, ...]:
            states = args[0].clone()
            states[0, : len(added)] += added
            return (states, *args[1:])

        handle = model.part(f"{model.body.blocks}.{block}").register_forward_pre_hook(add)
        with torch.no_grad():
            logits = module(input_ids=ids, use_cache=False).logits[0, covered:-1].float()
        handle.remove()
        logs = logits.log_softmax(-1)
        found.append(-logs.gather(-1, ids[0, covered + 1 :, None]).mean().double().cpu())
    return torch.stack(found)


def _compare(model: Model, length: int, *, turns: int) -> Outcome:
    prompt = list(model.row(prompt_of(model, length)).ids)
    begin, space, word = prompt[0], prompt[1], prompt[-1]
    vectors = list(prompt_vectors(model, [begin, word], [begin, space], padding=space).values())
    n_cells = len(vectors) * len(COEFFICIENTS)
    order = random.Random(0).sample(range(n_cells), n_cells)
    some = order[:N_SINGLE]
    ways = {
        "ours": partial(ours, model, prompt, vectors, order),
        "plain": partial(plain, model, prompt, vectors, some),
    }
    results, times = take_turns(ways, turns=turns, device=model.device)
    clean = model.sweep([list(prompt)], [None], Loss(tokens=slice(len(vectors[0]) + 1, None)), progress=False)["loss"]
    moved = int(((results["ours"] - float(clean.iloc[0])).abs() > 100 * TOLERANCE).sum())
    checks = (
        Check("losses, relative", relative_error(results["ours"][: len(some)], results["plain"]), TOLERANCE),
        Check(f"no cell of {n_cells} moved the loss", float(moved == 0), 0),
    )
    factor = n_cells / len(some)
    wall, cpu = (tuple(one * factor for one in each) for each in (times["plain"].wall, times["plain"].cpu))
    return compare(
        "actadd",
        f"{len(vectors)} blocks × {len(COEFFICIENTS)} coefficients, {length} tokens",
        ours=(f"model.sweep over {n_cells} cells, loss of all scored tokens", times["ours"]),
        plain=(f"one hooked pass per cell, {len(some)} of {n_cells} run", Times(wall, cpu)),
        checks=checks,
        target=TARGET,
    )
