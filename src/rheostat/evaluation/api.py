"""`Api`: one OpenAI-compatible server that takes an impairment, with patience for its bad moments."""

import asyncio
import importlib.util
import ipaddress
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rheostat.base.errors import ApiNotReachable, ApiRefused, BadArgument, MissingExtra
from rheostat.evaluation.journal import BELOW_FLOOR, Refusal
from rheostat.store.key import as_json

if TYPE_CHECKING:
    import httpx

SECONDS_TO_ANSWER = 300.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
"""Seconds between attempts: each wait is twice the one before, up to a half shorter by chance."""
PASSING = (408, 425, 429)
"""Statuses after which one may ask again, as after every 5xx."""


@dataclass(frozen=True)
class Completion:
    """What a server answered."""

    text: str
    cut: bool
    tokens: int
    request_sha256: str
    """Of the body that was sent."""
    receipt: Any


class Api:
    """A connection to one server; use it as an async context.

    Args:
        url: of the server, with or without `/v1`.
        key: the API key; it is sent, and kept nowhere.
        patience: seconds for which a server that is busy, broken or away is asked again, before giving up.
        allow_http: send the key in clear to another machine.

    Raises:
        BadArgument: the URL is none, or the key would travel in clear.
        MissingExtra: httpx is not installed.
    """

    def __init__(self, url: str, key: str, *, patience: float = 120.0, allow_http: bool = False) -> None:
        if importlib.util.find_spec("httpx") is None:
            raise MissingExtra(
                "an evaluation needs httpx, which is not installed. In rheostat's folder, type: pip install '.[serve]'"
            )
        self.url, self._near = _checked(url, allow_http=allow_http)
        if not key or not key.isascii() or not key.isprintable():
            raise BadArgument("the API key is empty or holds characters that no key has. Set RHEOSTAT_API_KEY.")
        self._key, self._patience = key, patience
        self.refusals: list[Refusal] = []
        """What was refused on the way and asked again."""

    async def __aenter__(self) -> "Api":
        import httpx

        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self._key}"},
            timeout=httpx.Timeout(SECONDS_TO_ANSWER, connect=10.0),
            trust_env=not self._near,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def model(self, name: str | None) -> dict[str, Any]:
        """Return what the server says of a model of this name, or of its only one.

        Raises:
            ApiNotReachable, ApiRefused
            BadArgument: it offers no such model, or several.
        """
        answer = await self._ask("GET", "/v1/models", None, level=1.0)
        if isinstance(answer, Refusal):
            raise _refused(answer)
        models = {str(one.get("id")): one for one in answer.get("data") or [] if isinstance(one, dict)}
        if name is None and len(models) == 1:
            (name,) = models
        if name is None or name not in models:
            offered = ", ".join(models) or "none"
            raise BadArgument(f"{self.url} offers these models: {offered}. Name one of them with --model.")
        return models[name]

    async def complete(
        self, model: str, prompt: str, *, level: float, draw: int, max_tokens: int
    ) -> Completion | Refusal:
        """Return the greedy completion of a prompt under an impairment, or the refusal of a level below the floor.

        Raises:
            ApiNotReachable: the server was away, broken or busy for longer than the patience.
            ApiRefused: it refuses for another reason, or its answer is no completion.
        """
        body = {
            "model": model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "impairment": level,
            "draw": draw,
        }
        sent = as_json(body).encode()
        answer = await self._ask("POST", "/v1/completions", sent, level=level)
        if isinstance(answer, Refusal):
            if answer.code not in BELOW_FLOOR:
                raise _refused(answer)
            return answer if answer.floor is not None else replace(answer, floor=await self._floor())
        found = _completion(answer, sent)
        if isinstance(found.receipt, dict) and found.receipt.get("impairment", level) != level:
            raise ApiRefused(
                f"the server was asked for impairment {level:g} and says that it gave {found.receipt['impairment']}."
            )
        return found

    async def _floor(self) -> float | None:
        """Return the floor of the key, where the server tells of keys."""
        answer = await self._ask("GET", "/v1/key", None, level=0.0)
        floor = None if isinstance(answer, Refusal) else answer.get("floor")
        return float(floor) if isinstance(floor, (int, float)) else None

    async def _ask(self, method: str, path: str, body: bytes | None, *, level: float) -> dict[str, Any] | Refusal:
        """Send a request until it is answered or refused for good."""
        import httpx

        clock = asyncio.get_running_loop()
        until, wait, reason = clock.time() + self._patience, FIRST_WAIT, ""
        headers = {"Content-Type": "application/json"} if body else {}
        while True:
            after = 0.0
            try:
                response = await self._client.request(method, path, content=body, headers=headers)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__} {error}".strip()
            else:
                if response.status_code == 200:
                    return _json(response)
                refusal = _refusal(response, level, body or b"")
                if response.status_code not in PASSING and response.status_code < 500:
                    return refusal
                self.refusals.append(refusal)
                reason, after = f"{refusal.status} {refusal.message}", _retry_after(response)
            pause = max(after, wait * random.uniform(0.5, 1.0))  # noqa: S311 — waits need no secret
            if clock.time() + pause > until:
                raise ApiNotReachable(
                    f"{self.url} did not answer for {self._patience:g} seconds ({reason}). Everything answered is "
                    "kept; run the same command again to go on."
                )
            await asyncio.sleep(pause)
            wait = min(2 * wait, LONGEST_WAIT)


def _checked(url: str, *, allow_http: bool) -> tuple[str, bool]:
    """Return the URL without `/v1`, and whether it is this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise BadArgument(f"{url!r} is no URL of an API. Write it as http://127.0.0.1:8765 or https://api.example.org.")
    near = host == "localhost" or _is_loopback(host)
    if parts.scheme == "http" and not near and not allow_http:
        raise BadArgument(f"{url}: the API key would travel in clear. Use https, or allow it with --allow-http.")
    return url.rstrip("/").removesuffix("/v1"), near


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _json(response: "httpx.Response") -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ApiRefused(f"{response.url} answered something that is no JSON object. Is it an OpenAI-compatible API?")
    return found


def _refusal(response: "httpx.Response", level: float, body: bytes) -> Refusal:
    """Read `{"error": {"message", "type", "code", "floor"}}`, or make do with the status."""
    try:
        found = response.json()
    except ValueError:
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    error = error if isinstance(error, dict) else {}
    floor = error.get("floor")
    return Refusal(
        level=level,
        status=response.status_code,
        code=str(error.get("code") or error.get("type") or ""),
        message=str(error.get("message") or response.reason_phrase)[:500],
        floor=float(floor) if isinstance(floor, (int, float)) else None,
        request_sha256=sha256(body).hexdigest(),
        at=now(),
    )


def _completion(found: Mapping[str, Any], sent: bytes) -> Completion:
    try:
        choice = found["choices"][0]
        text, cut = choice["text"], choice.get("finish_reason") == "length"
        tokens = int((found.get("usage") or {}).get("total_tokens") or 0)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        text = None
    if not isinstance(text, str):
        raise ApiRefused("the server's answer holds no choices[0].text. Is it an OpenAI-compatible API?")
    return Completion(text, cut, tokens, sha256(sent).hexdigest(), found.get("rheostat"))


def _refused(refusal: Refusal) -> ApiRefused:
    hint = " Check the key in RHEOSTAT_API_KEY." if refusal.status == 401 else ""
    kind = f", {refusal.code}" if refusal.code else ""
    return ApiRefused(f"the server refused with {refusal.status}{kind}: {refusal.message}{hint}")


def _retry_after(response: "httpx.Response") -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def now() -> str:
    """Return the time as records state it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
