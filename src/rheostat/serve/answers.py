"""Answers over HTTP: errors in OpenAI's form, completions and chats whole or as a stream of events."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from rheostat.base.errors import InternalError, RheostatError
from rheostat.serve.exchange import ClientLeft, Exchange, Piece
from rheostat.serve.refusals import Refusal
from rheostat.serve.shapes import Shape


def refused(error: RheostatError) -> Response:
    """Return an error as a response."""
    status = error.status if isinstance(error, Refusal) else 500 if isinstance(error, InternalError) else 400
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if isinstance(error, Refusal) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(error_body(error), status, headers)


def error_body(error: RheostatError) -> dict[str, Any]:
    """Return an error in OpenAI's form; `code` is the refusal's, or the name of the mistake."""
    code = error.code if isinstance(error, Refusal) else type(error).__name__
    kind = "server_error" if isinstance(error, InternalError) else "invalid_request_error"
    message = str(error).encode("utf-8", "backslashreplace").decode()
    more = error.fields if isinstance(error, Refusal) else {}
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


async def whole(exchange: Exchange, shape: Shape, request: Request) -> Response:
    """Wait for every text, and return the answer in one piece."""
    pieces: list[Piece] = []
    try:
        async for piece in exchange.pieces(request.is_disconnected):
            pieces.append(piece)
        receipt = await exchange.finish()
    except ClientLeft:
        return Response(status_code=499)
    finally:
        await exchange.close()
    return JSONResponse(shape.whole(pieces, receipt, exchange.n_prompt_tokens, exchange.n_written))


class EventStream(StreamingResponse):
    """An answer as server-sent events. Its exchange is closed when the response is over, however it ends."""

    def __init__(self, exchange: Exchange, shape: Shape, *, seconds: float, with_usage: bool) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(_events(exchange, shape, with_usage=with_usage), 200, headers, "text/event-stream")
        self._exchange = exchange
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a reader who takes longer than the server waits is left."""
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            pass
        finally:
            await asyncio.shield(self._exchange.close())


async def _events(exchange: Exchange, shape: Shape, *, with_usage: bool) -> AsyncIterator[bytes]:
    """Yield events; the last one that ends a text waits for the receipt, which it carries."""
    try:
        for chunk in shape.beginnings(len(exchange.question.jobs)):
            yield _event(chunk)
        last: Piece | None = None
        async for piece in exchange.pieces():
            if piece.finish is None:
                yield _event(shape.chunk(piece))
                continue
            if last is not None:
                yield _event(shape.chunk(last))
            last = piece
        receipt = await exchange.finish()
        if last is not None:
            yield _event({**shape.chunk(last), "rheostat": receipt})
        if with_usage:
            yield _event(shape.usage_chunk(exchange.n_prompt_tokens, exchange.n_written))
        yield b"data: [DONE]\n\n"
    except RheostatError as error:
        yield _event(error_body(error))


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=True, allow_nan=False)}\n\n".encode()
