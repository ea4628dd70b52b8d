"""`Worker`: computes pieces of a sweep far from where it was asked. What comes in and goes out is JSON."""

import json
import struct

from rheostat.sweeps.message import question_from_bytes, what_decides
from rheostat.sweeps.question import Question


class Worker:
    """Holds one question, with its model, loaded once."""

    def __init__(self) -> None:
        self._question: Question | None = None

    def open(self, question: bytes) -> bytes:
        """Load the model, and return what decides the numbers, as JSON.

        Raises:
            RheostatError: as `rheostat.load` says.
        """
        self._question = question_from_bytes(question)
        return json.dumps(what_decides(self._question)).encode()

    def values(self, piece: bytes) -> bytes:
        """Return the values of a piece, a JSON list of places (prompt, cell): little-endian doubles, place by place."""
        assert self._question is not None, "a worker is opened first"
        places = [(prompt, cell) for prompt, cell in json.loads(piece)]
        numbers = self._question.values(places).flatten().tolist()
        return struct.pack(f"<{len(numbers)}d", *numbers)
