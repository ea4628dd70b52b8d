"""`OnRay`: a sweep on the workers of a Ray cluster.

Each worker loads the model once, and computes one piece at a time; a piece whose worker dies goes to another.
What is sent is data: the question and the pieces as JSON, the numbers as bytes. Ray itself pickles its own messages.
"""

import json
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument, RheostatError, WorkerDiffers, WorkerLost
from rheostat.sweeps.cluster import check_ray, connected
from rheostat.sweeps.executor import Executor
from rheostat.sweeps.message import question_to_bytes, what_decides
from rheostat.sweeps.pieces import PIECE, Piece
from rheostat.sweeps.question import Advance, Question
from rheostat.sweeps.worker import Worker

_log = logging.getLogger("rheostat")

ATTEMPTS = 3
"""How often one piece, or the loading of the model, may lose its worker."""
PIECES_A_WORKER = 4
"""So many pieces each worker gets, so that a slow one does not keep the others waiting."""
SMALLEST = 16
"""Places of a piece, at least: each piece runs its prompt's unedited pass again."""
PATIENCE = 60.0
"""Seconds after which one is told that no worker is ready."""


class OnRay(Executor):
    """Workers of a Ray cluster; see `make_executor`.

    Args:
        question: what is asked.
        address: of a running cluster; None: the one that this process is connected to, or a local one.
        n_workers: None: one per GPU where the model is on a GPU, else one per CPU.

    Raises:
        BadArgument: the question cannot be sent as data, or `n_workers` is not positive.
        MissingExtra: Ray is not installed.
    """

    def __init__(self, question: Question, *, address: str | None, n_workers: int | None) -> None:
        if n_workers is not None and n_workers < 1:
            raise BadArgument(f"n_workers={n_workers}: at least 1.")
        self._question, self._address, self._n_workers = question, address, n_workers
        self._needs = "GPU" if question.network.device.type == "cuda" else "CPU"
        self._message = question_to_bytes(question)
        self._stack = ExitStack()
        check_ray()

    def __enter__(self) -> "OnRay":
        with ExitStack() as stack:
            ray = stack.enter_context(connected(self._address, n_workers=self._n_workers))
            found = int(ray.cluster_resources().get(self._needs, 0))
            if not found:
                raise BadArgument(f"the cluster has no {self._needs}, and the model is on one. Load it elsewhere.")
            self._ray, self._n = ray, self._n_workers or found
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def piece_size(self, n_places: int) -> int:
        """Return a size at which every worker gets several pieces."""
        return min(PIECE, max(SMALLEST, -(-n_places // (PIECES_A_WORKER * self._n))))

    def run(self, pieces: Iterable[Piece], advance: Advance) -> Iterator[tuple[Piece, Float[Tensor, "place metric"]]]:
        """Yield the pieces as they are done.

        Raises:
            WorkerDiffers: a worker would compute other numbers.
            WorkerLost: workers died again and again.
            RheostatError: what a worker refused.
        """
        pool = _Pool(self._ray, self._question, self._message, needs=self._needs)
        try:
            pool.start(self._n)
            for piece, values in pool.work(iter(pieces)):
                advance(len(piece))
                yield piece, values
        finally:
            pool.stop()


class _Pool:
    """Workers, what each is at, and the pieces that came back from dead ones. A worker has one piece at a time."""

    def __init__(self, ray: Any, question: Question, message: bytes, *, needs: str) -> None:
        self._ray, self._decides = ray, what_decides(question)
        self._sent = ray.put(message)
        self._actor = ray.remote(num_cpus=1, num_gpus=1 if needs == "GPU" else 0)(Worker)
        self._workers: list[Any] = []
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Piece | None]] = {}
        """By the answer that is awaited: the worker, and its piece; None while it loads the model."""
        self._given_back: deque[Piece] = deque()
        self._deaths: Counter[Piece | None] = Counter()

    def start(self, n: int) -> None:
        """Start workers, which load the model."""
        for _ in range(n):
            worker = self._actor.remote()
            self._workers.append(worker)
            self._busy[worker.open.remote(self._sent)] = worker, None

    def stop(self) -> None:
        """End every worker, whatever it is at."""
        for worker in self._workers:
            self._ray.kill(worker)

    def work(self, pieces: Iterator[Piece]) -> Iterator[tuple[Piece, Tensor]]:
        """Yield every piece with its values. On Ctrl-C, what is done by then still comes."""
        told = False
        while self._busy:
            try:
                ready, _ = self._ray.wait(list(self._busy), timeout=PATIENCE)
            except KeyboardInterrupt:
                ready, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=0)
                yield from self._take(ready)
                raise
            if not ready and not told and all(piece is None for _, piece in self._busy.values()):
                told = True
                _log.warning("no worker is ready yet: the model is still loading, or the cluster has no room for them.")
            yield from self._take(ready)
            self._hand_out(pieces)
            if self._idle and all(piece is None for _, piece in self._busy.values()):
                return  # nothing is left to do; who is still loading is not needed

    def _take(self, answers: Iterable[Any]) -> Iterator[tuple[Piece, Tensor]]:
        for answer in answers:
            worker, piece = self._busy.pop(answer)
            try:
                data = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                cause = error.cause
                raise (type(cause)(f"on a worker: {cause}") if isinstance(cause, RheostatError) else cause) from error
            except self._ray.exceptions.RayError as error:
                self._replace(worker, piece, error)
                continue
            self._idle.append(worker)
            if piece is None:
                self._check(json.loads(data))
            else:
                yield piece, torch.from_numpy(np.frombuffer(data, "<f8").reshape(len(piece), -1).astype(np.float64))

    def _hand_out(self, pieces: Iterator[Piece]) -> None:
        """Give every idle worker a piece, those first that came back."""
        while self._idle:
            piece = self._given_back.popleft() if self._given_back else next(pieces, None)
            if piece is None:
                return
            worker = self._idle.pop()
            self._busy[worker.values.remote(json.dumps(piece).encode())] = worker, piece

    def _replace(self, worker: Any, piece: Piece | None, error: Exception) -> None:
        """Take a piece back from a dead worker, and start another in its place.

        Raises:
            WorkerLost: it was not the first to die there.
        """
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        self._deaths[piece] += 1
        what = "the loading of the model" if piece is None else _named(piece)
        if self._deaths[piece] >= ATTEMPTS:
            raise WorkerLost(f"{what} lost its worker {ATTEMPTS} times. The last time: {reason}")
        _log.warning("a worker died; another one takes over %s. Ray: %s", what, reason)
        self._ray.kill(worker)
        self._workers.remove(worker)
        if piece is not None:
            self._given_back.append(piece)
        self.start(1)

    def _check(self, theirs: dict[str, str]) -> None:
        """Refuse a worker that would compute other numbers.

        Raises:
            WorkerDiffers: naming what differs.
        """
        for name, mine in self._decides.items():
            if theirs.get(name) != mine:
                raise WorkerDiffers(
                    f"a worker has another {name} than this process ({_short(theirs.get(name))}, here {_short(mine)}). "
                    "Every machine needs the same model files and packages; save a model that was changed after it was "
                    "loaded, and load it again."
                )


def _named(piece: Piece) -> str:
    """Return which cells a piece holds, in one line."""
    prompts = sorted({prompt for prompt, _ in piece})
    cells = sorted({cell for _, cell in piece})
    listed = ", ".join(map(str, cells[:8])) + (f", … {cells[-1]}" if len(cells) > 8 else "")
    return f"the piece with cells {listed} of prompt{'s' * (len(prompts) > 1)} {', '.join(map(str, prompts[:8]))}"


def _short(text: str | None) -> str:
    return "nothing" if text is None else text if len(text) <= 20 else f"{text[:12]}…"
