"""Edits around a user's own calls of the module: `generate` with any option, a training loop, an evaluation harness."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rheostat.base.errors import BadArgument
from rheostat.edit.plan import PlanLike
from rheostat.engine.clock import Clock
from rheostat.engine.forward import bind
from rheostat.engine.receipt import Receipt
from rheostat.engine.taps import attach_clock
from rheostat.models.network import Network, refuse_compiled


class OpenReceipt:
    """The receipt of an `editing` block; complete once the block has ended."""

    def __init__(self) -> None:
        self._closed: Receipt | None = None

    def close(self, receipt: Receipt) -> None:
        """Fill in what happened."""
        self._closed = receipt

    @property
    def value(self) -> Receipt:
        """What the edits did.

        Raises:
            BadArgument: the block has not ended.
        """
        if self._closed is None:
            raise BadArgument("the receipt is complete only after the editing block has ended.")
        return self._closed

    def __str__(self) -> str:
        return "not complete yet" if self._closed is None else str(self._closed)


@contextmanager
def editing(
    network: Network,
    edits: PlanLike = None,
    *,
    plans: Sequence[PlanLike] | None = None,
    prompt_lengths: Sequence[int] | None = None,
) -> Iterator[OpenReceipt]:
    """Apply edits to every pass of the module inside the block; leaving it, also by an exception, removes every hook.

    Each pass that starts without a cache begins new prompts, whose lengths are read from its attention mask; the passes
    that follow with a cache are generated tokens. Mode, gradients and generation options are the caller's.

    Args:
        network: the loaded network.
        edits: one plan for every row.
        plans: one plan per prompt; a pass may hold several rows per prompt (beams), in the prompts' order.
        prompt_lengths: tokens per prompt, where a pass does not show them: chunked prefill, or generation with
            `use_cache=False`.

    Raises:
        SiteNotFound, EditNotUsable: before anything is registered on the module.
        EditNotApplied: at the end of the block, if an edit reached no token.
    """
    refuse_compiled(network.module, network.name)
    program = bind(network, None, edits, plans)
    receipt = OpenReceipt()
    with ExitStack() as stack:
        clock = Clock(prompt_lengths)
        attach_clock(stack, network.module, clock.read)
        program.attach(stack, clock)
        yield receipt
    receipt.close(program.receipt())
