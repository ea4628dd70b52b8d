"""What other libraries print on purpose while they load a model: bars, notices of retries, a table of tensors."""

import io
import logging as python_logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

_NOTICES = ("huggingface_hub.utils._http", "transformers.modeling_utils")
"""Loggers of retries, and of the table of missing and unused tensors, which `check_complete` tells in one line."""


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep bars and notices off stderr; other warnings come through."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    loggers = [python_logging.getLogger(name) for name in _NOTICES]
    levels = [logger.level for logger in loggers]
    logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(python_logging.ERROR)
    try:
        with redirect_stderr(_WithoutBars()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            logging.enable_progress_bar()


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
