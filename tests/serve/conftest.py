"""Batchers over small random networks, in float64, where a row among others writes exactly what it writes alone."""

from collections.abc import Callable, Iterator
from queue import Queue

import pytest
import torch

import rheostat as rh
from rheostat.models.toy import toy
from rheostat.serve.batcher import Batcher, Ticket
from rheostat.serve.job import Job, Written

PATIENCE = 60.0


class Listener:
    """Collects what a job writes."""

    def __init__(self) -> None:
        self._told: Queue[Written] = Queue()
        self.all: list[Written] = []
        self.ticket: Ticket | None = None

    def __call__(self, written: Written) -> None:
        self._told.put(written)

    def next(self) -> Written:
        self.all.append(self._told.get(timeout=PATIENCE))
        return self.all[-1]

    def last(self) -> Written:
        while not self.all or self.all[-1].finish is None:
            self.next()
        return self.all[-1]

    @property
    def ids(self) -> tuple[int, ...]:
        self.last()
        return tuple(written.id for written in self.all if written.id is not None)


@pytest.fixture(scope="session")
def toys() -> Callable[[str], rh.Model]:
    loaded: dict[str, rh.Model] = {}

    def load(name: str) -> rh.Model:
        if name not in loaded:
            loaded[name] = rh.load(toy(name, dtype=torch.float64))
        return loaded[name]

    return load


@pytest.fixture(params=["llama", "gemma3"])
def model(request: pytest.FixtureRequest, toys: Callable[[str], rh.Model]) -> rh.Model:
    return toys(request.param)


@pytest.fixture
def open_batcher() -> Iterator[Callable[..., Batcher]]:
    """Opens batchers, and ends them after the test."""
    opened: list[Batcher] = []

    def open_one(model: rh.Model, **options: int) -> Batcher:
        opened.append(Batcher(model, **options))
        return opened[-1]

    yield open_one
    for batcher in opened:
        batcher.close(PATIENCE)


def submit(batcher: Batcher, job: Job) -> Listener:
    listener = Listener()
    listener.ticket = batcher.submit(job, listener)
    return listener
