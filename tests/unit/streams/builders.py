"""Events, sessions and webhooks that are valid unless a test says otherwise, and a state that is only a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.codec import Codec, UnknownSchemaId
from schemas.contracts import RAW_EVENTS, RESOLVED_CONVERSIONS, WEB_SESSIONS, Contract
from schemas.events import Conversion, GoalRule, RawEvent, Session, Webhook
from schemas.identity import event_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Incoming, Outgoing
from schemas.topics import CONVERSIONS, RAW
from streams.join import Join
from streams.resolve import Policy

NOW = 1_790_000_000_000
DAY = 24 * 3600 * 1000
POLICY = Policy(delays_ms=(10_000, 300_000), deadline_margin_ms=3_600_000)


def _codec(contract: Contract[Any]) -> Codec[Any]:
    def unknown(schema_id: int) -> str:
        raise UnknownSchemaId(schema_id)

    return contract.codec(schema_id=7, foreign_schema=unknown)


RAW_CODEC: Codec[RawEvent] = _codec(RAW_EVENTS)
SESSION_CODEC: Codec[Session] = _codec(WEB_SESSIONS)
CONVERSION_CODEC: Codec[Conversion] = _codec(RESOLVED_CONVERSIONS)


def event(**changes: Any) -> RawEvent:
    """An event of the webhook below; no ids but what is given."""
    values: dict[str, Any] = {
        "event_id": "00000000-0000-4000-8000-000000000001",
        "webhook_id": "00000000-0000-4000-8000-00000000000a",
        "dialect": "generic",
        "received_at": NOW,
        "occurred_at": NOW - 1000,
        "body": b'{"goal_name": "deal"}',
    }
    return RawEvent(**{**values, **changes})


def session(session_id: str = "s-1", **changes: Any) -> Session:
    """A session of yesterday."""
    values: dict[str, Any] = {
        "row_id": f"row-of-{session_id}",
        "session_at": NOW - DAY,
        "last_visit_at": NOW - DAY + 60_000,
        "received_at": NOW - DAY,
        "creates_row": True,
    }
    return Session(session_id=session_id, **{**values, **changes})


def webhook(**changes: Any) -> Webhook:
    """A webhook with one rule."""
    values: dict[str, Any] = {
        "webhook_id": "00000000-0000-4000-8000-00000000000a",
        "counter_id": "00000000-0000-4000-8000-0000000000cc",
        "metrika_counter_id": 4711,
        "name": "shop",
        "dialect": "generic",
        "secret_hashes": (),
        "sealed_secrets": (),
        "default_goal": "crm_conversion",
        "changed_at": 123,
        "default_currency": "RUB",
        "rules": (GoalRule(stage="won", goal="deal_won", currency="USD"),),
    }
    return Webhook(**{**values, **changes})


def raw_record(of: RawEvent, *, offset: int = 0, partition: int = 3, **changes: Any) -> Incoming:
    """``of`` as it stands in ``crm.events.raw``."""
    values: dict[str, Any] = {
        "topic": RAW.name,
        "timestamp": NOW,
        "key": event_key(of),
        "value": RAW_CODEC.encode(of),
        "headers": ((EVENT_ID_HEADER, of.event_id.encode()), (WEBHOOK_ID_HEADER, of.webhook_id.encode())),
    }
    return Incoming(partition=partition, offset=offset, **{**values, **changes})


class Known(dict[bytes, Session]):
    """Sessions by key."""

    def sessions(self, keys: Sequence[bytes]) -> list[Session | None]:
        """The session under each key."""
        return [self.get(key) for key in keys]


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        """Epoch milliseconds."""
        return self.now


PATIENT = "00000000-0000-4000-8000-00000000000b"


def joining(clock: Clock | None = None, hook: Webhook | None = None, patient: str = PATIENT) -> Join:
    """A join that knows one webhook, and ``patient``, whose events wait for their sessions through all delays."""
    hooks = (hook or webhook(), webhook(webhook_id=patient, session_wait="long"))
    known = {one.webhook_id: one for one in hooks}
    return Join(
        decode=RAW_CODEC.decode,
        encode=CONVERSION_CODEC.encode,
        webhook=known.get,
        policy=POLICY,
        clock=clock or Clock(),
    )


def conversion_in(record: Outgoing) -> Conversion:
    """The conversion that a record carries."""
    assert record.topic == CONVERSIONS.name
    return CONVERSION_CODEC.decode(record.value)


def as_read(record: Outgoing, offset: int, partition: int = 3) -> Incoming:
    """``record`` after a trip through Kafka."""
    return Incoming(
        topic=record.topic,
        partition=partition if record.partition == -1 else record.partition,
        offset=offset,
        timestamp=NOW,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
