"""What is stored of an authentic request, and what its sender is told. Pure: a replay takes a body the same way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final, assert_never

from producers.dialects import Dialect
from producers.dialects.outcome import (
    Doubt,
    Excessive,
    Ignored,
    Parsed,
    Refused,
    Submission,
    Unidentified,
    Unparseable,
    Unusable,
)
from producers.dialects.sizes import USUAL_SIZES, Sizes
from producers.publisher import TooLarge, check_sizes
from producers.raw_events import (
    Delivery,
    ignored_record,
    raw_events,
    raw_record,
    rejected_record,
    unfetched_record,
)
from producers.times import DEFAULT_ZONE, zone_of
from schemas.codec import Codec
from schemas.construct import constructor
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.events import RawEvent, Webhook
from schemas.records import Outgoing

# The words of the seed's edge function; its callers may look for them.
MISSING_IDS: Final = "Missing session_id or ym_uid"
_NO_VISITOR: Final = (
    f"{MISSING_IDS}, or yclid, user_id, purchase_id; let the CRM send one, or say in which field it does "
    "(goalpost admin webhook change --field)"
)


_submission = constructor(Submission)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What to publish, all or nothing, and what then to answer.

    ``kept_for`` says why the body itself is among it, ``doubts`` what of its events was not taken as it was sent.
    """

    records: list[Outgoing]
    event_ids: list[str]
    ignored: tuple[Ignored, ...]
    kept_for: Reason | None
    status: int
    doubts: tuple[Doubt, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What the answer says."""
        facts: dict[str, Any] = {"event_ids": self.event_ids}
        if self.ignored:
            facts["ignored"] = len(self.ignored)
        if self.kept_for is not None:
            facts["rejected"] = self.kept_for.message
        return facts


_all_taken = constructor(Taken)


def taken(
    delivery: Delivery,
    query: tuple[tuple[str, str], ...],
    webhook: Webhook,
    dialect: Dialect,
    codec: Codec[RawEvent],
    *,
    new_id: Callable[[], object],
    kept_as: uuid.UUID | None = None,
    default_zone: str = DEFAULT_ZONE,
    sizes: Sizes = USUAL_SIZES,
) -> Taken | Unusable:
    """Return what becomes of a request to ``webhook``, or why its sender has to be refused.

    ``kept_as`` is the id of the dead letter that the body is already, or would be. ``default_zone`` is where times
    without an offset are local if the webhook does not say.

    Raises:
        TooLarge: a sender that can be refused has sent more than can be stored; nobody else is refused for it.
    """
    if delivery.undecoded is not None:
        undecoded = Parsed(events=(), left_over=Unparseable(message=delivery.undecoded, kept=True))
        return _taken(undecoded, delivery, dialect, codec, new_id, kept_as)
    submission = _submission(
        body=delivery.body,
        content_type=delivery.content_type,
        query=query,
        received_at=delivery.received_at,
        fields=webhook.fields,
        rules=webhook.rules,
        contacts=webhook.uploads_orders,
        zone=zone_of(webhook, default_zone),
        currency=webhook.default_currency,
        sizes=sizes,
    )
    outcome = dialect.parse(submission)
    if not isinstance(outcome, Parsed):
        if not outcome.kept:
            return outcome
        outcome = Parsed(events=(), left_over=outcome)
    try:
        return _taken(outcome, delivery, dialect, codec, new_id, kept_as)
    except TooLarge as exc:
        if dialect.refuses:
            raise
        whole = replace(outcome, events=(), left_over=Unparseable(message=str(exc), kept=True))
        return _taken(whole, delivery, dialect, codec, new_id, kept_as)


def _taken(
    parsed: Parsed,
    delivery: Delivery,
    dialect: Dialect,
    codec: Codec[RawEvent],
    new_id: Callable[[], object],
    kept_as: uuid.UUID | None,
) -> Taken:
    reported = parsed.events
    if kept_as is None and parsed.left_over is not None:
        kept_as = uuid.uuid4()
    events = raw_events(reported, delivery, new_id=new_id, places=parsed.places, kept_as=kept_as)
    record_of = unfetched_record if dialect.fetched else raw_record
    records = [record_of(event, codec) for event in events]
    check_sizes(records)
    kept_for = None if parsed.left_over is None else _reason(parsed.left_over)
    if kept_for is not None and kept_as is not None:
        records.append(rejected_record(delivery, kept_for, letter_id=kept_as))
    if any(one.may_count for one in parsed.ignored):
        records.append(ignored_record(delivery, parsed.ignored))
    return _all_taken(
        records=records,
        event_ids=[event.event_id for event in events],
        ignored=parsed.ignored,
        kept_for=kept_for,
        status=dialect.taken_status if events else 200,
        doubts=reported[0].doubts if len(reported) == 1 else tuple(chain.from_iterable(one.doubts for one in reported)),
    )


def _reason(left_over: Unusable) -> Reason:
    match left_over:
        case Unidentified():
            return Reason(error_class=ErrorClass.NO_VISITOR, stage=Stage.PARSE, message=_NO_VISITOR)
        case Refused():
            return Reason(error_class=ErrorClass.EVENT_INVALID, stage=Stage.PARSE, message=left_over.message)
        case Unparseable() | Excessive():
            return Reason(error_class=ErrorClass.BODY_UNPARSEABLE, stage=Stage.PARSE, message=left_over.message)
        case _:
            assert_never(left_over)
