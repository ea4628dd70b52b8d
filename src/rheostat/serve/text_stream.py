"""`TextStream`: tokens to text piece by piece, held back where a character or a stop text may be half there."""

from collections.abc import Sequence

from rheostat.models.tokens import Tokens


class TextStream:
    """The text of one answer."""

    def __init__(self, tokens: Tokens, stops: Sequence[str] = ()) -> None:
        self._tokens = tokens
        self._stops = tuple(stops)
        self._ids: list[int] = []
        self._start = self._read = 0
        """Tokens before `read` have been decoded; those from `start` on are decoded again as what comes before."""
        self._held = ""
        self.stopped = False
        """Whether a stop text came; what follows it is dropped."""

    def add(self, token: int) -> str:
        """Take a token, and return the text that is certain now."""
        self._ids.append(token)
        before = self._tokens.decode(self._ids[self._start : self._read])
        now = self._tokens.decode(self._ids[self._start :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return self._certain(now[len(before) :])

    def end(self) -> str:
        """Return what was held back, after the last token."""
        before = self._tokens.decode(self._ids[self._start : self._read])
        rest = self._tokens.decode(self._ids[self._start :])[len(before) :]
        certain = self._certain(rest)
        held, self._held = self._held, ""
        return certain + held

    def _certain(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        n_held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text could begin the stop text."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
