"""The webhook addresses: authenticate, parse, publish, and answer when Kafka has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, assert_never

import uuid_utils
from starlette.types import Receive, Scope

from producers.addresses import hook_of
from producers.admission import Admission
from producers.authentication import Denied, Proof
from producers.dialects import DIALECTS, Dialect
from producers.dialects.bitrix24 import USUAL
from producers.dialects.contract import FIELDS
from producers.dialects.outcome import Excessive, Refused, Unidentified, Unparseable, Unusable
from producers.dialects.sizes import Sizes
from producers.directory import Index
from producers.exchange import (
    Answer,
    conversions_by_post,
    plain,
    refusal,
    success,
    unavailable,
    wrong_method,
)
from producers.keeping import kept_body
from producers.publisher import NotAcknowledged, Publisher, TooLarge
from producers.quarantine import UNNAMED, Quarantine, Suspect
from producers.raw_events import Delivery, query_text, without_secrets
from producers.request import Request, parameters_within, read_request
from producers.signature import Verified
from producers.signed import content_type_of, field_in_address
from producers.speaking import Stranger, authenticated, denial
from producers.spelling import spelling
from producers.taking import MISSING_IDS, Taken, taken
from producers.times import DEFAULT_ZONE
from producers.worker import Worker
from runtime.metrics import DOUBTS, IGNORED, RECEIVED, REJECTED, SENT
from schemas.codec import Codec
from schemas.construct import constructor
from schemas.events import EpochMillis, RawEvent, Webhook
from schemas.topics import IGNORED as IGNORED_TOPIC
from schemas.topics import RAW, UNFETCHED
from schemas.topics import REJECTED as REJECTED_TOPIC

_PROBED: Final = plain(200, "This is a webhook. Send conversions with POST; /docs says how.\n")

# What an address says of a conversion, in goalpost's words or in those of a Bitrix24 robot.
_TELLING: Final = frozenset(map(spelling, (*FIELDS, *chain.from_iterable(USUAL.values()))))

_delivery = constructor(Delivery)

_received = RECEIVED.labels("webhook")
_sent = SENT.labels("webhook", RAW.name)
_noted = SENT.labels("webhook", UNFETCHED.name)
_kept = SENT.labels("webhook", REJECTED_TOPIC.name)
_set_aside = SENT.labels("webhook", IGNORED_TOPIC.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Answers every webhook address. ``index`` returns the webhooks as they are now, ``clock_ms`` the time.

    What is done with a large request is done by ``worker``: everything here whose time grows with it.
    """

    index: Callable[[], Index]
    publisher: Publisher
    codec: Codec[RawEvent]
    clock_ms: Callable[[], EpochMillis]
    max_body_bytes: int
    sizes: Sizes
    worker: Worker
    admission: Admission
    quarantine: Quarantine
    zone: str = DEFAULT_ZONE

    def drop_in(self, scope: Scope, receive: Receive) -> Awaitable[Answer | None]:
        """Answer the address of the seed's function: the secret says which webhook is meant."""
        return self._answer(scope, receive, webhook_id=None, tokens=())

    def named(self, scope: Scope, receive: Receive) -> Awaitable[Answer | None]:
        """Answer ``/hooks/{webhook_id}`` and ``/hooks/{webhook_id}/{token}``."""
        webhook_id, tokens = hook_of(scope["path"])
        return self._answer(scope, receive, webhook_id=webhook_id, tokens=tokens)

    async def _answer(
        self, scope: Scope, receive: Receive, *, webhook_id: str | None, tokens: tuple[str, ...]
    ) -> Answer | None:
        if scope["method"] != "POST":
            return await self._unposted(scope)
        request = await read_request(
            scope, receive, limit_bytes=self.max_body_bytes, parameters=self.sizes.parameters, worker=self.worker
        )
        if not isinstance(request, Request):
            return request
        received_at = self.clock_ms()
        _received.inc()
        index = self.index()
        found = await self.worker.do(
            request.weight, lambda: authenticated(index, request, webhook_id, tokens, received_at / 1000)
        )
        if isinstance(found, Stranger):
            return await self._turned_away(found, request, index, received_at)
        webhook, proof = found
        dialect = DIALECTS.get(webhook.dialect)
        if dialect is None:
            return unavailable(f"this version does not know the dialect {webhook.dialect} of the webhook")
        wait = self.admission.enter(
            webhook.webhook_id, webhook.max_requests_per_second or None, refusable=dialect.refuses
        )
        if isinstance(wait, Answer):
            return wait
        try:
            if wait:
                await asyncio.sleep(wait)
            return await self._take(request, webhook, dialect, received_at, proof)
        except TooLarge as exc:
            return refusal(413, str(exc))
        except NotAcknowledged as exc:
            return unavailable(str(exc))
        finally:
            self.admission.leave(webhook.webhook_id)

    async def _turned_away(
        self, stranger: Stranger, request: Request, index: Index, received_at: EpochMillis
    ) -> Answer:
        """Answer who may not speak for a webhook, and keep the request if it may have been meant for one."""
        if not index.complete:
            return unavailable("it is not certain yet which webhooks there are")
        webhook_id = UNNAMED if stranger.meant is None else stranger.meant.webhook_id
        kept = stranger.denied in (Denied.WRONG, Denied.OTHER_SCHEME)
        if kept and self.quarantine.has_room(webhook_id, len(request.body)):
            suspect = await self.worker.do(request.weight, lambda: _suspect(request, stranger, webhook_id, received_at))
            self.quarantine.keep(suspect)
        return denial(stranger)

    async def _take(
        self, request: Request, webhook: Webhook, dialect: Dialect, received_at: EpochMillis, proof: Proof | Verified
    ) -> Answer:
        if request.unreadable is not None and dialect.refuses:
            return request.unreadable
        outcome = await self.worker.do(
            request.weight, lambda: self._taken(request, webhook, dialect, received_at, proof)
        )
        if isinstance(outcome, Answer):
            return outcome
        if not isinstance(outcome, Taken):
            return _bad_request(outcome)
        if outcome.records:
            await self.publisher.publish(outcome.records)
            _count(outcome, dialect)
        for ignored in outcome.ignored:
            IGNORED.labels(webhook.webhook_id, webhook.dialect, ignored.value).inc()
        for doubt in outcome.doubts:
            DOUBTS.labels(webhook.webhook_id, webhook.dialect, doubt.value).inc()
        return success(outcome.status, **outcome.facts)

    def _taken(
        self, request: Request, webhook: Webhook, dialect: Dialect, received_at: EpochMillis, proof: Proof | Verified
    ) -> Taken | Unusable | Answer:
        query = without_secrets(request.parameters) if request.parameters else ()
        content_type, key = request.content_type, request.key
        new_id: Callable[[], object] = uuid_utils.uuid7
        kept_as = None
        if isinstance(proof, Verified):
            if query and (field := field_in_address(query, webhook)) is not None:
                return refusal(400, f"{field} is in the address, which is not signed; send it in the body", field=field)
            query, content_type, key = (), content_type_of(request.body), proof.key
            new_id, kept_as = proof.event_ids(webhook.webhook_id).__next__, proof.letter_id(webhook.webhook_id)
        body, coding, undecoded = kept_body(request, dialect, limit_bytes=self.max_body_bytes)
        delivery = _delivery(
            webhook_id=webhook.webhook_id,
            dialect=webhook.dialect,
            received_at=received_at,
            body=body,
            coding=coding,
            undecoded=undecoded,
            content_type=content_type,
            query=query_text(query),
            key=key,
        )
        return taken(
            delivery,
            query,
            webhook,
            dialect,
            self.codec,
            new_id=new_id,
            kept_as=kept_as,
            default_zone=self.zone,
            sizes=self.sizes,
        )

    async def _unposted(self, scope: Scope) -> Answer:
        """Answer a probe; a conversion that comes this way must not be taken for delivered."""
        if scope["method"] not in ("GET", "HEAD"):
            return wrong_method(b"POST, GET, HEAD")
        found = await parameters_within(self.sizes.parameters, scope["query_string"], self.worker)
        if isinstance(found, Answer):
            return found
        return _PROBED if _TELLING.isdisjoint(spelling(name) for name, _ in found) else conversions_by_post()


def _suspect(request: Request, stranger: Stranger, webhook_id: str, received_at: EpochMillis) -> Suspect:
    dialect = None if stranger.meant is None else DIALECTS.get(stranger.meant.dialect)
    return Suspect(
        webhook_id=webhook_id,
        received_at=received_at,
        body=request.body if dialect is None else dialect.storable(request.body, request.content_type),
        headers=request.headers,
        content_type=request.content_type,
        query=query_text(without_secrets(request.parameters)),
        key=request.key,
        shown_hashes=stranger.hashes,
    )


def _count(outcome: Taken, dialect: Dialect) -> None:
    (_noted if dialect.fetched else _sent).inc(len(outcome.event_ids))
    if any(record.topic == IGNORED_TOPIC.name for record in outcome.records):
        _set_aside.inc()
    if outcome.kept_for is not None:
        _kept.inc()
        REJECTED.labels("webhook", outcome.kept_for.error_class.value).inc()


def _bad_request(outcome: Unusable) -> Answer:
    match outcome:
        case Unidentified():
            return plain(400, MISSING_IDS)
        case Refused():
            return refusal(400, outcome.message, field=outcome.field)
        case Unparseable():
            return refusal(400, outcome.message)
        case Excessive():
            return refusal(413, outcome.message)
        case _:
            assert_never(outcome)
