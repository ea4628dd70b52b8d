"""What every process is asked, and what it answers; plain files, because the processes share no packages but torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from rheostat.engine.turns import Times


@dataclass(frozen=True)
class Question:
    """Patch `resid_pre` of one prompt from another, block by position; return the last logits per cell."""

    name: str
    prompt: list[int]
    donor: list[int]
    cells: list[tuple[int, int]]
    """(block, position) of the whole grid, shuffled: who runs fewer cells runs the first ones."""
    n_single: int
    """How many cells those ways run that take one forward pass for each."""
    n_rows: int
    """How many cells those ways run that take rows of a batch."""
    batch: int
    """Rows of one batch."""
    turns: int


@dataclass(frozen=True)
class Answer:
    """What one way computed, and the times of its turns."""

    n_cells: int
    """How many cells were run, and timed."""
    times: Times
    logits: Tensor
    """(cell, d_vocab) of the first cells."""


def write_questions(path: Path, questions: Sequence[Question]) -> None:
    path.write_text(json.dumps([asdict(question) for question in questions]), encoding="utf-8")


def read_questions(path: Path) -> list[Question]:
    read = json.loads(path.read_text(encoding="utf-8"))
    return [Question(**{**one, "cells": [tuple(cell) for cell in one["cells"]]}) for one in read]


def write_answers(folder: Path, number: int, answers: Mapping[str, Answer]) -> None:
    """Write the answers, way → answer, to question `number`."""
    save_file({name: one.logits.contiguous() for name, one in answers.items()}, folder / f"{number}.safetensors")
    times = {name: {"n_cells": one.n_cells, **asdict(one.times)} for name, one in answers.items()}
    (folder / f"{number}.json").write_text(json.dumps(times), encoding="utf-8")


def read_answers(folder: Path, number: int) -> dict[str, Answer]:
    """Return way → answer to question `number`."""
    logits = load_file(folder / f"{number}.safetensors")
    times = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
    return {
        name: Answer(one["n_cells"], Times(tuple(one["wall"]), tuple(one["cpu"])), logits[name])
        for name, one in times.items()
    }
