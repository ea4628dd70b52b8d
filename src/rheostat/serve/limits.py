"""`Limiter`: how often and how much a key may ask: requests per minute, tokens per day, requests at the same time."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

from rheostat.serve.keys import Key, KeyBook
from rheostat.serve.refusals import OverLimit

MINUTE = 60.0


class Limiter:
    """Counts of one process; tokens are counted in the database of keys, and outlast it."""

    def __init__(self, book: KeyBook, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._book = book
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, deque[float]] = defaultdict(deque)
        """Per key, when the requests of the last minute came."""
        self._running: dict[str, int] = defaultdict(int)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return sum(self._running.values())

    def count(self, key: Key) -> None:
        """Count a request, whatever becomes of it.

        Raises:
            OverLimit: the key asked too often in the last minute; such a request is not counted.
        """
        now = self._clock()
        with self._lock:
            asked = self._asked[key.id]
            while asked and asked[0] <= now - MINUTE:
                asked.popleft()
            if len(asked) >= key.rate:
                wait = 1 + int(asked[0] + MINUTE - now)
                raise OverLimit(f"the key {key.id} may ask {key.rate} times a minute. Try again in {wait} s.", wait)
            asked.append(now)

    def admit(self, key: Key, n_tokens: int) -> "Slot":
        """Take on a request of at most `n_tokens`, until its slot is released.

        Raises:
            OverLimit: too many are running, or the tokens would exceed what the key has left of the day.
        """
        with self._lock:
            if self._running[key.id] >= key.concurrency:
                raise OverLimit(
                    f"the key {key.id} has {key.concurrency} requests running, as many as it may. Wait for one.", 1
                )
            day = self._book.reserve(key, n_tokens)
            if day is None:
                raise OverLimit(
                    f"{n_tokens} more tokens would exceed the {key.tokens_per_day} that the key {key.id} may use on "
                    "one day (UTC). Ask for fewer (max_tokens), or tomorrow.",
                    3600,
                )
            self._running[key.id] += 1
        return Slot(self, key, n_tokens, day)

    def release(self, key: Key, n_unused: int, day: str) -> None:
        """End a request, and give back the tokens that it did not use to the day from which they were taken."""
        with self._lock:
            self._running[key.id] -= 1
            if not self._running[key.id]:
                del self._running[key.id]
            self._book.give_back(key, n_unused, day)


class Slot:
    """One running request."""

    def __init__(self, limiter: Limiter, key: Key, n_tokens: int, day: str) -> None:
        self._limiter = limiter
        self._key = key
        self._n_tokens = n_tokens
        self._day = day
        self._open = True

    def release(self, n_used: int) -> None:
        """End the request; a second time does nothing."""
        if self._open:
            self._open = False
            self._limiter.release(self._key, max(0, self._n_tokens - n_used), self._day)
