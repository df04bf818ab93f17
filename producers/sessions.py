"""The two addresses of session intake: the site's script, and Supabase's database webhooks."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope

from producers.admission import Admission
from producers.authentication import bearer
from producers.clients import Network, client_of
from producers.dialects.sizes import USUAL_SIZES, Sizes
from producers.exchange import (
    Answer,
    refusal,
    too_fast,
    unavailable,
    wrong_method,
)
from producers.fields import BadField
from producers.limits import Rates
from producers.publisher import NotAcknowledged, Publisher, TooLarge
from producers.request import Request, read_request
from producers.session_bodies import SessionBody, of_beacon, of_supabase
from producers.supabase import NotJson
from producers.worker import Worker
from runtime.metrics import RECEIVED, SENT
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.topics import SESSIONS

# Visitors have no names here: these are all of them together, and what the site's database says.
_VISITORS: Final = "sessions"
_DATABASE: Final = "sessions of the database"
# A table's hook comes from one place for a whole site and never again, so it is slowed down late and never refused.
_DATABASE_RATE: Final = 10
# Rows that may be larger than the usual body, in hand at once: each may have megabytes. The others wait, unread.
_LARGE_ROWS: Final = 16

_received = RECEIVED.labels("session_intake")
_sent = SENT.labels("session_intake", SESSIONS.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How much is taken: bytes of a body, bytes of a table hook's, sessions a second in all and of one client.

    A client is told by its address, behind ``trusted_proxies`` by what they say. 0 a second is no limit.
    """

    body_bytes: int
    row_bytes: int
    per_second: float = 0.0
    per_client_and_second: float = 0.0
    trusted_proxies: tuple[Network, ...] = ()
    sizes: Sizes = USUAL_SIZES


Reader = Callable[[bytes, EpochMillis, Codec[Session], Sizes], SessionBody]


class SessionIntake:
    """Answers session intake.

    ``write_key`` is known to every visitor's browser: it keeps out chance, not attackers. What is done with a large
    body is done by ``worker``. ``clock`` returns seconds.
    """

    def __init__(
        self,
        *,
        write_key: str,
        publisher: Publisher,
        codec: Codec[Session],
        clock_ms: Callable[[], EpochMillis],
        admission: Admission,
        limits: SessionLimits,
        worker: Worker,
        allowed_origins: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write_key = write_key.encode()
        self._publisher = publisher
        self._codec = codec
        self._clock_ms = clock_ms
        self._admission = admission
        self._limits = limits
        self._worker = worker
        self._allowed_origins = allowed_origins
        self._clients = Rates(clock)
        self._large = asyncio.Semaphore(_LARGE_ROWS)

    async def beacon(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions``: one session or an array, as JSON whatever Content-Type says (sendBeacon)."""
        request = await self._authentic(scope, receive, self._limits.body_bytes)
        if not isinstance(request, Request):
            return request
        client = self._client(scope, request)
        wait = self._client_waits(client) or self._admission.enter(_VISITORS, self._limits.per_second, refusable=True)
        if isinstance(wait, Answer):
            return wait
        try:
            read = await self._read(request, of_beacon)
            if isinstance(read, Answer):
                return read
            self._charge(client, read.sessions - 1)
            return await self._published(read)
        finally:
            self._admission.leave(_VISITORS)

    async def supabase(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions/supabase``."""
        if _is_small(scope, self._limits.body_bytes):
            return await self._supabase(scope, receive)
        async with self._large:
            return await self._supabase(scope, receive)

    async def _supabase(self, scope: Scope, receive: Receive) -> Answer | None:
        request = await self._authentic(scope, receive, self._limits.row_bytes)
        if not isinstance(request, Request):
            return request
        wait = self._admission.enter(_DATABASE, _DATABASE_RATE * self._limits.per_second, refusable=False)
        if isinstance(wait, Answer):
            return wait
        try:
            if wait:
                await asyncio.sleep(wait)
            read = await self._read(request, of_supabase)
            return read if isinstance(read, Answer) else await self._published(read)
        finally:
            self._admission.leave(_DATABASE)

    async def _authentic(self, scope: Scope, receive: Receive, limit_bytes: int) -> Request | Answer | None:
        """Return a readable request that shows the write key and comes from where it may, or the answer to it."""
        if scope["method"] != "POST":
            return wrong_method(b"POST")
        request = await read_request(
            scope, receive, limit_bytes=limit_bytes, parameters=self._limits.sizes.parameters, worker=self._worker
        )
        if not isinstance(request, Request):
            return request
        _received.inc()
        if not self._shows_key(request):
            remedy = "send it as X-Write-Key, as Authorization: Bearer, or as ?write_key="
            return refusal(401, f"the write key is missing or wrong; {remedy}")
        if not self._from_allowed_origin(request):
            return refusal(403, "sessions of this origin are not taken; add it to GOALPOST_ALLOWED_ORIGINS")
        return request if request.unreadable is None else request.unreadable

    async def _read(self, request: Request, reader: Reader) -> SessionBody | Answer:
        try:
            received_at, sizes = self._clock_ms(), self._limits.sizes
            return await self._worker.do(request.weight, lambda: reader(request.body, received_at, self._codec, sizes))
        except NotJson as exc:
            return refusal(400, f"the body is not valid JSON ({exc}); send valid JSON")
        except BadField as exc:
            return refusal(400, str(exc), field=exc.field)
        except TooLarge as exc:
            return refusal(413, str(exc))

    async def _published(self, read: SessionBody) -> Answer:
        if read.records:
            try:
                await self._publisher.publish(read.records)
            except NotAcknowledged as exc:
                return unavailable(str(exc))
        _sent.inc(len(read.records))
        return read.answer

    def _client(self, scope: Scope, request: Request) -> str | None:
        if not self._limits.per_client_and_second:
            return None
        peer = scope.get("client")
        return client_of(peer and peer[0], request.headers.get(b"x-forwarded-for"), self._limits.trusted_proxies)

    def _client_waits(self, client: str | None) -> Answer | None:
        if client is None:
            return None
        wait = self._clients.wait_seconds(client, self._limits.per_client_and_second, at_most=0.0)
        return too_fast(wait) if wait > 0 else None

    def _charge(self, client: str | None, sessions: int) -> None:
        """Count the other sessions of an array as well, once their number is known."""
        if sessions <= 0:
            return
        self._admission.charge(_VISITORS, self._limits.per_second, sessions)
        if client is not None:
            self._clients.charge(client, self._limits.per_client_and_second, sessions)

    def _shows_key(self, request: Request) -> bool:
        shown = [request.headers.get(b"x-write-key"), bearer(request.headers)]
        shown += [value.encode() for name, value in request.parameters if name == "write_key"]
        return any(hmac.compare_digest(self._write_key, key) for key in shown if key)

    def _from_allowed_origin(self, request: Request) -> bool:
        """Browsers enforce CORS on answers only; a beacon of another site would be taken all the same."""
        origin = request.headers.get(b"origin")
        if origin is None or not self._allowed_origins or "*" in self._allowed_origins:
            return True
        return origin.decode("latin-1") in self._allowed_origins


def _is_small(scope: Scope, limit_bytes: int) -> bool:
    """Whether the head of a request promises a body of at most ``limit_bytes``, also when it is unpacked."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"")
    return declared.isdigit() and int(declared[:20]) <= limit_bytes and b"content-encoding" not in headers
