"""The ASGI application: addresses with load are dispatched here by hand, the rest by Starlette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from producers.addresses import HOOKS, meant
from producers.exchange import Answer, Endpoint, unavailable
from producers.meter import Meter

DROP_IN: Final = "/functions/v1/crm-conversion-hook"
NAMED: Final = "/hooks/{webhook_id}"
SESSIONS: Final = "/sessions"
SUPABASE: Final = "/sessions/supabase"

# No address of ours is longer, whatever it is joined with; a longer one is not searched for what it may mean.
_PATH_LENGTH: Final = 4096

# How long a browser may remember that it is allowed to send sessions.
_PREFLIGHT_SECONDS: Final = 24 * 60 * 60


async def _closed(_scope: Scope, _receive: Receive) -> Answer:
    return unavailable("the service is starting")


async def _overloaded(_scope: Scope, _receive: Receive) -> Answer:
    return unavailable("the service has too much in hand")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What answers each address with load; before the service is ready, 503."""

    drop_in: Endpoint = _closed
    named: Endpoint = _closed
    beacon: Endpoint = _closed
    supabase: Endpoint = _closed


class Door:
    """The whole service as an ASGI application; closed until :meth:`open`.

    What comes beyond ``max_in_flight`` is refused unread, so that memory and answer times stay what they are.
    """

    def __init__(self, pages: ASGIApp, *, meter: Meter, allowed_origins: tuple[str, ...], max_in_flight: int) -> None:
        self._pages = pages
        self._meter = meter
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._overloaded = meter.counted("overload", _overloaded)
        self._allowed_origins = allowed_origins
        self._named: ASGIApp
        self._exact: dict[str, ASGIApp]
        self.open(Endpoints())

    def open(self, endpoints: Endpoints) -> None:
        """Let ``endpoints`` answer from now on."""
        counted = self._meter.counted
        self._named = counted(NAMED, endpoints.named)
        self._exact = {
            DROP_IN: counted(DROP_IN, endpoints.drop_in),
            SESSIONS: CORSMiddleware(
                counted(SESSIONS, endpoints.beacon),
                allow_origins=self._allowed_origins,
                allow_methods=["POST"],
                allow_headers=["Content-Type", "X-Write-Key", "Authorization"],
                max_age=_PREFLIGHT_SECONDS,
            ),
            SUPABASE: counted(SUPABASE, endpoints.supabase),
        }

    def _application(self, path: str) -> ASGIApp | None:
        return self._named if path.startswith(HOOKS) else self._exact.get(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            application = self._application(scope["path"])
            if application is None and len(scope["path"]) <= _PATH_LENGTH:
                scope = {**scope, "path": meant(scope["path"])}
                application = self._application(scope["path"])
            if application is not None:
                if self._in_flight >= self._max_in_flight:
                    application = self._overloaded
                self._in_flight += 1
                try:
                    await application(scope, receive, send)
                finally:
                    self._in_flight -= 1
                return
        await self._pages(scope, receive, send)
