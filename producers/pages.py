"""The quiet addresses: liveness and documentation. What a process says of itself stands on another address."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from importlib import resources
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_NOT_FOUND: Final = b'{"success":false,"error":"there is no such address; see /docs"}'
_NOT_ALLOWED: Final = b'{"success":false,"error":"this address takes GET; see /docs"}'


def description() -> str:
    """Return the OpenAPI 3.1 description of the service as JSON text."""
    return resources.files("producers").joinpath("openapi.json").read_text(encoding="utf-8")


def pages(*, healthz: Callable[[], tuple[HTTPStatus, str, bytes]]) -> Starlette:
    """Return the application of /healthz, /openapi.json and /docs."""
    described = description()
    documentation = resources.files("producers").joinpath("docs.html").read_text(encoding="utf-8")

    async def alive(_request: Request) -> Response:
        status, content_type, body = healthz()
        return Response(body, status_code=status, media_type=content_type)

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
            Route("/healthz", alive),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
        ],
        exception_handlers={404: not_found, 405: not_allowed},
    )
