"""A progress bar on stderr, for work that takes longer than a moment."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

PATIENCE = 1.0
"""Seconds before a bar appears."""


@contextmanager
def progress(label: str, total: int, *, show: bool | None = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how much more is done.

    Args:
        label: what is counted.
        total: how much there is to do.
        show: None: only where stderr is a terminal. When asked for elsewhere, the finished bar is printed once.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), transient=sys.stderr.isatty())
    task, began = bar.add_task(label, total=total), monotonic()

    def advance(more: int) -> None:
        bar.advance(task, more)
        if not bar.live.is_started and monotonic() - began > PATIENCE:
            bar.start()

    try:
        yield advance
    finally:
        bar.stop()
