"""`Connection`: HTTP as uvicorn speaks it, but a connection on which no request arrives is closed.

uvicorn waits for the head of a request as long as it takes, and every connection counts against the limit: whoever
opened enough of them and said nothing would keep all others out, without a key.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """One connection; the head of each request must arrive in time, however it trickles in."""

    seconds: ClassVar[float]
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Wait no longer, where a request is there now; more of the same head does not begin the time anew."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _look(self) -> None:
        if not self._is_waiting():
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self._leave)

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None

    def _leave(self) -> None:
        self._late = None
        if self._is_waiting() and not self.transport.is_closing():
            self.transport.close()


def connection(seconds: float) -> type[Connection]:
    """Return the protocol of a server that waits at most this long for the head of a request."""

    class Bounded(Connection):
        pass

    Bounded.seconds = seconds
    return Bounded
