"""`Exchange`: one request from its admission to its receipt. Whatever ends it, its rows and its slot are freed.

It is recorded before it is computed (`asked`) and before its end is sent (`answered`).
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from starlette.concurrency import run_in_threadpool

from rheostat.base.errors import Closing, FileNotUsable, InternalError, QueueFull, RheostatError
from rheostat.engine.receipt import Receipt
from rheostat.serve.batcher import Ticket
from rheostat.serve.job import Written
from rheostat.serve.keys import Key
from rheostat.serve.limits import Slot
from rheostat.serve.question import Question, check_still
from rheostat.serve.refusals import Busy, Ending, NotRecorded, TookTooLong
from rheostat.serve.service import Service
from rheostat.serve.text_stream import TextStream

_log = logging.getLogger("rheostat")
LOOK = 0.25
"""Seconds after which a silent exchange looks whether its key was revoked or its client has left."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Piece:
    """What one token, or the end, adds to one text."""

    index: int
    """Of the text: prompt · choices + choice."""
    text: str
    token: int | None = None
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    finish: Finish | None = None


class ClientLeft(Exception):
    """Nobody is there any more who could be answered."""


class Exchange:
    """One request that is answered; to be closed whatever happens.

    Raises:
        OverLimit, Busy, NotRecorded: it is not taken on, and nothing of it is left.
    """

    def __init__(self, service: Service, key: Key, question: Question, *, digest: str) -> None:
        self._service, self._key, self.question = service, key, question
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[tuple[int, Written]] = asyncio.Queue()
        self._tickets: list[Ticket] = []
        self._ids: list[list[int]] = [[] for _ in question.jobs]
        self._receipts: list[dict[str, Any] | None] = [None for _ in question.jobs]
        self._finishes: list[str] = ["" for _ in question.jobs]
        self._deadline = time.monotonic() + service.settings.limits.seconds
        self._digest = digest
        self._closed = False
        self._slot: Slot = service.limiter.admit(key, question.n_tokens)

    async def start(self) -> None:
        """Record what is asked, and hand it to the thread that computes.

        Raises:
            Busy, NotRecorded
        """
        question = self.question
        try:
            await self.record(
                "asked",
                request=self._digest,
                endpoint=question.endpoint,
                impairment=question.impairment,
                floor=self._key.floor,
                draw=question.draw,
                edits=len(question.changes.plan),
                directions=list(question.changes.directions),
                texts=len(question.jobs),
                prompts=[ids_hash(row.ids) for row in question.rows],
            )
            for index, job in enumerate(question.jobs):
                self._tickets.append(self._service.batcher.submit(job, self._listener(index)))
        except QueueFull as error:
            await self.close()
            raise Busy("the server has as many texts waiting as it takes. Try again in a moment.") from error
        except Closing as error:
            await self.close()
            raise Ending("the server is ending.") from error
        except RheostatError:
            await self.close()
            raise

    async def pieces(self, is_gone: Callable[[], Awaitable[bool]] | None = None) -> AsyncIterator[Piece]:
        """Yield what is written, text by text, until every text has ended.

        Raises:
            UnknownKey, BelowFloor, NotGranted: the key was revoked, or may not ask this any more.
            TookTooLong: the time is up.
            ClientLeft: `is_gone` said so.
            InternalError: a text could not be computed.
        """
        texts = [TextStream(self._service.network.tokens, self.question.stops) for _ in self.question.jobs]
        running = len(texts)
        looked = 0.0
        while running:
            if time.monotonic() >= self._deadline:
                raise TookTooLong(f"the answer took longer than {self._service.settings.limits.seconds:g} s.")
            self._check_key()
            if is_gone is not None and time.monotonic() - looked >= LOOK:
                looked = time.monotonic()
                if await is_gone():
                    raise ClientLeft
            try:
                index, written = await asyncio.wait_for(self._arrived.get(), LOOK)
            except TimeoutError:
                continue
            if self._finishes[index]:
                continue  # what came between a stop text and the end of its row
            piece = self._piece(index, written, texts[index])
            running -= piece.finish is not None
            yield piece

    async def finish(self) -> dict[str, Any]:
        """Record the end, free everything, and return the receipt: what was done, its hash, and its line in the log.

        Raises:
            UnknownKey, BelowFloor, NotGranted: the key was revoked, or may not ask this any more.
            NotRecorded
        """
        self._check_key()
        receipt = self.receipt()
        place = await self.close(receipt)
        assert place is not None
        return {**receipt, "audit": place}

    def receipt(self) -> dict[str, Any]:
        """Return what was done, with the SHA-256 of it."""
        question = self.question
        content: dict[str, Any] = {
            "request": self._digest,
            "endpoint": question.endpoint,
            "impairment": question.impairment,
            "intensity": self._service.intensity(question.impairment),
            "dial": self._service.dial.label,
            "draw": question.draw,
            "edits": len(question.changes.plan),
            "directions": list(question.changes.directions),
            "prompt_tokens": [len(row) for row in question.rows],
            "applied": self._receipts,
            "outputs": [ids_hash(ids) for ids in self._ids],
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return {**content, "hash": hashlib.sha256(text.encode()).hexdigest()}

    async def close(self, receipt: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Free rows and slot and record the end; a second time does nothing.

        Raises:
            NotRecorded: only where there is a receipt, which then must not be sent.
        """
        if self._closed:
            return None
        self._closed = True
        for ticket in self._tickets:
            ticket.cancel()
        self._slot.release(sum(map(len, self._prompts())) + sum(map(len, self._ids)))
        metrics = self._service.metrics
        metrics.count("tokens_written_total", sum(map(len, self._ids)))
        metrics.count("exchanges_total", end="answered" if receipt else "cut short")
        end = {"receipt": receipt["hash"]} if receipt else {"receipt": None}
        with contextlib.nullcontext() if receipt else contextlib.suppress(NotRecorded):
            return await self.record(
                "answered" if receipt else "cut short", request=self._digest, tokens=sum(map(len, self._ids)), **end
            )

    async def record(self, event: str, **content: object) -> dict[str, Any]:
        """Append a line of this key to the audit log, and return its place.

        Raises:
            NotRecorded
        """
        return await record(self._service, event, key=self._key.id, **content)

    @property
    def n_prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(map(len, self.question.rows))

    @property
    def n_written(self) -> int:
        """Tokens of all answers."""
        return sum(map(len, self._ids))

    def _prompts(self) -> list[tuple[int, ...]]:
        return [job.ids for job in self.question.jobs] or [row.ids for row in self.question.rows]

    def _listener(self, index: int) -> Callable[[Written], None]:
        def listen(written: Written) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                self._loop.call_soon_threadsafe(self._arrived.put_nowait, (index, written))

        return listen

    def _piece(self, index: int, written: Written, text: TextStream) -> Piece:
        if written.finish == "cancelled":
            raise Ending("the server is ending.")
        if written.finish == "failed":
            if isinstance(written.error, RheostatError):
                raise written.error
            _log.error("a text could not be computed", exc_info=written.error)
            raise InternalError("the text could not be computed.") from written.error
        if written.receipt is not None:
            self._receipts[index] = _summary(written.receipt)
        new = ""
        if written.id is not None:
            self._ids[index].append(written.id)
            new = text.add(written.id)
        if written.finish is not None:
            new += text.end()
        finish: Finish | None = "stop" if text.stopped or written.finish == "stop" else None
        if finish is None and written.finish is not None:
            finish = "length"
        if finish is not None:
            self._finishes[index] = finish
            self._tickets[index].cancel()
        return Piece(index, new, written.id, written.logprob, written.top_logprobs, finish)

    def _check_key(self) -> None:
        key = self._service.book.get(self._key.id)
        if key != self._key:
            check_still(self._service, key, self.question)


async def record(service: Service, event: str, **content: object) -> dict[str, Any]:
    """Append a line to the audit log, and return its place.

    Raises:
        NotRecorded
    """
    try:
        return asdict(await run_in_threadpool(service.audit.append, event, **content))
    except FileNotUsable as error:
        service.metrics.count("audit_failures_total")
        raise NotRecorded("the audit log cannot be written, so nothing is answered.") from error


def _summary(receipt: Receipt) -> dict[str, Any]:
    """Return what edits and impairment did to one text, over all of them."""
    sizes = [entry.relative_change for entry in receipt.entries if math.isfinite(entry.relative_change)]
    mean = sum(sizes) / len(sizes) if sizes else None
    return {"edits": len(receipt.entries), "sites": receipt.sites, "tokens": receipt.tokens, "relative_change": mean}


def ids_hash(ids: "list[int] | tuple[int, ...]") -> str:
    """Return the SHA-256 of tokens, written in decimal with a space between."""
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()
