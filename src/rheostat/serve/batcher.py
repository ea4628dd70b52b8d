"""`Batcher`: one thread that writes the texts of many jobs at once; jobs join and leave between its steps."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, Closing, QueueFull
from rheostat.engine.continuous import Lane, RunningBatch
from rheostat.engine.generate import sampler_of, stop_ids_of
from rheostat.models.network import Network
from rheostat.models.tokens import Row
from rheostat.serve.job import Job, Written
from rheostat.serve.writing import Writing

Result = TypeVar("Result")


@dataclass(frozen=True)
class Figures:
    """What a batcher does now, and has done since it began."""

    rows: int
    """Jobs that are being written."""
    waiting: int
    """Jobs that wait for a place."""
    tokens: int
    """Tokens written."""
    steps: int
    """Passes that wrote one token per row; reading prompts is not among them."""
    jobs: int
    """Jobs that ended, however they did."""
    failed: int
    """Those among them that failed."""


class Ticket:
    """A job that was taken."""

    def __init__(self, writing: Writing, wake: Callable[[], None]) -> None:
        self._writing = writing
        self._wake = wake

    def cancel(self) -> None:
        """End the job; its place is free at the next step. One that has ended stays as it is."""
        self._writing.cancelled = True
        self._wake()


class Batcher:
    """Writes many jobs at once on a thread of its own, the only one that runs the network.

    Args:
        network: a causal language model of a family that rheostat knows.
        max_rows: jobs that are written at once.
        max_waiting: jobs that wait for a place; one more is refused.
        max_prompt_tokens: how many tokens, pads included, are read in one pass when jobs join; a longer prompt is read
            alone. While prompts are read, nobody writes.

    Raises:
        BadArgument: a number below 1, or a network that cannot generate.
        CompiledModel: the network's hooks would never be called.
    """

    def __init__(
        self, network: Network, *, max_rows: int = 32, max_waiting: int = 128, max_prompt_tokens: int = 2048
    ) -> None:
        for name, value in (
            ("max_rows", max_rows),
            ("max_waiting", max_waiting),
            ("max_prompt_tokens", max_prompt_tokens),
        ):
            if value < 1:
                raise BadArgument(f"{name}={value}: at least 1.")
        self._network = network
        self._stop_ids = stop_ids_of(network)
        self._batch = RunningBatch(network, max_rows=max_rows)
        self._max_rows, self._max_waiting, self._max_prompt_tokens = max_rows, max_waiting, max_prompt_tokens
        self._changed = threading.Condition()
        self._waiting: deque[Writing] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._running: list[Writing] = []
        """In the order of the batch's lanes."""
        self._newest: list[int] = []
        """Per row, the token that it wrote last."""
        self._closing = self._stopping = False
        self._tokens = self._steps = self._jobs = self._failed = 0
        self._thread = threading.Thread(target=self._work, name="rheostat-batcher", daemon=True)
        self._thread.start()

    def submit(self, job: Job, on_written: Callable[[Written], None]) -> Ticket:
        """Take a job; the plan is bound by the batcher's thread, so its mistakes come as `failed`.

        Args:
            job: what to write.
            on_written: called on the batcher's thread for each token, and must return at once. If it raises, the job is
                cancelled.

        Raises:
            QueueFull, Closing
            BadArgument, EmptyPrompt, PromptTooLong: the job itself is wrong.
        """
        row = self._row(job)
        samplers = sampler_of(job.temperature, None, job.top_p, job.seed, (job.row_id,), 1)
        stop_ids = frozenset(self._stop_ids if job.stop_ids is None else job.stop_ids)
        writing = Writing(job, row, samplers[0] if samplers else None, stop_ids, on_written)
        with self._changed:
            self._refuse_when_closing()
            if len(self._waiting) >= self._max_waiting:
                raise QueueFull(f"{len(self._waiting)} requests wait already, and no more may. Try again later.")
            self._waiting.append(writing)
            self._changed.notify_all()
        return Ticket(writing, self._notify)

    def call(self, work: Callable[[], Result]) -> "Future[Result]":
        """Run something else on the batcher's thread, between two steps: a lens, a capture.

        Raises:
            Closing
        """
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            result, error = _attempt(work)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # where there is no error, there is a result

        with self._changed:
            self._refuse_when_closing()
            self._calls.append(run)
            self._changed.notify_all()
        return future

    @property
    def figures(self) -> Figures:
        """What it does now, and has done."""
        with self._changed:
            rows, waiting = len(self._running), len(self._waiting)
            return Figures(rows, waiting, self._tokens, self._steps, self._jobs, self._failed)

    def close(self, timeout: float | None = None) -> bool:
        """Take no new jobs, let those that were taken end, and end the thread.

        Args:
            timeout: seconds after which jobs that have not ended are cancelled; None: however long they take.

        Returns:
            Whether all ended by themselves.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        in_time = not self._thread.is_alive()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        return in_time

    def _row(self, job: Job) -> Row:
        if job.max_new_tokens < 1:
            raise BadArgument(f"max_new_tokens={job.max_new_tokens}: at least 1.")
        if job.n_logprobs is not None and not 0 <= job.n_logprobs <= self._network.d_vocab:
            raise BadArgument(f"n_logprobs={job.n_logprobs}: 0 to {self._network.d_vocab}, or None.")
        row = self._network.row(list(job.ids) if job.text is None else job.text)
        if row.ids != tuple(job.ids):
            raise BadArgument("the job's text has other tokens than its ids.")
        if outside := [token for token in row.ids if not 0 <= token < self._network.d_vocab]:
            raise BadArgument(f"token ids {outside[:3]} lie outside the vocabulary of {self._network.d_vocab} tokens.")
        self._network.check_length(len(row), generated=job.max_new_tokens, shared=True)
        return row

    def _refuse_when_closing(self) -> None:
        if self._closing:
            raise Closing("the server is ending and takes no new requests.")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- on the batcher's thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._wait():
                if self._calls:  # one between two steps: however many come, texts are written
                    self._calls.popleft()()
                self._drop_cancelled()
                self._admit()
                if self._running:
                    self._step()
        finally:
            self._batch.close()

    def _wait(self) -> bool:
        """Wait until there is something to do; False once everything has ended and nothing more will come."""
        with self._changed:
            while True:
                if self._stopping:
                    for writing in (*self._waiting, *self._running):
                        writing.cancelled = True
                if self._running or self._waiting or self._calls:
                    return True
                if self._closing:
                    return False
                self._changed.wait()

    def _drop_cancelled(self) -> None:
        with self._changed:
            gone = [writing for writing in self._waiting if writing.cancelled]
            for writing in gone:
                self._waiting.remove(writing)
        for writing in gone:
            self._tell_end(writing, Written(None, finish="cancelled"))
        for row in reversed(range(len(self._running))):
            if self._running[row].cancelled:
                self._end(row, Written(None, finish="cancelled"))

    def _admit(self) -> None:
        """Let waiting jobs join: as many as have a place and are read in one pass."""
        joining = self._next_to_join()
        if joining and not self._join(joining) and len(joining) > 1:  # one of them is to blame: each for itself
            for writing in joining:
                self._join([writing])

    def _next_to_join(self) -> list[Writing]:
        joining: list[Writing] = []
        longest = 0
        with self._changed:
            while self._waiting and len(self._running) + len(joining) < self._max_rows:
                longest = max(longest, len(self._waiting[0].row))
                if joining and longest * (len(joining) + 1) > self._max_prompt_tokens:
                    break
                joining.append(self._waiting.popleft())
        return joining

    def _join(self, joining: Sequence[Writing]) -> bool:
        """Read prompts and write their first tokens; False where the pass failed and several may be to blame."""
        writings, lanes = [], []
        for writing in joining:
            lane, error = _attempt(partial(self._bind, writing))
            if lane is None:
                self._tell_end(writing, Written(None, finish="failed", error=error))
            else:
                writings.append(writing)
                lanes.append(lane)
        if not lanes:
            return True
        logits, error = _attempt(partial(self._batch.join, lanes))
        if logits is None:
            if len(joining) == 1:
                self._tell_end(joining[0], Written(None, finish="failed", error=error))
            return False
        first = len(self._running)
        with self._changed:
            self._running.extend(writings)
        self._newest.extend([0] * len(writings))
        self._write(first, logits)
        return True

    def _bind(self, writing: Writing) -> Lane:
        job = writing.job
        return Lane(self._network, writing.row, job.plan, max_new_tokens=job.max_new_tokens)

    def _step(self) -> None:
        logits, error = _attempt(partial(self._batch.step, self._newest))
        if logits is None:
            for row in reversed(range(len(self._running))):
                self._end(row, Written(None, finish="failed", error=error))
            self._batch.close()
            return
        self._steps += 1
        self._write(0, logits)

    def _write(self, first: int, logits: Float[Tensor, "row d_vocab"]) -> None:
        """Choose and tell the next token of each row from `first` on."""
        likeliest = logits.argmax(-1).tolist()
        for row in reversed(range(first, first + len(likeliest))):  # the last one takes the place of one that leaves
            writing, error = self._running[row], self._batch.lanes[row].error
            written = None
            if error is None:
                written, error = _attempt(partial(writing.choose, logits[row - first], likeliest[row - first]))
            if written is None:
                self._end(row, Written(None, finish="failed", error=error))
                continue
            self._tokens += 1
            if written.finish is not None:
                self._end(row, written)
            else:
                assert written.id is not None
                self._newest[row] = written.id
                self._tell(writing, written)

    def _end(self, row: int, last: Written) -> None:
        """Let a row go, and tell its end with the receipt; an edit that reached no token makes it a failure."""
        writing, lane = self._running[row], self._batch.lanes[row]
        self._batch.leave(row)
        if last.finish in ("stop", "length"):
            receipt, error = _attempt(lane.receipt)
            last = replace(last, receipt=receipt) if error is None else replace(last, finish="failed", error=error)
        with self._changed:
            _take_out(self._running, row)
            _take_out(self._newest, row)
        self._tell_end(writing, last)

    def _tell_end(self, writing: Writing, last: Written) -> None:
        self._jobs += 1
        self._failed += last.finish == "failed"
        self._tell(writing, last)

    def _tell(self, writing: Writing, written: Written) -> None:
        _, error = _attempt(partial(writing.on_written, written))
        if error is not None:  # nobody listens
            writing.cancelled = True


def _take_out(values: list[Any], row: int) -> None:
    """Take one value out; the last one gets its place, as in the batch."""
    last = values.pop()
    if row < len(values):
        values[row] = last


def _attempt(work: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    """Return what `work` returns, or what it raised."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001  # whatever a job brings ends that job alone
        return None, error
