"""Patching one activation per cell, in three ways: a sweep, one forward pass per cell, rows of full batches."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.prompt import prompt_of
from rheostat.engine.cells import Cell, patching_cells
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import sweep_chunks
from rheostat.engine.taps import attach
from rheostat.model import Model
from rheostat.sites.site import resolve_single, tap

ROW_TOKENS = 1024
"""Rows × tokens of one batch of full rows: about where a row is cheapest."""


@dataclass(frozen=True)
class Pair:
    """Two prompts of one length that differ in one token."""

    n_tokens: int
    differ_at: int
    texts: tuple[str, str] | None = None
    """Taken where the model's tokenizer makes such a pair of them."""


PAIRS = {
    "5 tokens, differ at 3": Pair(5, 3, ("The capital of France is", "The capital of Germany is")),
    "29 tokens, differ at 19": Pair(29, 19),
    "29 tokens, differ at 1": Pair(29, 1),
}


@dataclass(frozen=True)
class Grid:
    """The cells of one kind of site, and the two prompts."""

    kind: str
    prompt: Sequence[int]
    donor: Sequence[int]
    stride: int = 1
    """Cells in use: one in so many."""

    @property
    def site(self) -> str:
        """The pattern of what is patched."""
        return f"blocks.*.{self.kind}"

    def cells(self, activations: Any) -> list[Cell]:
        """Return the cells that patch these activations of the donor in: each head alone, or whole positions."""
        return patching_cells(activations, by_unit=self.kind == "heads")[:: self.stride]


def pair(model: Model, asked: Pair) -> tuple[list[int], list[int]]:
    """Return the token ids of two prompts; the second is patched into the first."""
    if asked.texts is not None and model.tokenizer is not None:
        prompt, donor = (list(model.row(text).ids) for text in asked.texts)
        differing = [at for at, (one, other) in enumerate(zip(prompt, donor, strict=False)) if one != other]
        if len(prompt) == len(donor) == asked.n_tokens and differing == [asked.differ_at]:
            return prompt, donor
    prompt = list(model.row(prompt_of(model, asked.n_tokens)).ids)
    donor = list(prompt)
    donor[asked.differ_at] = prompt[asked.differ_at - 1]
    return prompt, donor


def ours(model: Model, grid: Grid, sample: Sequence[int]) -> Tensor:
    """Run both prompts, make the cells and sweep them all; return the last logits of a sample of them."""
    shared, donor = share_runs(model, [grid.prompt, grid.donor], grid.site)
    cells = grid.cells(donor.activations(model, grid.site))
    place = {cell: row for row, cell in enumerate(sample)}
    found: list[Tensor | None] = [None] * len(sample)
    for chunk in sweep_chunks(model, grid.prompt, cells, shared=[shared]):
        for row, cell in enumerate(chunk.cells):
            if cell in place:
                found[place[cell]] = chunk.logits[row, 0].clone()
    return torch.stack([one for one in found if one is not None])


@torch.no_grad()
def one_by_one(model: Model, prompt: Sequence[int], cells: Sequence[Cell]) -> Tensor:
    """Hook one activation and run the whole prompt, cell by cell; return the last logits."""
    ids = torch.tensor([prompt], device=model.device)
    keep: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in model.parameters_of_forward else {}
    found = []
    for cell in cells:
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


def full_rows(model: Model, prompt: Sequence[int], cells: Sequence[Cell]) -> Tensor:
    """Run cells as rows of batches over the whole prompt; return the last logits."""
    size = max(1, ROW_TOKENS // len(prompt))
    parts = [cells[first : first + size] for first in range(0, len(cells), size)]
    logits = [model.run([prompt] * len(part), plans=[cell.plan for cell in part]).logits[:, -1] for part in parts]
    return torch.cat(logits)
