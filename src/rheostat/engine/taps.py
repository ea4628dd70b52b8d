"""Read and write the tensor at a tap. Every hook of rheostat is registered here, and removed by a stack."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from rheostat.base.errors import EditNotUsable, SiteNotOffered
from rheostat.engine.mask import causal
from rheostat.models.anatomy import Tap

Visit = Callable[[Tensor], Tensor | None]
"""Sees the tensor at a tap; returns a new one to put in its place, or None to leave it."""

VisitMask = Callable[[Tensor], Tensor | None]
"""Sees the mask (row or 1, head or 1, query, key) of an attention module; returns one to put in its place, or None."""


def in_order(taps: Iterable[Tap]) -> tuple[Tap, ...]:
    """Return taps in the order in which edits are registered: those that are `shared` first.

    What the skip path reads is changed in place before the module's own input is replaced: the replacement never
    reaches that path.
    """
    return tuple(sorted(taps, key=lambda one: one.side != "shared"))


def attach(stack: ExitStack, module: nn.Module, tap: Tap, visit: Visit) -> None:
    """Call `visit` at each pass through a tap, until the stack closes.

    At a `shared` tap `visit` must change the tensor in place and return None.
    """
    part = module.get_submodule(tap.module)
    if tap.side == "out":
        handle = part.register_forward_hook(lambda _module, _args, output: _visit_output(output, visit))
    elif tap.side == "weights":
        handle = part.register_forward_hook(lambda _module, _args, output: _visit_weights(tap, output, visit))
    else:
        handle = part.register_forward_pre_hook(
            lambda _module, args, kwargs: _visit_input(args, kwargs, visit), with_kwargs=True
        )
    stack.callback(handle.remove)


def attach_border(stack: ExitStack, module: nn.Module, path: str, cross: Callable[[Tensor], Tensor]) -> None:
    """Let `cross` change the rows that enter a block or norm, until the stack closes.

    The arguments beside them are those of one row and broadcast; ALiBi biases do not, and are repeated.
    """

    def visit(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        rows = cross(args[0] if args else kwargs["hidden_states"])
        if isinstance(alibi := kwargs.get("alibi"), Tensor):
            kwargs = {**kwargs, "alibi": alibi.repeat(rows.shape[0], *(1,) * (alibi.dim() - 1))}
        return ((rows, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": rows})

    stack.callback(module.get_submodule(path).register_forward_pre_hook(visit, with_kwargs=True).remove)


def attach_mask(stack: ExitStack, module: nn.Module, path: str, visit: VisitMask) -> None:
    """Let `visit` change the attention mask that an attention module gets, until the stack closes."""
    part = module.get_submodule(path)

    def open_mask(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if "attention_mask" not in kwargs:
            raise EditNotUsable(f"{path} is given no attention mask by name, so its edges cannot be cut.")
        mask, states = kwargs["attention_mask"], args[0] if args else kwargs["hidden_states"]
        if mask is None:
            mask = causal(states.shape[1], _n_keys(part, kwargs, states.shape[1]), states.device)
        new = visit(mask)
        return None if new is None else (args, {**kwargs, "attention_mask": new})

    stack.callback(part.register_forward_pre_hook(open_mask, with_kwargs=True).remove)


def _n_keys(attention: Any, kwargs: Mapping[str, Any], n_queries: int) -> int:
    """Return how many keys a pass of an attention module has, those of its cache included."""
    cache = kwargs.get("past_key_values", kwargs.get("layer_past"))
    return n_queries if cache is None else int(cache.get_mask_sizes(n_queries, attention.layer_idx)[0])


def attach_clock(
    stack: ExitStack, module: nn.Module, read: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
) -> None:
    """Call `read` with the module's arguments before each of its passes, until the stack closes."""
    stack.callback(module.register_forward_pre_hook(read, with_kwargs=True).remove)


def count_hooks(module: nn.Module) -> int:
    """Return how many hooks are on a module and everything inside it; tests compare it before and after."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def _visit_input(
    args: tuple[Any, ...], kwargs: dict[str, Any], visit: Visit
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if args and isinstance(args[0], Tensor):
        new = visit(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    new = visit(kwargs["hidden_states"])
    return None if new is None else (args, {**kwargs, "hidden_states": new})


def _visit_output(output: Any, visit: Visit) -> Any:
    if isinstance(output, Tensor):
        return visit(output)
    if hasattr(output, "logits"):
        new = visit(output.logits)
        if new is not None:
            output.logits = new
        return output if new is not None else None
    new = visit(output[0])
    return None if new is None else (new, *output[1:])


def _visit_weights(tap: Tap, output: Any, visit: Visit) -> None:
    weights = output[1] if isinstance(output, tuple) and len(output) > 1 else None
    if weights is None:
        raise SiteNotOffered(
            f"{tap.module} returned no attention weights. Load with attention='eager' to read 'pattern'; "
            "it cannot be read under sdpa or flash attention."
        )
    visit(weights)
