"""`own`: the tensor that an edit keeps, a copy that all edits share which are given the same."""

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_copies = WeakTensorKeyDictionary()
"""Given tensor → how often it had been written to, and its copy; gone with the given one."""
_kept = WeakTensorKeyDictionary()
"""The copies, which need none of their own."""


def own(value: Tensor) -> Tensor:
    """Return a copy of a tensor, so that an edit stays what it is when the caller writes to theirs.

    One that is being trained (`requires_grad`) is meant to be followed, and is returned itself. A sweep of thousands of
    units makes as many edits of one tensor, so that they have one copy together.
    """
    if value.requires_grad or value in _kept:
        return value
    if value.is_inference():
        return value.clone()  # does not count how often it was written to
    held: tuple[int | None, Tensor] = _copies.get(value, (None, value))
    version, copy = held
    if version != value._version:
        copy = value.clone()
        _copies[value] = (value._version, copy)
        _kept[copy] = True
    return copy
