"""Cells: every block at its four decode points. Reading many of them at once, and running many plans at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rheostat.edit.plan import PlanLike
from rheostat.lenses.reading import POINTS
from rheostat.model import Model

ROWS = 96
"""Rows of one batch: enough for full matrix products, few enough to stay in the cache."""
LENS_BYTES = 64_000_000
"""Logits held at a time by the lens."""


@dataclass(frozen=True)
class Cell:
    """One decode point of one block."""

    block: int
    point: str

    @property
    def site(self) -> str:
        """The site's name."""
        return f"blocks.{self.block}.{self.point}"


def all_cells(model: Model, points: Sequence[str] = POINTS) -> list[Cell]:
    """Return the cells in the order in which the model computes them."""
    return [Cell(block, point) for block in range(model.n_blocks) for point in points]


def capture_cells(
    model: Model, prompts: Sequence[str], cells: Sequence[Cell], *, plans: Sequence[PlanLike] | None = None
) -> Tensor:
    """Return the last-token activations, (cell, prompt, d_model), under one plan per prompt when `plans` is given."""
    parts = []
    for rows in _chunks(len(prompts), ROWS):
        output = model.run(
            list(prompts[rows]),
            plans=None if plans is None else list(plans[rows]),
            capture=[cell.site for cell in cells],
            capture_at="last",
        )
        assert output.activations is not None
        parts.append(torch.stack([output.activations[cell.site][:, 0] for cell in cells]))
    return torch.cat(parts, dim=1)


def output_log_probabilities(
    model: Model,
    prompts: Sequence[str],
    *,
    plans: Sequence[PlanLike] | None = None,
    tokens: Sequence[int] | None = None,
) -> Tensor:
    """Return the log-probabilities of the next token, (prompt, d_vocab), or of `tokens` alone, one plan per prompt."""
    parts = []
    for rows in _chunks(len(prompts), ROWS):
        output = model.run(list(prompts[rows]), plans=None if plans is None else list(plans[rows]), logits_at="last")
        logs = output.logits[:, 0].float().log_softmax(-1)
        parts.append(logs if tokens is None else logs[:, list(tokens)])
    return torch.cat(parts)


def lens_chunks(model: Model, vectors: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Decode vectors (n, d_model) by the logit lens, a chunk at a time: (which of the n, their logits)."""
    size = max(1, LENS_BYTES // (4 * model.d_vocab))
    with torch.no_grad():
        for rows in _chunks(len(vectors), size):
            yield rows, model.unembed(vectors[rows]).float()


def lens_log_mass(model: Model, vectors: Tensor, groups: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Return the log-probability that the lens gives to groups of tokens, (n, group).

    Args:
        model: whose lens.
        vectors: (n, d_model).
        groups: per vector, the groups of tokens; all vectors have equally many.
    """
    out = torch.empty(len(vectors), len(groups[0]))
    for rows, logits in lens_chunks(model, vectors):
        normaliser = logits.logsumexp(-1)
        for row, scores, total in zip(range(rows.start, rows.stop), logits, normaliser, strict=True):
            for column, tokens in enumerate(groups[row]):
                out[row, column] = scores[list(tokens)].logsumexp(0) - total if tokens else float("nan")
    return out


def lens_best_ranks(model: Model, vectors: Tensor, groups: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Return the best rank (1 = top) that the lens gives to any token of a group, (n, group); NaN for an empty one."""
    out = torch.full((len(vectors), len(groups[0])), float("nan"))
    for rows, logits in lens_chunks(model, vectors):
        for row, scores in zip(range(rows.start, rows.stop), logits, strict=True):
            for column, tokens in enumerate(groups[row]):
                if tokens:
                    out[row, column] = (scores > scores[list(tokens)].max()).sum() + 1
    return out


def lens_top(model: Model, vectors: Tensor, k: int) -> Tensor:
    """Return the k likeliest tokens, (n, k)."""
    return torch.cat([logits.topk(k, dim=-1).indices for _, logits in lens_chunks(model, vectors)])


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
