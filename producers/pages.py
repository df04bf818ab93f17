"""The quiet addresses: health, metrics and documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.lifecycle import Heartbeat, health, readiness_page


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What stands in the way of the work, and what else should be known, by dependency."""

    obstacles: Mapping[str, str]
    notes: Mapping[str, str]


_NOT_FOUND: Final = b'{"success":false,"error":"there is no such address; see /docs"}'
_NOT_ALLOWED: Final = b'{"success":false,"error":"this address takes GET; see /docs"}'


def description() -> str:
    """Return the OpenAPI 3.1 description of the service as JSON text."""
    return resources.files("producers").joinpath("openapi.json").read_text(encoding="utf-8")


def pages(*, heartbeat: Heartbeat, state: Callable[[], Awaitable[State]]) -> Starlette:
    """Return the application of /healthz, /readyz, /metrics, /openapi.json and /docs."""
    described = description()
    documentation = resources.files("producers").joinpath("docs.html").read_text(encoding="utf-8")

    async def healthz(_request: Request) -> Response:
        status, content_type, body = health(heartbeat)
        return Response(body, status_code=status, media_type=content_type)

    async def readyz(_request: Request) -> Response:
        found = await state()
        status, content_type, body = readiness_page(found.obstacles, found.notes)
        return Response(body, status_code=status, media_type=content_type)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def openapi(_request: Request) -> Response:
        return Response(described, media_type="application/json")

    async def docs(_request: Request) -> Response:
        return Response(documentation, media_type="text/html")

    async def not_found(_request: Request, _error: Exception) -> Response:
        return Response(_NOT_FOUND, status_code=404, media_type="application/json")

    async def not_allowed(_request: Request, _error: Exception) -> Response:
        return Response(_NOT_ALLOWED, status_code=405, headers={"allow": "GET, HEAD"}, media_type="application/json")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
        ],
        exception_handlers={404: not_found, 405: not_allowed},
    )
