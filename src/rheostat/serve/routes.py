"""The endpoints: each takes its request apart, and hands it to what answers it."""

import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from rheostat import __version__
from rheostat.base.errors import RheostatError
from rheostat.serve.answers import EventStream, whole
from rheostat.serve.exchange import Exchange, record
from rheostat.serve.floors import check_endpoint
from rheostat.serve.keys import Key
from rheostat.serve.lens import lens_content, lens_question
from rheostat.serve.protocol import Answer, ChatRequest, CompletionRequest, Dialled, ErrorBody, LensRequest
from rheostat.serve.question import Question, chat_question, check_model, completion_question
from rheostat.serve.refusals import Refusal
from rheostat.serve.service import Service
from rheostat.serve.shapes import ChatShape, CompletionShape, Shape

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": words}
    for status, words in {
        400: "The request, or something in it, cannot be used.",
        401: "There is no key, or no good one.",
        403: "The key may not ask this: below its floor, or not granted.",
        404: "Another model is served.",
        408: "It took too long.",
        413: "The body is too large.",
        429: "Too often, too much, or too many at once.",
    }.items()
}
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}

Asked = TypeVar("Asked", bound=Dialled)

open_routes = APIRouter()
routes = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))], responses=REFUSALS)


def of_service(request: Request) -> Service:
    """Return what the application serves."""
    service: Service = request.app.state.service
    return service


def of_key(request: Request) -> Key:
    """Return the key that the gate found."""
    key: Key = request.scope["state"]["key"]
    return key


ServiceIn = Annotated[Service, Depends(of_service)]
KeyIn = Annotated[Key, Depends(of_key)]


@open_routes.get("/health")
async def health() -> dict[str, str]:
    """Say that the server answers."""
    return {"status": "ok", "version": __version__}


@routes.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: ServiceIn, key: KeyIn) -> PlainTextResponse:
    """Return what the server has done, for Prometheus."""
    check_endpoint(key, "metrics")
    return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")


@routes.get("/v1/models")
async def models(service: ServiceIn) -> dict[str, Any]:
    """List the model, with what its dial does."""
    return {"object": "list", "data": [_model(service)]}


@routes.get("/v1/models/{model:path}")
async def one_model(model: str, service: ServiceIn) -> dict[str, Any]:
    """Describe the model."""
    check_model(service.network, model)
    return _model(service)


@routes.get("/v1/key")
async def own_key(service: ServiceIn, key: KeyIn) -> dict[str, Any]:
    """Say what the key that asks may do, and how much of the day's tokens is used."""
    found = {"steers_by": service.directions.names(key), "tokens_used_today": service.book.used_today(key)}
    return {"object": "key", **asdict(key), **found}


@routes.post("/v1/completions", response_model=Answer, responses={200: {"content": STREAM}})
async def completions(asked: CompletionRequest, request: Request, service: ServiceIn, key: KeyIn) -> Response:
    """Continue prompts under an impairment; OpenAI's completions."""
    exchange = await _begun(request, service, key, "completions", asked, completion_question)
    return await _written(exchange, service, request, asked, _shape(CompletionShape, "cmpl", service, exchange))


@routes.post("/v1/chat/completions", response_model=Answer, responses={200: {"content": STREAM}})
async def chat(asked: ChatRequest, request: Request, service: ServiceIn, key: KeyIn) -> Response:
    """Answer a chat under an impairment; OpenAI's chat completions."""
    exchange = await _begun(request, service, key, "chat", asked, chat_question)
    return await _written(exchange, service, request, asked, _shape(ChatShape, "chatcmpl", service, exchange))


@routes.post("/v1/lens", response_model=Answer)
async def lens(asked: LensRequest, request: Request, service: ServiceIn, key: KeyIn) -> Response:
    """Read what every block of the impaired network would say next."""
    exchange = await _begun(request, service, key, "lens", asked, lens_question)
    try:
        content = await run_in_threadpool(lens_content, service, key, asked, exchange.question)
        receipt = await exchange.finish()
    finally:
        await exchange.close()
    return JSONResponse({"object": "lens", "model": service.network.name, **content, "rheostat": receipt})


async def _begun(
    request: Request,
    service: Service,
    key: Key,
    endpoint: str,
    asked: Asked,
    make: Callable[[Service, Key, Asked], Question],
) -> Exchange:
    """Check a request, take it on and hand it over; a refusal is recorded."""
    digest = hashlib.sha256(await request.body()).hexdigest()
    try:
        check_endpoint(key, endpoint)
        question = await run_in_threadpool(make, service, key, asked)
        exchange = Exchange(service, key, question, digest=digest)
        await exchange.start()
    except RheostatError as error:
        code = error.code if isinstance(error, Refusal) else type(error).__name__
        asked_for = {"endpoint": endpoint, "impairment": asked.impairment, "floor": key.floor, "draw": asked.draw}
        await record(service, "refused", key=key.id, request=digest, code=code, **asked_for)
        raise
    return exchange


async def _written(
    exchange: Exchange, service: Service, request: Request, asked: CompletionRequest | ChatRequest, shape: Shape
) -> Response:
    if not asked.stream:
        return await whole(exchange, shape, request)
    with_usage = asked.stream_options is not None and asked.stream_options.include_usage
    return EventStream(exchange, shape, seconds=service.settings.limits.seconds + 1, with_usage=with_usage)


def _shape(kind: type[Shape], prefix: str, service: Service, exchange: Exchange) -> Shape:
    name = f"{prefix}-{uuid.uuid4().hex}"
    logprobs = exchange.question.n_logprobs is not None
    return kind(name, service.network.name, int(time.time()), logprobs, service.network.tokens)


def _model(service: Service) -> dict[str, Any]:
    return {
        "id": service.network.name,
        "object": "model",
        "created": service.created,
        "owned_by": "rheostat",
        "context": service.network.shared_context,
        "weights": service.network.weight_hash,
        "impairment": service.dial_described(),
    }
