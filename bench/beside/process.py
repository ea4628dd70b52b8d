"""One process: the ways of one library and the plain loop, in turns, on every question."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.beside.plain import by_hooks, donor_activations, load_plain
from bench.beside.question import Answer, Question, read_questions, write_answers
from rheostat.engine.turns import take_turns

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Way:
    """A way of answering a question."""

    n_cells: int
    """How many cells it runs."""
    run: Callable[[], Tensor]
    """Returns the logits (cell, d_vocab) of the first cells."""


Ways = Callable[[Question], Mapping[str, Way]]


def main(library: str, load: Callable[[str], Ways], arguments: Sequence[str] | None = None) -> int:
    """Read questions, answer them by every way of a library, write what was computed and how long it took."""
    parser = argparse.ArgumentParser(description=f"Answer questions with {library}; started by python -m bench.beside")
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("questions", type=Path)
    parser.add_argument("answers", type=Path, help="folder for the answers")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    ways, plain = load(asked.model), load_plain(asked.model)
    for number, question in enumerate(read_questions(asked.questions)):
        print(f"{library}: {question.name} …", file=sys.stderr, flush=True)
        write_answers(asked.answers, number, answer(question, ways(question), plain))
    (asked.answers / "versions.json").write_text(json.dumps(versions(library)), encoding="utf-8")
    return 0


@torch.no_grad()
def answer(question: Question, ways: Mapping[str, Way], plain: Any) -> dict[str, Answer]:
    """Let the ways and the plain loop take turns."""
    values = donor_activations(plain, question)
    singly = question.cells[: question.n_single]
    all_ways = {**ways, "plain": Way(len(singly), lambda: by_hooks(plain, question.prompt, values, singly))}
    results, times = take_turns({name: way.run for name, way in all_ways.items()}, turns=question.turns, device=CPU)
    return {name: Answer(way.n_cells, times[name], results[name]) for name, way in all_ways.items()}


def versions(library: str) -> dict[str, str]:
    """Return what computed."""
    return {"python": platform.python_version(), **{name: version(name) for name in (library, "torch", "transformers")}}
