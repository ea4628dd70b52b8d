"""Who computes the pieces of a sweep: this process (`local`), or the workers of a Ray cluster (`ray`)."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from rheostat.base.errors import BadArgument
from rheostat.sweeps.pieces import Piece
from rheostat.sweeps.question import Advance, Question

ExecutorName = Literal["local", "ray"]
EXECUTORS = ("local", "ray")


class Executor(ABC):
    """Computes pieces of one question. Workers live from entering to leaving it."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    @abstractmethod
    def piece_size(self, n_places: int) -> int:
        """Return how many places a piece should hold, so that every worker gets its share."""

    @abstractmethod
    def run(self, pieces: Iterable[Piece], advance: Advance) -> Iterator[tuple[Piece, Float[Tensor, "place metric"]]]:
        """Yield each piece with its values, in whichever order they are done; pieces are taken as they are needed."""


class Local(Executor):
    """This process, one piece after the other."""

    def __init__(self, question: Question) -> None:
        self._question = question

    def piece_size(self, n_places: int) -> int:
        """Return all: undivided, the cells share the most."""
        return n_places

    def run(self, pieces: Iterable[Piece], advance: Advance) -> Iterator[tuple[Piece, Float[Tensor, "place metric"]]]:
        """Yield the pieces in order."""
        for piece in pieces:
            yield piece, self._question.values(piece, advance)


def make_executor(
    name: str, question: Question, *, address: str | None = None, n_workers: int | None = None
) -> Executor:
    """Return the executor of this name, after checking that it can do the question.

    Raises:
        BadArgument: an unknown name, an argument that does not belong to it, or what cannot be sent to workers.
        MissingExtra: Ray is not installed.
    """
    if name not in EXECUTORS:
        raise BadArgument(f"executor={name!r}: one of {', '.join(EXECUTORS)}.")
    if name == "local":
        if address is not None or n_workers is not None:
            raise BadArgument("address and n_workers belong to executor='ray'.")
        return Local(question)
    from rheostat.sweeps.on_ray import OnRay

    return OnRay(question, address=address, n_workers=n_workers)
