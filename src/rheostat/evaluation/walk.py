"""`evaluate`: walk the impairment down through an API, as a protocol says, and return a record that can be signed."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from rheostat.base.errors import RheostatError
from rheostat.base.progress import progress
from rheostat.evaluation.api import Api, now
from rheostat.evaluation.journal import Answer, Journal, Refusal
from rheostat.evaluation.protocol import Protocol
from rheostat.evaluation.record import Evaluation, evaluation_of
from rheostat.evaluation.rule import is_over, n_units
from rheostat.evaluation.scoring import is_right, tokens_for
from rheostat.evaluation.settled import settle
from rheostat.tasks.item import Task

_log = logging.getLogger("rheostat")
Stopped = Literal["refused", "budget"]


@dataclass(frozen=True)
class Limits:
    """What may be spent, and how the asking goes; none of it changes a number."""

    requests: int | None = None
    """Answers in all; a level that would need more is not begun."""
    tokens: int | None = None
    """Of prompts and completions, as the server counts them."""
    concurrency: int = 4
    """Questions under way at once."""
    wait: float = 0.0
    """Seconds to wait for a floor to be lowered before ending."""
    poll: float = 5.0
    """Seconds between two looks at a floor."""


def evaluate(
    api: Api,
    task: Task,
    protocol: Protocol,
    folder: str | Path,
    *,
    model: str | None = None,
    limits: Limits | None = None,
) -> Evaluation:
    """Ask a task at each level of a protocol, from the highest down, until the rule, a floor or a budget ends it.

    Every answer is on disk before the next question; the same call again goes on where an earlier one was ended or
    killed. It needs no weights.

    Args:
        api: the server, not yet entered.
        task: prompts with answers; right answers above the protocol's threshold are the danger.
        protocol: fixed when the folder is first used.
        folder: of this one evaluation.
        model: which of the server's models; None: its only one.
        limits: what may be spent.

    Raises:
        BadArgument: the task is too small for the threshold, or the folder holds another evaluation.
        ApiNotReachable, ApiRefused
        FileNotUsable: the folder cannot be written, or is damaged.
    """
    protocol.check_units(n_units([item.group for item in task.items]))
    with Journal(Path(folder)) as journal:
        return asyncio.run(_evaluate(api, task, protocol, journal, model, limits or Limits()))


async def _evaluate(
    api: Api, task: Task, protocol: Protocol, journal: Journal, model: str | None, limits: Limits
) -> Evaluation:
    async with api:
        served = await api.model(model)
        settled = settle(journal.folder, api=api.url, model=served, task=task, protocol=protocol)
        walk = _Walk(api, str(served["id"]), task, protocol, journal, limits)
        stopped = await walk.go()
    return evaluation_of(settled, journal, task, protocol, stopped)


@dataclass
class _Walk:
    """One walk down the levels."""

    api: Api
    model: str
    task: Task
    protocol: Protocol
    journal: Journal
    limits: Limits

    async def go(self) -> Stopped | None:
        """Ask level by level; return what ended the walk before the rule did."""
        groups = [item.group for item in self.task.items]
        for level in self.protocol.levels:
            if is_over(scored(self.journal, self.task), groups, self.protocol):
                return None
            stopped = await self._level(level)
            if stopped is not None:
                return stopped
        return None

    async def _level(self, level: float) -> Stopped | None:
        present = self.journal.answers.get(level, {})
        places = [(item, draw) for draw in range(self.protocol.draws) for item in range(len(self.task))]
        asks = deque(place for place in places if place not in present)
        if not asks:
            return None
        if self.limits.requests is not None and len(self.journal.order) + len(asks) > self.limits.requests:
            return "budget"
        with progress(f"impairment {level:g}", len(asks)) as advance:
            stopped = await self._first(level, asks[0])  # alone, so that a floor refuses one question, not several
            if stopped is None:
                asks.popleft()
                advance(1)
                stopped = await self._rest(level, asks, advance)
        if stopped is None:
            self._tell(level)
        return stopped

    async def _first(self, level: float, place: tuple[int, int]) -> Stopped | None:
        """Ask one question, and where the level is refused, wait for the owner as long as one may."""
        clock = asyncio.get_running_loop()
        until, told = clock.time() + self.limits.wait, False
        while True:
            stopped = await self._ask(level, place, keep_refusal=not told)
            if stopped != "refused" or clock.time() + self.limits.poll > until:
                return stopped
            if not told:
                _log.warning("impairment %g is refused; waiting for the owner to lower the floor", level)
            told = True
            await asyncio.sleep(self.limits.poll)

    async def _rest(self, level: float, asks: deque[tuple[int, int]], advance: Any) -> Stopped | None:
        """Ask the other questions, several at once; the first stop ends them all."""
        stops: list[Stopped] = []

        async def worker() -> None:
            while asks and not stops:
                stopped = await self._ask(level, asks.popleft())
                if stopped is None:
                    advance(1)
                elif not stops:
                    stops.append(stopped)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.limits.concurrency, len(asks))):
                    group.create_task(worker())
        except* RheostatError as errors:
            raise _first_error(errors) from None
        return stops[0] if stops else None

    async def _ask(self, level: float, place: tuple[int, int], *, keep_refusal: bool = True) -> Stopped | None:
        if self.limits.tokens is not None and self.journal.n_tokens >= self.limits.tokens:
            return "budget"
        item, draw = self.task.items[place[0]], place[1]
        found = await self.api.complete(
            self.model, item.prompt, level=level, draw=draw, max_tokens=tokens_for(item.answer)
        )
        while self.api.refusals:
            self.journal.keep(self.api.refusals.pop(0))
        if isinstance(found, Refusal):
            if keep_refusal:
                self.journal.keep(found)
            return "refused"
        self.journal.keep(
            Answer(
                level=level,
                item=place[0],
                draw=draw,
                prompt_sha256=sha256(item.prompt.encode()).hexdigest(),
                text=found.text,
                cut=found.cut,
                tokens=found.tokens,
                request_sha256=found.request_sha256,
                receipt=found.receipt,
                at=now(),
            )
        )
        return None

    def _tell(self, level: float) -> None:
        right = scored(self.journal, self.task)[level]
        _log.info("impairment %g: %d of %d answers are right", level, sum(right.values()), len(right))


def scored(journal: Journal, task: Task) -> Mapping[float, Mapping[tuple[int, int], bool]]:
    """Return level → (item, draw) → whether the answer is right."""
    return {
        level: {
            place: is_right(answer.text, task.items[place[0]].answer, cut=answer.cut) for place, answer in found.items()
        }
        for level, found in journal.answers.items()
    }


def _first_error(errors: BaseExceptionGroup[RheostatError]) -> RheostatError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RheostatError)
    return error
