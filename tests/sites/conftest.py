"""Rows with character offsets, and what a plain torch hook sees at a module's border."""

from collections.abc import Callable

import pytest
import torch

import rheostat as rh
from rheostat.models.tokens import Row

Peek = Callable[[rh.Model, list[int], str], torch.Tensor]


@pytest.fixture
def capitals() -> Row:
    """Eight tokens, the first of them special; ` Berlin` is two tokens, and `is` stands three times."""
    pieces = ["Paris", " is", " not", " Ber", "lin", " is", " it"]
    offsets, end = [(0, 0)], 0
    for piece in pieces:
        offsets.append((end, end + len(piece)))
        end += len(piece)
    return Row(ids=tuple(range(8)), text="".join(pieces), offsets=tuple(offsets))


@pytest.fixture
def peek() -> Peek:
    """Return (model, ids, `path` or `path:in`) → the tensor there in a plain forward pass, without rheostat."""

    def look(model: rh.Model, ids: list[int], where: str) -> torch.Tensor:
        path, _, side = where.partition(":")
        part, seen = model.module.get_submodule(path), []
        if side:
            handle = part.register_forward_pre_hook(
                lambda _, args, named: seen.append(args[0] if args else named["hidden_states"]), with_kwargs=True
            )
        else:
            handle = part.register_forward_hook(
                lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else getattr(out, "logits", out))
            )
        with handle, torch.no_grad():
            model.module(input_ids=torch.tensor([ids]))
        return seen[0].clone()

    return look
