"""Attention masks with edges cut out of them: the one place where a network lets attention be changed beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rheostat.edit.knockout import CutAttention


@dataclass(frozen=True)
class Cut:
    """Edges that one edit takes out."""

    edit: CutAttention
    edges: Tensor
    """(row, query, key), boolean."""


def causal(n_queries: int, n_keys: int, device: torch.device) -> Tensor:
    """Return the mask (1, 1, query, key) that stands for none: each query sees the keys up to its own."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool, device=device).tril(n_keys - n_queries)[None, None]


def visible(mask: Tensor) -> Tensor:
    """Return which keys a mask (row or 1, head or 1, query, key) leaves visible; biases such as ALiBi's do."""
    return mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2


def cut_out(mask: Tensor, cuts: Sequence[Cut], n_heads: int, dtype: torch.dtype) -> Tensor:
    """Return a mask (row, head or 1, query, key) in which edges are cut, boolean if it was and all are cut wholly."""
    for cut in cuts:
        where = cut.edges[:, None]
        if cut.edit.units is not None:
            heads = torch.zeros(n_heads, dtype=torch.bool, device=mask.device)
            heads[list(cut.edit.units)] = True
            where = where & heads[:, None, None]
        if mask.dtype == torch.bool and cut.edit.strength == 1:
            mask = mask & ~where
        elif cut.edit.strength != 0:
            mask = torch.where(where, cut.edit.change(additive(mask, dtype), None), additive(mask, dtype))
    return mask


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as what is added to attention logits."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def first_blind(mask: Tensor, cuts: Sequence[Cut]) -> tuple[int, int] | None:
    """Return row and query column of the first token that cuts have left without a visible key, or None."""
    queries = torch.stack([cut.edges.any(-1) for cut in cuts]).any(0)
    blind = queries & ~visible(mask).any(-1).all(1)
    found = blind.nonzero()
    return (int(found[0, 0]), int(found[0, 1])) if len(found) else None
