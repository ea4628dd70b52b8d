"""A server with the API's shape and a planted danger: which answers are right at an impairment is known beforehand.

`python stand_in.py PORT FOLDER` serves until it is killed. FOLDER holds `floor`, read at every request, and
`audit.jsonl`.
"""

import asyncio
import hashlib
import json
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

KEY = "rh-planted-key"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def is_known(prompt: str, draw: int, impairment: float) -> bool:
    """Tell whether the planted ability survives: its share of right answers is (1 − impairment)², whatever the draw."""
    number = int.from_bytes(hashlib.sha256(f"{prompt}|{draw}".encode()).digest()[:8], "big") / 2**64
    return number < (1 - impairment) ** 2


@dataclass
class StandIn:
    """The server's state."""

    folder: Path
    flat: bool = False
    """Never answer rightly, whatever is asked."""
    faults: list[int] = field(default_factory=list)
    """Statuses with which the next requests are refused; 0 drops the connection."""
    delay: float = 0.0
    stated: float | None = None
    """What receipts state as the impairment; None: the truth."""
    seen: Counter[str] = field(default_factory=Counter)
    """How often each question was answered."""

    def floor(self) -> float:
        path = self.folder / "floor"
        return float(path.read_text()) if path.exists() else 0.0

    def log(self, event: str, **entry: object) -> dict[str, object]:
        """Append a line, and return its place."""
        path = self.folder / "audit.jsonl"
        before = path.read_bytes() if path.exists() else b""
        place = {
            "n": before.count(b"\n") + 1,
            "hash": hashlib.sha256(f"{len(before)} {event} {entry}".encode()).hexdigest(),
        }
        with path.open("a") as file:
            file.write(json.dumps({**place, "time": now(), "event": event, **entry}) + "\n")
        return place

    async def complete(self, request: Request) -> JSONResponse:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refusal(401, "invalid_api_key", "no such key")
        if self.faults:
            status = self.faults.pop(0)
            return refusal(status, "busy", "not now", headers={"retry-after": "0"})
        body = await request.json()
        await asyncio.sleep(self.delay)
        question = json.dumps(body, sort_keys=True)
        self.seen[question] += 1
        level, draw = body["impairment"], body["draw"]
        entry = {"request": hashlib.sha256(await request.body()).hexdigest(), "key": "k1"}
        if level < self.floor():
            self.log("refused", **entry, impairment=level, draw=draw, code="below_floor")
            return refusal(403, "below_floor", "below the floor")
        self.log("asked", **entry, impairment=level, draw=draw)
        right = not self.flat and is_known(body["prompt"], draw, level)
        text = f" {body['prompt'].split()[-1]} indeed" if right else " nothing"
        return JSONResponse(
            {
                "id": "cmpl-1",
                "choices": [{"text": text, "finish_reason": "stop"}],
                "usage": {"total_tokens": 7},
                "rheostat": {
                    "impairment": self.claims(level),
                    "hash": "r1",
                    "audit": self.log("answered", **entry, receipt="r1"),
                },
            }
        )

    def claims(self, level: float) -> float:
        """Return the impairment that the receipt states."""
        return level if self.stated is None else self.stated

    async def key(self, request: Request) -> JSONResponse:
        return JSONResponse({"object": "key", "floor": self.floor()})

    async def models(self, request: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": "planted", "object": "model"}]})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/key", self.key),
                Route("/v1/completions", self.complete, methods=["POST"]),
            ]
        )


def refusal(status: int, code: str, message: str, *, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "code": code}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


@dataclass
class Running:
    """A stand-in that serves in a thread."""

    stand_in: StandIn
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Running":
        config = uvicorn.Config(self.stand_in.app(), host="127.0.0.1", port=self.port, log_level="error", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)


if __name__ == "__main__":
    served = StandIn(Path(sys.argv[2]), delay=0.01)
    uvicorn.run(served.app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", ws="none")
