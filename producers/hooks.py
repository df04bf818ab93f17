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
from producers.authentication import Denied, Proof, entry_by_secret, hashes_of, proof_by_id, shown_hashes
from producers.dialects import DIALECTS, Dialect
from producers.dialects.bitrix24 import USUAL
from producers.dialects.contract import FIELDS
from producers.dialects.outcome import Refused, Unidentified, Unparseable, Unusable
from producers.directory import Entry, Index
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
from producers.raw_events import Delivery, parameters_of, query_text, without_secrets
from producers.request import Request, read_request
from producers.signature import Verified
from producers.signed import content_type_of, field_in_address
from producers.spelling import spelling
from producers.taking import MISSING_IDS, Taken, taken
from producers.times import DEFAULT_ZONE
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
    """Answers every webhook address. ``index`` returns the webhooks as they are now, ``clock_ms`` the time."""

    index: Callable[[], Index]
    publisher: Publisher
    codec: Codec[RawEvent]
    clock_ms: Callable[[], EpochMillis]
    max_body_bytes: int
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
            return _unposted(scope)
        request = await read_request(scope, receive, limit_bytes=self.max_body_bytes)
        if not isinstance(request, Request):
            return request
        received_at = self.clock_ms()
        _received.inc()
        found = self._authenticated(request, webhook_id, tokens, received_at)
        if isinstance(found, Answer):
            return found
        webhook, proof = found
        dialect = DIALECTS.get(webhook.dialect)
        if dialect is None:
            return unavailable(f"this version does not know the dialect {webhook.dialect} of the webhook")
        wait = self.admission.enter(webhook.webhook_id, webhook.max_requests_per_second, refusable=dialect.refuses)
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

    def _authenticated(
        self, request: Request, webhook_id: str | None, tokens: tuple[str, ...], received_at: EpochMillis
    ) -> tuple[Webhook, Proof | Verified] | Answer:
        index = self.index()
        found: Entry | Proof | Verified | Denied
        meant: Webhook | None = None
        hashes = shown_hashes(request.headers, request.secrets(tokens))
        if webhook_id is None:
            found = entry_by_secret(index, hashes)
            if isinstance(found, Entry):
                return found.webhook, Proof.SECRET
        elif (entry := index.by_id.get(webhook_id)) is None:
            found = Denied.UNKNOWN_WEBHOOK
        else:
            bodies = (request.body,) if request.body is request.sent else (request.sent, request.body)
            found = proof_by_id(entry, hashes, request.headers, bodies, now_seconds=received_at / 1000)
            if isinstance(found, Denied) and (in_body := _hashes_in_body(request, entry.webhook)):
                hashes += in_body
                found = proof_by_id(entry, hashes, request.headers, bodies, now_seconds=received_at / 1000)
            if not isinstance(found, Denied):
                return entry.webhook, found
            meant = entry.webhook
        if not index.complete:
            return unavailable("it is not certain yet which webhooks there are")
        if found in (Denied.WRONG, Denied.OTHER_SCHEME):
            self.quarantine.keep(_suspect(request, meant, hashes, received_at))
        return _denial(found, meant)

    async def _take(
        self, request: Request, webhook: Webhook, dialect: Dialect, received_at: EpochMillis, proof: Proof | Verified
    ) -> Answer:
        if request.unreadable is not None and dialect.refuses:
            return request.unreadable
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
        outcome = taken(
            delivery,
            query,
            webhook,
            dialect,
            self.codec,
            new_id=new_id,
            kept_as=kept_as,
            default_zone=self.zone,
        )
        if not isinstance(outcome, Taken):
            return _bad_request(outcome)
        if outcome.records:
            await self.publisher.publish(outcome.records)
            _count(outcome, dialect)
        for ignored in outcome.ignored:
            IGNORED.labels(delivery.webhook_id, delivery.dialect, ignored.value).inc()
        for doubt in outcome.doubts:
            DOUBTS.labels(delivery.webhook_id, delivery.dialect, doubt.value).inc()
        return success(outcome.status, **outcome.facts)


def _unposted(scope: Scope) -> Answer:
    """Answer a probe; a conversion that comes this way must not be taken for delivered."""
    probing = scope["method"] in ("GET", "HEAD")
    if probing and _TELLING.isdisjoint(spelling(name) for name, _ in parameters_of(scope["query_string"])):
        return _PROBED
    return conversions_by_post() if probing else wrong_method(b"POST, GET, HEAD")


def _hashes_in_body(request: Request, webhook: Webhook) -> list[str]:
    dialect = DIALECTS.get(webhook.dialect)
    if dialect is None or dialect.secrets is None:
        return []
    return hashes_of([secret.encode() for secret in dialect.secrets(request.body, request.content_type)])


def _suspect(request: Request, webhook: Webhook | None, hashes: list[str], received_at: EpochMillis) -> Suspect:
    dialect = None if webhook is None else DIALECTS.get(webhook.dialect)
    return Suspect(
        webhook_id=UNNAMED if webhook is None else webhook.webhook_id,
        received_at=received_at,
        body=request.body if dialect is None else dialect.storable(request.body, request.content_type),
        headers=request.headers,
        content_type=request.content_type,
        query=query_text(without_secrets(request.parameters)),
        key=request.key,
        shown_hashes=hashes,
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
        case _:
            assert_never(outcome)


def _denial(denied: Denied, webhook: Webhook | None) -> Answer:
    challenge = ((b"www-authenticate", b"Bearer"),)
    match denied:
        case Denied.UNKNOWN_WEBHOOK:
            return refusal(404, "there is no such webhook; copy its address from `goalpost admin webhook list`")
        case Denied.ABSENT:
            remedy = "send it as Authorization: Bearer, as X-Webhook-Secret, or sign the request"
            return refusal(401, f"the webhook's secret is missing; {remedy}", headers=challenge)
        case Denied.WRONG:
            remedy = "compare it with the one that was shown when the webhook was made, and check the sender's clock"
            return refusal(401, f"the secret or signature is wrong or too old; {remedy}", headers=challenge)
        case Denied.OTHER_SCHEME:
            scheme = "none" if webhook is None else webhook.signature
            remedy = "sign so, or change it with `goalpost admin webhook change --signature`"
            return refusal(401, f"this webhook's signature scheme is {scheme}; {remedy}", headers=challenge)
        case Denied.SHARED:
            remedy = "send to /hooks/{webhook_id}"
            return refusal(401, f"several webhooks have this secret; {remedy}", headers=challenge)
        case _:
            assert_never(denied)
