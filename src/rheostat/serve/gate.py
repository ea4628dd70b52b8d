"""`Gate`: what every request passes first: its key, its rate, its size, and the time in which it must arrive.

No body is read, let alone parsed, before the key is known to be good.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat.serve.answers import refused
from rheostat.serve.keys import Key
from rheostat.serve.page import FILES
from rheostat.serve.refusals import Refusal, TookTooLong, TooLarge, UnknownKey
from rheostat.serve.service import Service

PAUSE = 0.2
"""Seconds before a wrong key is told so: whoever knocks all the time takes no computing time from the others."""
OPEN = ("/health", "/openapi.json", *FILES)
"""What may be asked without a key."""


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counted = self._counted(scope, send)
        try:
            headers = Headers(scope=scope)
            if scope["path"] not in OPEN:
                key = self._key(headers)
                self._service.limiter.count(key)
                scope.setdefault("state", {})["key"] = key
            body = await self._body(headers, receive)
        except Refusal as error:
            if isinstance(error, UnknownKey):
                await asyncio.sleep(PAUSE)
            await refused(error)(scope, receive, counted)
            return
        except asyncio.IncompleteReadError:
            return  # the client left
        await self._app(scope, _replayed(body, receive), counted)

    def _key(self, headers: Headers) -> Key:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise UnknownKey("there is no key. Send the header: Authorization: Bearer rh-…")
        key = self._service.book.find(text.strip())
        if key is None:
            raise UnknownKey("this server does not know the key, or it was revoked.")
        return key

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        limits = self._service.settings.limits
        most = limits.body_bytes
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:18]) > most:
            raise TooLarge(f"the body has {length} bytes; this server takes {most}.")
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise asyncio.IncompleteReadError(b"", None)
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise TooLarge(f"the body has more than {most} bytes, which is what this server takes.")
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise TookTooLong(f"the body did not arrive within {limits.body_seconds:g} s.") from error
        return b"".join(parts)

    def _counted(self, scope: Scope, send: Send) -> Callable[[Message], Awaitable[None]]:
        started = time.monotonic()
        metrics = self._service.metrics

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route: Any = scope.get("route")
                path = getattr(route, "path", "other")
                metrics.count("responses_total", path=path, status=str(message["status"]))
                metrics.count("seconds_to_answer_total", time.monotonic() - started, path=path)
            await send(message)

        return counting


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, and then what really comes: that the client has left."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
