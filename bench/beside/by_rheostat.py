"""The grid by rheostat: one sweep over all cells, the donor's run and the making of the cells included."""

import sys
from collections.abc import Mapping

import torch
from torch import Tensor

from bench.beside.plain import load_plain
from bench.beside.process import Way, Ways, main
from bench.beside.question import Question
from rheostat.engine.cells import patching_cells
from rheostat.engine.prefix import share_runs
from rheostat.engine.sweep import sweep_logits
from rheostat.model import Model, load

SITE = "blocks.*.resid_pre"


def ways(folder: str) -> Ways:
    model = load(load_plain(folder))

    def of(question: Question) -> Mapping[str, Way]:
        return {"sweep": Way(len(question.cells), lambda: swept(model, question))}

    return of


def swept(model: Model, question: Question) -> Tensor:
    """Sweep the whole grid; return the logits of the first cells."""
    shared, donor = share_runs(model, [question.prompt, question.donor], SITE)
    cells = patching_cells(donor.activations(model, SITE))
    logits = sweep_logits(model, question.prompt, cells, shared=[shared])[:, 0, 0]
    index = {(str(cell.labels["site"]), cell.labels["position"]): number for number, cell in enumerate(cells)}
    first = question.cells[: max(question.n_single, question.n_rows)]
    return logits[torch.tensor([index[f"blocks.{block}.resid_pre", position] for block, position in first])]


if __name__ == "__main__":
    sys.exit(main("rheostat", ways))
