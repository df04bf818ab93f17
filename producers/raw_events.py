"""From what a sender reported to the records of ``crm.events.raw`` and ``crm.events.rejected``."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from producers.authentication import SECRET_PARAMETERS
from producers.dialects.outcome import Ignored, Reported
from producers.dialects.pairs import pairs_of
from schemas.codec import Codec
from schemas.construct import constructor
from schemas.dead_letter import Reason, letter_for
from schemas.events import EpochMillis, RawEvent
from schemas.identity import deal_key, event_id_for, event_key
from schemas.records import (
    EVENT_ID_HEADER,
    IGNORED_HEADER,
    IGNORED_STAGE_HEADER,
    WEBHOOK_ID_HEADER,
    Headers,
    Incoming,
    Outgoing,
    header,
)
from schemas.topics import IGNORED, RAW, REJECTED, UNFETCHED

_RAW: Final = RAW.name
_UNFETCHED: Final = UNFETCHED.name
_IGNORED: Final = IGNORED.name

_event = constructor(RawEvent)


class TooManyParameters(ValueError):
    """The address has more parameters than are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What all conversions of one request have in common. ``key`` is the sender's own name of this delivery.

    ``coding`` is the content-coding that ``body`` still has, ``undecoded`` why that could not be undone.
    """

    webhook_id: str
    dialect: str
    received_at: EpochMillis
    body: bytes
    content_type: str | None
    query: str | None
    key: str | None
    coding: str | None = None
    undecoded: str | None = None


def delivery_of(event: RawEvent) -> Delivery:
    """Return the request that an event came in, as far as the event has kept it."""
    return Delivery(
        webhook_id=event.webhook_id,
        dialect=event.dialect,
        received_at=event.received_at,
        body=event.body,
        content_type=event.content_type,
        query=event.query,
        key=None,
    )


def parameters_of(query_string: bytes, *, at_most: int | None = None) -> tuple[tuple[str, str], ...]:
    """Return the parameters of an address: UTF-8, else windows-1251 as in forms, and what is neither is replaced.

    ``&amp;``, as an address has it that was copied out of HTML, is an ampersand.

    Raises:
        TooManyParameters: there are more than ``at_most``.
    """
    if not query_string:
        return ()
    if at_most is not None and query_string.count(b"&") >= at_most:
        raise TooManyParameters
    for charset, errors in (("utf-8", "strict"), ("windows-1251", "strict"), ("utf-8", "replace")):
        with contextlib.suppress(UnicodeDecodeError):
            written = query_string.decode(charset, errors)
            return tuple(pairs_of(written, encoding=charset, errors=errors))
    raise AssertionError("nothing is left undecoded where it is replaced")


def without_secrets(parameters: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that may be stored."""
    return tuple((name, value) for name, value in parameters if name.strip().lower() not in SECRET_PARAMETERS)


def query_text(parameters: Sequence[tuple[str, str]]) -> str | None:
    """Return stored parameters as a query string."""
    return urlencode(parameters) if parameters else None


def raw_events(
    reported: Sequence[Reported],
    delivery: Delivery,
    *,
    new_id: Callable[[], object],
    places: Sequence[int] = (),
    kept_as: uuid.UUID | None = None,
) -> list[RawEvent]:
    """Return the events of one delivery; ``new_id`` makes an id where the sender names none of its own.

    ``places`` is where in the body they stand if that is not simply in order. Of a body that is also kept, as the dead
    letter ``kept_as``, the place makes the id, so that a replay of the whole body repeats what was taken at once.
    """
    indices = places or (range(len(reported)) if len(reported) > 1 else (None,))

    def made_up(index: int | None) -> str:
        if kept_as is None or not places:
            return str(new_id())
        return event_id_for(delivery.webhook_id, f"letter:{kept_as}#{index}")

    return [
        _raw_event(one, delivery, event_id=_event_id(one, delivery, index) or made_up(index))
        for index, one in zip(indices, reported, strict=False)
    ]


def _event_id(reported: Reported, delivery: Delivery, index: int | None) -> str | None:
    """Return the id that every repeat of this conversion gets, or ``None``.

    A delivery's key names the whole request, so within an array the position tells the conversions apart.
    """
    if reported.event_id is not None:
        return event_id_for(delivery.webhook_id, f"event_id:{reported.event_id}")
    if reported.key is not None:
        return event_id_for(delivery.webhook_id, reported.key)
    if delivery.key is not None:
        position = "" if index is None else f"#{index}"
        return event_id_for(delivery.webhook_id, f"delivery:{delivery.key}{position}")
    if reported.order_id is not None:
        what = reported.goal_name or reported.stage or ""
        return event_id_for(delivery.webhook_id, f"order:{reported.order_id}:{what}")
    return None


def _raw_event(reported: Reported, delivery: Delivery, *, event_id: str) -> RawEvent:
    return _event(
        event_id=event_id,
        webhook_id=delivery.webhook_id,
        dialect=delivery.dialect,
        received_at=delivery.received_at,
        occurred_at=delivery.received_at if reported.occurred_at is None else reported.occurred_at,
        session_id=reported.session_id,
        ym_uid=reported.ym_uid,
        yclid=reported.yclid,
        user_id=reported.user_id,
        purchase_id=reported.purchase_id,
        goal_name=reported.goal_name,
        stage=reported.stage,
        goal_value=reported.goal_value,
        currency=reported.currency,
        order_id=reported.order_id,
        payload=reported.payload,
        body=delivery.body,
        content_type=delivery.content_type,
        query=delivery.query,
        email_md5=reported.email_md5,
        phone_md5=reported.phone_md5,
        notes=reported.notes,
    )


def recorded(headers: Headers, name: str) -> str | None:
    """Return what was recorded of a request under ``name``; what no request can say, Latin-1 that is, is replaced."""
    text = header(headers, name)
    return None if text is None else text.encode("latin-1", "replace").decode("latin-1")


def raw_record(event: RawEvent, codec: Codec[RawEvent]) -> Outgoing:
    """Return the record of one event; the record's time is the broker's, because retention counts from it."""
    return Outgoing(topic=_RAW, key=event_key(event), value=codec.encode(event), headers=_headers(event))


def unfetched_record(event: RawEvent, codec: Codec[RawEvent]) -> Outgoing:
    """Return the record of a note that a deal has changed; the fetcher will read the deal."""
    return Outgoing(topic=_UNFETCHED, key=deal_key(event), value=codec.encode(event), headers=_headers(event))


def _headers(event: RawEvent) -> Headers:
    return (EVENT_ID_HEADER, event.event_id.encode()), (WEBHOOK_ID_HEADER, event.webhook_id.encode())


def rejected_record(delivery: Delivery, reason: Reason, *, letter_id: uuid.UUID) -> Outgoing:
    """Return the record that keeps a body which could not be understood: byte for byte, with the reason in headers."""
    request = Incoming(
        topic="http",
        partition=0,
        offset=0,
        timestamp=delivery.received_at,
        key=delivery.webhook_id.encode(),
        value=delivery.body,
        headers=_request_headers(delivery),
    )
    return letter_for(request, reason, topic=REJECTED.name, now_ms=delivery.received_at, letter_id=letter_id)


def ignored_record(delivery: Delivery, ignored: Iterable[Ignored], *, stage: str = "") -> Outgoing:
    """Return the record that keeps a body of which something is no conversion by today's rules; a header says why.

    ``stage`` is the one that no rule names, where the body does not tell it.
    """
    why = ",".join(sorted({one.value for one in ignored}))
    described: Headers = ((IGNORED_HEADER, why.encode()), (IGNORED_STAGE_HEADER, stage.encode("utf-8", "replace")))
    return Outgoing(
        topic=_IGNORED,
        key=delivery.webhook_id.encode(),
        value=delivery.body,
        headers=(*_request_headers(delivery), *(described if stage else described[:1])),
    )


def _request_headers(delivery: Delivery) -> Headers:
    """Return what it takes to parse a kept body again."""
    described = {
        "content-type": delivery.content_type or "",
        "query": delivery.query or "",
        "received_at": str(delivery.received_at),
        # The sender's own name of the delivery: with it a replay gives the events the ids that they would have had.
        "delivery_key": delivery.key or "",
    }
    if delivery.coding is not None:
        described["content-encoding"] = delivery.coding
    return tuple((name, value.encode("utf-8", "replace")) for name, value in described.items())
