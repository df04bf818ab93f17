"""The two addresses of session intake: the site's script, and Supabase's database webhooks."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope

from producers.admission import Admission
from producers.authentication import bearer
from producers.dialects.wrapping import json_of
from producers.exchange import (
    Answer,
    refusal,
    success,
    unavailable,
    wrong_method,
)
from producers.fields import BadField
from producers.intake import Removed, Skipped, beacon, change, removal_record, session_records
from producers.publisher import NotAcknowledged, Publisher, TooLarge, check_sizes
from producers.request import Request, read_request
from runtime.metrics import RECEIVED, SENT
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.records import Outgoing
from schemas.topics import SESSIONS

# Visitors have no names here: what limits there are, are for all of them together.
_SENDER: Final = "sessions"

Take = Callable[[Any, EpochMillis], tuple[list[Outgoing], Answer]]

_received = RECEIVED.labels("session_intake")
_sent = SENT.labels("session_intake", SESSIONS.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIntake:
    """Answers session intake. ``write_key`` is known to every visitor's browser: it keeps out chance, not attackers."""

    write_key: str
    publisher: Publisher
    codec: Codec[Session]
    clock_ms: Callable[[], EpochMillis]
    max_body_bytes: int
    admission: Admission
    max_per_second: float = 0.0
    allowed_origins: frozenset[str] = frozenset()

    async def beacon(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions``: one session or an array, as JSON whatever Content-Type says (sendBeacon)."""
        return await self._answer(scope, receive, self._take_beacon, refusable=True)

    async def supabase(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions/supabase``."""
        # Supabase does not repeat what was refused.
        return await self._answer(scope, receive, self._take_change, refusable=False)

    async def _answer(self, scope: Scope, receive: Receive, take: Take, *, refusable: bool) -> Answer | None:
        if scope["method"] != "POST":
            return wrong_method(b"POST")
        request = await read_request(scope, receive, limit_bytes=self.max_body_bytes)
        if not isinstance(request, Request):
            return request
        _received.inc()
        if not self._authentic(request):
            remedy = "send it as X-Write-Key, as Authorization: Bearer, or as ?write_key="
            return refusal(401, f"the write key is missing or wrong; {remedy}")
        if not self._from_allowed_origin(request):
            return refusal(403, "sessions of this origin are not taken; add it to GOALPOST_ALLOWED_ORIGINS")
        if request.unreadable is not None:
            return request.unreadable
        wait = self.admission.enter(_SENDER, self.max_per_second, refusable=refusable)
        if isinstance(wait, Answer):
            return wait
        try:
            if wait:
                await asyncio.sleep(wait)
            return await self._take(request, take)
        finally:
            self.admission.leave(_SENDER)

    async def _take(self, request: Request, take: Take) -> Answer:
        try:
            records, answer = take(json_of(request.body), self.clock_ms())
            if records:
                check_sizes(records)
                await self.publisher.publish(records)
        except orjson.JSONDecodeError as exc:
            where = f"line {exc.lineno}, column {exc.colno}"
            return refusal(400, f"the body is not valid JSON ({exc.msg} at {where}); send valid JSON")
        except BadField as exc:
            return refusal(400, str(exc), field=exc.field)
        except TooLarge as exc:
            return refusal(413, str(exc))
        except NotAcknowledged as exc:
            return unavailable(str(exc))
        _sent.inc(len(records))
        return answer

    def _authentic(self, request: Request) -> bool:
        shown = [request.headers.get(b"x-write-key"), bearer(request.headers)]
        shown += [value.encode() for name, value in request.parameters if name == "write_key"]
        expected = self.write_key.encode()
        return any(hmac.compare_digest(expected, key) for key in shown if key)

    def _from_allowed_origin(self, request: Request) -> bool:
        """Browsers enforce CORS on answers only; a beacon of another site would be taken all the same."""
        origin = request.headers.get(b"origin")
        if origin is None or not self.allowed_origins or "*" in self.allowed_origins:
            return True
        return origin.decode("latin-1") in self.allowed_origins

    def _take_beacon(self, content: Any, received_at: EpochMillis) -> tuple[list[Outgoing], Answer]:
        if not isinstance(content, list):
            return session_records(beacon(content, received_at=received_at), self.codec), success(202, sessions=1)
        records: list[Outgoing] = []
        for index, item in enumerate(content):
            try:
                records += session_records(beacon(item, received_at=received_at), self.codec)
            except BadField as exc:
                raise exc.within(f"[{index}].") from exc
        return records, success(202, sessions=len(content))

    def _take_change(self, content: Any, received_at: EpochMillis) -> tuple[list[Outgoing], Answer]:
        if not isinstance(content, dict):
            raise BadField("body", "is not a JSON object; use Supabase's own database webhooks")
        changed = change(content, received_at=received_at)
        if isinstance(changed, Skipped):
            return [], success(202, sessions=0, skipped=1, reason=changed.why)
        if isinstance(changed, Removed):
            return [removal_record(changed)], success(202, sessions=1)
        return session_records(changed, self.codec), success(202, sessions=1)
