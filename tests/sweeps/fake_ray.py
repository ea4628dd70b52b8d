"""What a pool of workers asks of Ray, here: answers are computed when they are fetched, and workers can die."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rheostat.base.errors import RheostatError


class RayError(Exception):
    """Ray's own name for whatever goes wrong on its side."""


class RayTaskError(RayError):
    """What a worker raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Errors:
    RayError = RayError
    RayTaskError = RayTaskError


@dataclass(eq=False)
class Actor:
    made: Any
    number: int
    alive: bool = True


@dataclass(eq=False)
class Answer:
    actor: Actor
    verb: str
    argument: bytes


@dataclass(eq=False)
class Verb:
    actor: Actor
    name: str
    ray: "FakeRay"

    def remote(self, argument: bytes) -> Answer:
        self.ray.asked.append((self.actor.number, self.name, argument))
        return Answer(self.actor, self.name, argument)


@dataclass(eq=False)
class Handle:
    actor: Actor
    ray: "FakeRay"

    def __getattr__(self, name: str) -> Verb:
        return Verb(self.actor, name, self.ray)


@dataclass
class FakeRay:
    """`dies(number of the worker, verb, argument)` says at which call a worker dies."""

    dies: Callable[[int, str, bytes], bool] = lambda *_: False
    interrupt_at: int | None = None
    """Ctrl-C comes at this wait."""
    exceptions: type[Errors] = Errors
    asked: list[tuple[int, str, bytes]] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    waits: int = 0

    def remote(self, **_: object) -> Callable[[type], Any]:
        def wrap(made: type) -> Any:
            ray = self

            class Factory:
                @staticmethod
                def remote() -> Handle:
                    ray.actors.append(Actor(made(), len(ray.actors)))
                    return Handle(ray.actors[-1], ray)

            return Factory

        return wrap

    def put(self, value: bytes) -> bytes:
        return value

    def kill(self, handle: Handle) -> None:
        handle.actor.alive = False

    def wait(self, answers: list[Answer], num_returns: int = 1, timeout: float | None = None) -> tuple[list[Any], ...]:
        self.waits += 1
        if self.waits == self.interrupt_at:
            raise KeyboardInterrupt
        return answers[-num_returns:], answers[:-num_returns]

    def get(self, answer: Answer) -> bytes:
        if not answer.actor.alive or self.dies(answer.actor.number, answer.verb, answer.argument):
            answer.actor.alive = False
            raise RayError("The actor died unexpectedly.\nmore")
        try:
            return getattr(answer.actor.made, answer.verb)(answer.argument)
        except RheostatError as error:
            raise RayTaskError(error) from error
