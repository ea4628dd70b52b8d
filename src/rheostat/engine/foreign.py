"""Hooks that others put on a module: they change what it computes, and no value that can be stored says how."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rheostat.base.errors import BadArgument
from rheostat.models.network import Network

_OF_THE_MODEL = ("torch", "transformers", "accelerate")
"""Packages whose hooks are part of how a model runs: to divide its weights, to place them, to hand over its states."""


def refuse_foreign_hooks(network: Network) -> None:
    """Refuse to keep results of a network that someone's forward hooks change.

    Hooks that a part of the network puts on are its own.

    Raises:
        BadArgument: a module of it carries a forward hook that does not belong to the model.
    """
    parts = set(map(id, network.module.modules()))
    for path, part in network.module.named_modules():
        for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values()):
            of_a_part = id(getattr(_inner(hook), "__self__", None)) in parts
            if not of_a_part and _package(hook) not in _OF_THE_MODEL:
                raise BadArgument(
                    f"results of {network.name} cannot be kept in a store: its module {path!r} carries a forward hook "
                    f"({_name(hook)}), and what a hook does stands in no key. Take it off, or leave store out."
                )


def _package(hook: Callable[..., Any]) -> str:
    return str(getattr(_inner(hook), "__module__", None)).partition(".")[0]


def _name(hook: Callable[..., Any]) -> str:
    inner = _inner(hook)
    return str(getattr(inner, "__qualname__", type(inner).__qualname__))


def _inner(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a partial calls in the end."""
    while isinstance(hook, partial):
        hook = hook.func
    return hook
