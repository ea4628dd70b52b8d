"""The grid by nnsight: one trace per cell, one invoke per cell in batched traces, and rows of one batch by hand."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from nnsight import TransformersModel, save
from torch import Tensor

from bench.beside.plain import donor_activations
from bench.beside.process import Way, Ways, main
from bench.beside.question import Question


def ways(folder: str) -> Ways:
    # Offline, the task cannot be asked of the hub.
    model = TransformersModel(folder, task="text-generation", dispatch=True, dtype=torch.float32)

    def of(question: Question) -> Mapping[str, Way]:
        values = donor_activations(model._module, question)
        return {
            "a trace per cell": Way(question.n_single, lambda: one_by_one(model, values, question)),
            "batched invokes": Way(question.n_rows, lambda: in_batches(invokes, model, values, question)),
            "rows in a trace": Way(question.n_rows, lambda: in_batches(rows, model, values, question)),
        }

    return of


def one_by_one(model: Any, values: list[Tensor], question: Question) -> Tensor:
    """Trace cell by cell."""
    ids = torch.tensor([question.prompt])
    found = []
    for block, position in question.cells[: question.n_single]:
        with model.trace(ids):
            model.model.layers[block].input[:, position] = values[block][position]
            logits = model.output.logits[0, -1].save()
        found.append(logits)
    return torch.stack(found)


def in_batches(way: Any, model: Any, values: list[Tensor], question: Question) -> Tensor:
    """Run batches of cells."""
    cells = question.cells[: question.n_rows]
    parts = [cells[first : first + question.batch] for first in range(0, len(cells), question.batch)]
    return torch.cat([way(model, values, question.prompt, part) for part in parts])


def invokes(model: Any, values: list[Tensor], prompt: list[int], cells: list[tuple[int, int]]) -> Tensor:
    """Give each cell an invoke of one batched forward pass."""
    ids = torch.tensor([prompt])
    with model.trace(use_cache=False, logits_to_keep=1) as tracer:
        found = save([])
        for block, position in cells:
            with tracer.invoke(ids):
                model.model.layers[block].input[:, position] = values[block][position]
                found.append(model.output.logits[0, -1])
    return torch.stack(found)


def rows(model: Any, values: list[Tensor], prompt: list[int], cells: list[tuple[int, int]]) -> Tensor:
    """Patch another cell in each row of one batch."""
    ids = torch.tensor([prompt]).repeat(len(cells), 1)
    order = sorted(range(len(cells)), key=lambda row: cells[row][0])
    with model.trace(ids, use_cache=False, logits_to_keep=1):
        for row in order:
            block, position = cells[row]
            model.model.layers[block].input[row, position] = values[block][position]
        logits = model.output.logits[:, -1].save()
    return logits  # noqa: RET504  # the body above is nnsight's to run: nothing returns from within


if __name__ == "__main__":
    sys.exit(main("nnsight", ways))
