"""Answers of several processes side by side: whether they agree, and how fast each is beside the plain loop."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from bench.beside.question import Answer, Question
from bench.timing import Ratio, ratio
from rheostat.engine.turns import Times

TOLERANCE = 1e-5
"""Of the range of the logits."""


def compare(question: Question, answers: Mapping[str, Mapping[str, Answer]]) -> list[dict[str, Any]]:
    """Return one line per library and way, the plain loops included.

    Args:
        question: what was asked.
        answers: library → way → answer; rheostat's is what the others are held against.
    """
    reference = answers["rheostat"]["sweep"]
    ours = _beside_plain(question, answers["rheostat"], "sweep")
    lines = []
    for library, ways in answers.items():
        for way, found in ways.items():
            beside_plain = _beside_plain(question, ways, way)
            error = _error(found.logits, reference.logits)
            lines.append(
                {
                    "question": question.name,
                    "library": library,
                    "way": way,
                    "n_run": found.n_cells,
                    "n_cells": len(question.cells),
                    "seconds": sorted(_scaled(question, found).wall)[len(found.times.wall) // 2],
                    "over_plain": asdict(beside_plain),
                    "ours_is_faster": beside_plain.median / ours.median,
                    "error": error,
                    "same": error <= TOLERANCE,
                }
            )
    return lines


def moved(logits: Tensor) -> bool:
    """Tell whether cells differ by far more than the tolerance: else agreement would say nothing."""
    return float((logits - logits[0]).abs().max()) > 100 * TOLERANCE * _range(logits)


def _beside_plain(question: Question, ways: Mapping[str, Answer], way: str) -> Ratio:
    """Return the time of a way over that of the plain loop in the same process, both for the whole grid."""
    return ratio(_scaled(question, ways[way]).wall, _scaled(question, ways["plain"]).wall)


def _scaled(question: Question, found: Answer) -> Times:
    factor = len(question.cells) / found.n_cells
    return Times(tuple(one * factor for one in found.times.wall), tuple(one * factor for one in found.times.cpu))


def _error(found: Tensor, reference: Tensor) -> float:
    n = min(len(found), len(reference))
    return float((found[:n] - reference[:n]).abs().max()) / _range(reference)


def _range(logits: Tensor) -> float:
    return float(logits.max() - logits.min())
