"""What other libraries print on purpose while they load a model: bars, notices of retries, a table of tensors."""

import io
import logging as python_logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr

_NOTICES = {
    "huggingface_hub.utils._http": re.compile("thrown while requesting|Retrying in"),
    "transformers.modeling_utils": re.compile("LOAD REPORT"),
}
"""Logger → what is dropped there: retries, and the table of missing and unused tensors (`check_complete` tells it)."""


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep bars and notices off stderr; other warnings come through."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    with ExitStack() as stack:
        for name, dropped in _NOTICES.items():
            logger, keep = python_logging.getLogger(name), _keep_others(dropped)
            logger.addFilter(keep)
            stack.callback(logger.removeFilter, keep)
        if bars:
            stack.callback(logging.enable_progress_bar)
        stack.enter_context(redirect_stderr(_WithoutBars()))
        yield


def _keep_others(dropped: re.Pattern[str]) -> Callable[[python_logging.LogRecord], bool]:
    return lambda record: dropped.search(record.getMessage()) is None


class _WithoutBars(io.TextIOBase):
    """Passes text on to stderr, except for bars: those begin by returning to the start of the line."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr
        self._in_bar = False

    def write(self, text: str) -> int:
        """Pass on what belongs to no bar."""
        closes_bar = self._in_bar and text == "\n"
        self._in_bar = text.startswith("\r") or (self._in_bar and text == "")
        if not (self._in_bar or closes_bar):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush stderr."""
        self._stream.flush()
