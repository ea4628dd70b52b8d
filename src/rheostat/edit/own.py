"""`own`: the tensor that an edit keeps, a copy that edits share which are given the same."""

import weakref

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_copies = WeakTensorKeyDictionary()
"""Given tensor → its copy, as long as an edit holds that."""
_kept = WeakTensorKeyDictionary()
"""The copies, which need none of their own."""


def own(value: Tensor) -> Tensor:
    """Return a copy of a tensor, so that an edit stays what it is when the caller writes to theirs.

    One that is being trained (`requires_grad`) is meant to be followed, and is returned itself. A sweep of thousands of
    units makes as many edits of one tensor, so that they have one copy together, as long as both hold the same numbers.
    """
    if value.requires_grad or value.is_meta or value in _kept:
        return value
    held = _copies.get(value)
    copy: Tensor | None = None if held is None else held()
    if copy is None or not torch.equal(copy, value):
        copy = value.clone()
        _copies[value] = weakref.ref(copy)
        _kept[copy] = True
    return copy
