"""The application: endpoints behind the gate, errors in one form, and its OpenAPI."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from rheostat import __version__
from rheostat.base.errors import FileNotUsable, InternalError, RheostatError
from rheostat.serve.answers import refused
from rheostat.serve.gate import Gate
from rheostat.serve.page import page_routes
from rheostat.serve.refusals import BadRequest
from rheostat.serve.routes import open_routes, routes
from rheostat.serve.service import Service

_log = logging.getLogger("rheostat")


def make_app(service: Service) -> FastAPI:
    """Return the application of a service; it closes the service when it ends."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.close)

    app = FastAPI(
        title="rheostat",
        version=__version__,
        description="A language model behind a dial: OpenAI's endpoints with the field `impairment`.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,  # both would load scripts from elsewhere
        separate_input_output_schemas=False,
    )
    app.state.service = service
    app.include_router(open_routes)
    app.include_router(routes)
    app.include_router(page_routes)
    app.add_middleware(Gate, service=service)
    app.add_exception_handler(RheostatError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)
    described = app.openapi()
    _without_422(described)
    return app


def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RheostatError)
    if isinstance(error, FileNotUsable):  # a file of the server's; where it lies is the operator's affair
        _log.error("FileNotUsable: %s", error)
        error = InternalError("the server cannot use one of its files; its operator finds it in the log.")
    elif isinstance(error, InternalError):
        _log.error("InternalError: %s", error)
    return refused(error)


def _on_malformed(_request: Request, error: Exception) -> Response:
    """Name the first field that does not fit; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return refused(BadRequest(f"{place}: {first['msg']}." if place else f"{first['msg']}."))


def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = refused(BadRequest(str(error.detail)))
    response.status_code = error.status_code
    response.headers.update(error.headers or {})
    return response


def _on_bug(_request: Request, error: Exception) -> Response:
    _log.error("InternalError: %s", type(error).__name__, exc_info=error)
    return refused(InternalError("the server made a mistake; its operator finds it in the log."))


def _without_422(described: dict[str, Any]) -> None:
    """Take out what FastAPI says of its own errors: here they have OpenAI's form and the status 400."""
    for path in described["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
