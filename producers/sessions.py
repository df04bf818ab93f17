"""The two addresses of session intake: the site's script, and Supabase's database webhooks."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Scope

from producers.authentication import bearer
from producers.exchange import (
    Answer,
    Unread,
    headers_of,
    read_body,
    refusal,
    success,
    too_large,
    unavailable,
    wrong_method,
)
from producers.fields import BadField
from producers.intake import Removed, Skipped, beacon, change, removal_record, session_records
from producers.publisher import NotAcknowledged, Publisher, TooLarge, check_sizes
from producers.raw_events import parameters_of
from runtime.metrics import RECEIVED, SENT
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.records import Outgoing
from schemas.topics import SESSIONS

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

    async def beacon(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions``: one session or an array, as JSON whatever Content-Type says (sendBeacon)."""
        return await self._answer(scope, receive, self._take_beacon)

    async def supabase(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``POST /sessions/supabase``."""
        return await self._answer(scope, receive, self._take_change)

    async def _answer(
        self, scope: Scope, receive: Receive, take: Callable[[Any, EpochMillis], tuple[list[Outgoing], Answer]]
    ) -> Answer | None:
        if scope["method"] != "POST":
            return wrong_method(b"POST")
        headers = headers_of(scope)
        body = await read_body(headers, receive, limit_bytes=self.max_body_bytes)
        if isinstance(body, Unread):
            return too_large(self.max_body_bytes) if body is Unread.TOO_LARGE else None
        _received.inc()
        if not self._authentic(headers, scope["query_string"]):
            remedy = "send it as X-Write-Key, as Authorization: Bearer, or as ?write_key="
            return refusal(401, f"the write key is missing or wrong; {remedy}")
        try:
            records, answer = take(orjson.loads(body), self.clock_ms())
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

    def _authentic(self, headers: dict[bytes, bytes], query_string: bytes) -> bool:
        shown = [headers.get(b"x-write-key"), bearer(headers)]
        shown += [value.encode() for name, value in parameters_of(query_string) if name == "write_key"]
        expected = self.write_key.encode()
        return any(hmac.compare_digest(expected, key) for key in shown if key)

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
