"""The page at `/ui`: three files, and the curves of finished evaluations. It asks the same endpoints as everyone else.

The files are open; the key is typed into the page, stays in its tab (`sessionStorage`), and is sent to this server
alone.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from rheostat.serve.service import Service

FILES = {
    "/ui": ("page.html", "text/html; charset=utf-8"),
    "/ui/page.css": ("page.css", "text/css; charset=utf-8"),
    "/ui/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""What is open to everyone."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MOST_RECORDS = 100
LARGEST_RECORD = 50_000_000
"""Bytes; a larger file is no record of ours."""
SHOWN = ("model", "task", "protocol", "points", "outcome", "refusals", "at", "ended_at")
"""What a page needs of a record; single answers are left out."""

page_routes = APIRouter(include_in_schema=False)


@page_routes.get("/ui")
@page_routes.get("/ui/page.css")
@page_routes.get("/ui/page.js")
async def page_file(request: Request) -> Response:
    """Return a file of the page."""
    name, kind = FILES[request.url.path]
    content = files("rheostat.serve").joinpath("ui", name).read_bytes()
    return Response(content, media_type=kind, headers=HEADERS)


def _records_folder(request: Request) -> Path | None:
    service: Service = request.app.state.service
    return service.settings.records


@page_routes.get("/ui/records")
def finished(folder: Annotated[Path | None, Depends(_records_folder)]) -> dict[str, Any]:
    """Return the curves of the evaluations whose records lie in the configured folder; for every good key."""
    return {"object": "list", "data": [] if folder is None else read_curves(folder)}


def read_curves(folder: Path) -> list[dict[str, Any]]:
    """Return what a page shows of each record: `NAME.json`, or `NAME/record.json`. Files that are none are left out."""
    found = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/record.json")])[:MOST_RECORDS]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))["content"] if _is_small(path) else {}
            named = {"name": path.stem if path.name != "record.json" else path.parent.name}
            shown = named | {name: content[name] for name in SHOWN}
            json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()  # what cannot be sent is no record either
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        found.append(shown)
    return found


def _is_small(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= LARGEST_RECORD
