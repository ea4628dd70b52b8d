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


def lens_log_mass(model: Model, vectors: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-probability that the lens gives to each group of tokens, (n, group); NaN for an empty group."""
    out = torch.full((len(vectors), len(groups)), float("nan"))
    for rows, logits in lens_chunks(model, vectors):
        total = logits.logsumexp(-1)
        for column, tokens in enumerate(groups):
            if tokens:
                out[rows, column] = logits[:, list(tokens)].logsumexp(-1) - total
    return out


def lens_ranks(
    model: Model, vectors: Tensor, groups: Sequence[Sequence[int]], tokens: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the best rank of any token of each group, (n, group), and the probability of each token, (n, token)."""
    ranks = torch.full((len(vectors), len(groups)), float("nan"))
    probabilities = torch.empty(len(vectors), len(tokens))
    for rows, logits in lens_chunks(model, vectors):
        probabilities[rows] = (logits[:, list(tokens)] - logits.logsumexp(-1, keepdim=True)).exp()
        for column, group in enumerate(groups):
            if group:
                best = logits[:, list(group)].max(dim=-1, keepdim=True).values
                ranks[rows, column] = (logits > best).sum(-1).float() + 1
    return ranks, probabilities


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
