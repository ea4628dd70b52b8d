"""Stand-in until the loop that shares a batch is there: one text at a time, in the order in which they came."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from rheostat.base.errors import QueueFull, RheostatError
from rheostat.engine.forward import run
from rheostat.models.network import Network
from rheostat.serve.job import Finish, Job, Written

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """What a batcher does now."""

    rows: int
    waiting: int


class Ticket:
    """A job under way."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        """Free its row."""
        self.cancelled.set()


@dataclass
class _Row:
    job: Job
    on_written: Callable[[Written], None]
    ticket: Ticket
    ids: list[int]


class Batcher:
    """One thread that steps every row in turn."""

    def __init__(self, network: Network, *, max_rows: int, max_waiting: int) -> None:
        self._network, self._max_rows, self._max_waiting = network, max_rows, max_waiting
        self._rows: list[_Row] = []
        self._waiting: deque[_Row] = deque()
        self._wake = threading.Condition()
        self._passing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def figures(self) -> Figures:
        """What it does now."""
        return Figures(len(self._rows), len(self._waiting))

    def submit(self, job: Job, on_written: Callable[[Written], None]) -> Ticket:
        """Take on a job."""
        with self._wake:
            if len(self._rows) + len(self._waiting) >= self._max_rows + self._max_waiting:
                raise QueueFull("full")
            row = _Row(job, on_written, Ticket(), list(job.ids))
            self._waiting.append(row)
            self._wake.notify()
        return row.ticket

    def call(self, work: Callable[[], T]) -> "Future[T]":
        """Do something else with the network while no step runs."""
        future: Future[T] = Future()
        with self._passing:
            try:
                future.set_result(work())
            except RheostatError as error:
                future.set_exception(error)
        return future

    def close(self, timeout: float) -> None:
        """End."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._closed or self._rows or self._waiting):
                    self._wake.wait()
                if self._closed:
                    return
                while self._waiting and len(self._rows) < self._max_rows:
                    self._rows.append(self._waiting.popleft())
            for row in list(self._rows):
                if not self._step(row):
                    self._rows.remove(row)

    def _step(self, row: _Row) -> bool:
        if row.ticket.cancelled.is_set():
            row.on_written(Written(None, finish="cancelled"))
            return False
        with self._passing:
            logits = run(self._network, [row.ids], edits=row.job.plan).logits[0, -1].float()
        token = int(logits.argmax())
        row.ids.append(token)
        module: Any = self._network.module
        stop = module.generation_config.eos_token_id
        n = len(row.ids) - len(row.job.ids)
        finish: Finish | None = "stop" if token == stop else "length" if n == row.job.max_new_tokens else None
        row.on_written(Written(token, float(logits.log_softmax(-1)[token]), finish=finish))
        return finish is None
