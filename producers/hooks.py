"""The webhook addresses: authenticate, parse, publish, and answer when Kafka has it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import uuid_utils
from starlette.types import Receive, Scope

from producers.authentication import SECRET_PARAMETERS, Denied, Knock, entry_by_id, entry_by_secret
from producers.dialects import DIALECTS
from producers.dialects.outcome import Parsed, Refused, Reported, Submission, Unidentified, Unparseable
from producers.directory import Entry, Index
from producers.exchange import (
    Answer,
    Unread,
    headers_of,
    plain,
    read_body,
    refusal,
    success,
    too_large,
    unavailable,
    wrong_method,
)
from producers.publisher import NotAcknowledged, Publisher, TooLarge, check_sizes
from producers.raw_events import (
    COPIES_LIMIT_BYTES,
    Delivery,
    parameters_of,
    query_text,
    raw_events,
    raw_record,
    rejected_record,
    without_secrets,
)
from runtime.metrics import RECEIVED, REJECTED, SENT
from schemas.codec import Codec
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import EpochMillis, RawEvent
from schemas.topics import RAW
from schemas.topics import REJECTED as REJECTED_TOPIC

# The words of the seed's edge function; its callers may look for them.
MISSING_IDS: Final = "Missing session_id or ym_uid"

_PROBED: Final = plain(200, "This is a webhook. Send conversions with POST; /docs says how.\n")

_received = RECEIVED.labels("webhook")
_sent = SENT.labels("webhook", RAW.name)
_kept = SENT.labels("webhook", REJECTED_TOPIC.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Answers every webhook address. ``index`` returns the webhooks as they are now, ``clock_ms`` the time."""

    index: Callable[[], Index]
    publisher: Publisher
    codec: Codec[RawEvent]
    clock_ms: Callable[[], EpochMillis]
    max_body_bytes: int

    async def drop_in(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer the address of the seed's function: the secret says which webhook is meant."""
        return await self._answer(scope, receive, webhook_id=None, token=None)

    async def named(self, scope: Scope, receive: Receive) -> Answer | None:
        """Answer ``/hooks/{webhook_id}`` and ``/hooks/{webhook_id}/{token}``."""
        _, _, webhook_id, *rest = scope["path"].split("/", 3)
        token = rest[0].rstrip("/") if rest else ""
        return await self._answer(scope, receive, webhook_id=webhook_id, token=token or None)

    async def _answer(
        self, scope: Scope, receive: Receive, *, webhook_id: str | None, token: str | None
    ) -> Answer | None:
        if scope["method"] != "POST":
            return _PROBED if scope["method"] in ("GET", "HEAD") else wrong_method(b"POST, GET, HEAD")
        headers = headers_of(scope)
        body = await read_body(headers, receive, limit_bytes=self.max_body_bytes)
        if isinstance(body, Unread):
            return too_large(self.max_body_bytes) if body is Unread.TOO_LARGE else None
        received_at = self.clock_ms()
        _received.inc()
        parameters = parameters_of(scope["query_string"])
        entry = self._entry(headers, body, parameters, webhook_id, token, received_at)
        if isinstance(entry, Answer):
            return entry
        allowed = without_secrets(parameters)
        content_type = headers[b"content-type"].decode("latin-1") if b"content-type" in headers else None
        delivery = Delivery(
            webhook_id=entry.webhook.webhook_id,
            dialect=entry.webhook.dialect,
            received_at=received_at,
            body=body,
            content_type=content_type,
            query=query_text(allowed),
            key=_delivery_key(headers),
        )
        try:
            return await self._take(delivery, allowed)
        except TooLarge as exc:
            return refusal(413, str(exc))
        except NotAcknowledged as exc:
            return unavailable(str(exc))

    def _entry(
        self,
        headers: dict[bytes, bytes],
        body: bytes,
        parameters: tuple[tuple[str, str], ...],
        webhook_id: str | None,
        token: str | None,
        received_at: EpochMillis,
    ) -> Entry | Answer:
        in_query = tuple(value for name, value in parameters if name.lower() in SECRET_PARAMETERS and value)
        knock = Knock(headers=headers, body=body, tokens=(token, *in_query) if token else in_query)
        index = self.index()
        if not index.complete:
            return unavailable("the service is starting and does not know every webhook yet")
        found = (
            entry_by_secret(index, knock)
            if webhook_id is None
            else entry_by_id(index, webhook_id, knock, now_seconds=received_at / 1000)
        )
        return found if isinstance(found, Entry) else _denial(found)

    async def _take(self, delivery: Delivery, parameters: tuple[tuple[str, str], ...]) -> Answer:
        parse = DIALECTS.get(delivery.dialect)
        if parse is None:
            return unavailable(f"this version does not know the dialect {delivery.dialect} of the webhook")
        outcome = parse(
            Submission(
                body=delivery.body,
                content_type=delivery.content_type,
                query=parameters,
                received_at=delivery.received_at,
            )
        )
        if isinstance(outcome, Parsed):
            return await self._publish(outcome.events, delivery)
        if outcome.kept:
            return await self._keep(outcome, delivery)
        return _bad_request(outcome)

    async def _publish(self, reported: tuple[Reported, ...], delivery: Delivery) -> Answer:
        if not reported:
            return success(200, event_ids=[])
        if len(reported) * len(delivery.body) > COPIES_LIMIT_BYTES and len(reported) > 1:
            return refusal(413, f"an array of {len(reported)} conversions in one body is too much; send smaller ones")
        events = raw_events(reported, delivery, new_id=uuid_utils.uuid7)
        records = [raw_record(event, self.codec) for event in events]
        check_sizes(records)
        await self.publisher.publish(records)
        _sent.inc(len(events))
        return success(202, event_ids=[event.event_id for event in events])

    async def _keep(self, outcome: Unidentified | Refused | Unparseable, delivery: Delivery) -> Answer:
        reason = _reason(outcome)
        await self.publisher.publish([rejected_record(delivery, reason, letter_id=uuid.uuid4())])
        _kept.inc()
        REJECTED.labels("webhook", reason.error_class.value).inc()
        return success(200, event_ids=[], rejected=reason.message)


def _delivery_key(headers: dict[bytes, bytes]) -> str | None:
    """Return the sender's own name of this delivery: ``Idempotency-Key``, else Standard Webhooks' ``webhook-id``."""
    given = headers.get(b"idempotency-key") or headers.get(b"webhook-id")
    return given.decode("latin-1") if given else None


def _reason(outcome: Unidentified | Refused | Unparseable) -> Reason:
    match outcome:
        case Unidentified():
            return Reason(error_class=ErrorClass.EVENT_INVALID, stage=Stage.PARSE, message=MISSING_IDS)
        case Refused():
            return Reason(error_class=ErrorClass.EVENT_INVALID, stage=Stage.PARSE, message=outcome.message)
        case Unparseable():
            return Reason(error_class=ErrorClass.BODY_UNPARSEABLE, stage=Stage.PARSE, message=outcome.message)
        case _:
            assert_never(outcome)


def _bad_request(outcome: Unidentified | Refused | Unparseable) -> Answer:
    match outcome:
        case Unidentified():
            return plain(400, MISSING_IDS)
        case Refused():
            return refusal(400, outcome.message, field=outcome.field)
        case Unparseable():
            return refusal(400, outcome.message)
        case _:
            assert_never(outcome)


def _denial(denied: Denied) -> Answer:
    challenge = ((b"www-authenticate", b"Bearer"),)
    match denied:
        case Denied.UNKNOWN_WEBHOOK:
            return refusal(404, "there is no such webhook; copy its address from `goalpost admin webhook list`")
        case Denied.ABSENT:
            remedy = "send it as Authorization: Bearer, as X-Webhook-Secret, or sign the request"
            return refusal(401, f"the webhook's secret is missing; {remedy}", headers=challenge)
        case Denied.WRONG:
            remedy = "compare it with the one that was shown when the webhook was made, and check the sender's clock"
            return refusal(401, f"the secret or signature is wrong; {remedy}", headers=challenge)
        case Denied.SHARED:
            remedy = "send to /hooks/{webhook_id}"
            return refusal(401, f"several webhooks have this secret; {remedy}", headers=challenge)
        case _:
            assert_never(denied)
