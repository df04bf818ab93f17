"""The sessions, events and the webhook of the benchmarks: made from numbers, so that every result can be checked."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from runtime.registry import Registry
from runtime.vault import hash_of
from schemas.codec import Codec
from schemas.contracts import WEB_SESSIONS, WEBHOOK_CONFIGURATIONS
from schemas.events import Conversion, RawEvent, Session, Webhook
from schemas.identity import event_id_for, event_key, row_id_for, session_key, visitor_key
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Outgoing
from schemas.topics import SESSIONS, WEBHOOKS

SESSION_COUNT: Final = 100_000
WEBHOOK_SECRET: Final = "benchmark"
GOAL: Final = "payment_success"

_WEBHOOK_ID: Final = "7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11"
_COUNTER_ID: Final = "1f2d3c4b-5a69-4788-96a5-b4c3d2e1f001"
# Every fifth event knows only the visitor, not the session.
_BY_VISITOR_EVERY: Final = 5
# Without a common factor with any number of sessions: neighbouring events ask for sessions that are far apart.
STRIDE: Final = 7919
_ORDER_PREFIX: Final = "deal-"
_DAY_MS: Final = 24 * 60 * 60 * 1000
# Metrika's 21 days, less the two hours that it needs, less goalpost's default margin of six hours.
_UPLOADABLE_MS: Final = 21 * _DAY_MS - 8 * 60 * 60 * 1000
# What tilda-analytics.js collects about a visit comes to about this much.
_ROW_BYTES: Final = 1500

WEBHOOK: Final = Webhook(
    webhook_id=_WEBHOOK_ID,
    counter_id=_COUNTER_ID,
    metrika_counter_id=10_000_001,
    name="benchmark",
    dialect="generic",
    secret_hashes=(hash_of(WEBHOOK_SECRET),),
    sealed_secrets=(),
    default_goal="crm_conversion",
    default_currency="RUB",
    changed_at=1_700_000_000_000,
)


def webhook_record(registry: Registry) -> Outgoing:
    """Return the record that makes :data:`WEBHOOK` known."""
    codec = registry.codec(WEBHOOK_CONFIGURATIONS)
    return Outgoing(topic=WEBHOOKS.name, key=WEBHOOK.webhook_id.encode(), value=codec.encode(WEBHOOK))


def session(number: int, *, now_ms: int) -> Session:
    """Return one visitor's only session; it began within the last day."""
    session_id = f"session-{number:06d}"
    session_at = now_ms - _DAY_MS + number
    return Session(
        session_id=session_id,
        row_id=row_id_for(session_id),
        session_at=session_at,
        last_visit_at=session_at + 60_000,
        received_at=session_at,
        creates_row=False,
        ym_uid=f"17{number:016d}",
        yclid=f"{10**18 + number}" if number % 3 == 0 else None,
    )


def session_records(registry: Registry, *, count: int, now_ms: int, topic: str = SESSIONS.name) -> Iterator[Outgoing]:
    """Yield both records of each of ``count`` sessions."""
    codec = registry.codec(WEB_SESSIONS)
    for number in range(count):
        one = session(number, now_ms=now_ms)
        value = codec.encode(one)
        yield Outgoing(topic=topic, key=session_key(one.session_id), value=value)
        yield Outgoing(topic=topic, key=visitor_key(one.ym_uid or ""), value=value)


def session_of(number: int, *, sessions: int, now_ms: int) -> Session:
    """Return the session of event ``number``: a stride spreads neighbours over all of them."""
    return session(number * STRIDE % sessions, now_ms=now_ms)


def event(number: int, *, sessions: int, now_ms: int) -> RawEvent:
    """Return one conversion, of any of ``sessions`` sessions, as the webhook service would have written it."""
    visited = session_of(number, sessions=sessions, now_ms=now_ms)
    by_visitor = number % _BY_VISITOR_EVERY == 0
    given = {"ym_uid": visited.ym_uid} if by_visitor else {"session_id": visited.session_id}
    value = Decimal(number % 9973).quantize(Decimal("0.0001"))
    body: dict[str, Any] = {
        **given,
        "goal_name": GOAL,
        "goal_value": int(value),
        "order_id": f"{_ORDER_PREFIX}{number:010d}",
        "currency": "RUB",
    }
    return RawEvent(
        event_id=event_id_for(WEBHOOK.webhook_id, f"order:{body['order_id']}:{GOAL}"),
        webhook_id=WEBHOOK.webhook_id,
        dialect=WEBHOOK.dialect,
        received_at=now_ms,
        occurred_at=now_ms - number % 60_000,
        session_id=None if by_visitor else visited.session_id,
        ym_uid=visited.ym_uid if by_visitor else None,
        goal_name=GOAL,
        goal_value=value,
        currency="RUB",
        order_id=body["order_id"],
        body=json.dumps(body).encode(),
        content_type="application/json",
    )


def conversion(number: int, *, sessions: int, now_ms: int) -> Conversion:
    """Return what event ``number`` has to become, joined at time 0 from the first place of the topic."""
    one, visited = (
        event(number, sessions=sessions, now_ms=now_ms),
        session_of(number, sessions=sessions, now_ms=now_ms),
    )
    return Conversion(
        event_id=one.event_id,
        webhook_id=one.webhook_id,
        counter_id=WEBHOOK.counter_id,
        metrika_counter_id=WEBHOOK.metrika_counter_id,
        source=one.dialect,
        received_at=one.received_at,
        occurred_at=one.occurred_at,
        resolved_at=0,
        session_missing=False,
        creates_row=visited.creates_row,
        target=GOAL,
        price=one.goal_value or Decimal(0),
        price_sent=one.goal_value is not None,
        currency_sent=one.currency is not None,
        deadline_at=visited.last_visit_at + _UPLOADABLE_MS,
        payload=one.body.decode(),
        goal_rule="payload",
        rules_changed_at=WEBHOOK.changed_at,
        attempts=0,
        raw_partition=0,
        raw_offset=0,
        session_id=visited.session_id,
        row_id=visited.row_id,
        session_at=visited.session_at,
        client_id=visited.ym_uid,
        yclid=visited.yclid,
        currency=one.currency,
        order_id=one.order_id,
    )


def number_of(found: Conversion) -> int:
    """Return the number of the event that a conversion comes from."""
    return int((found.order_id or "").removeprefix(_ORDER_PREFIX))


def raw_record(one: RawEvent, codec: Codec[RawEvent], *, topic: str) -> Outgoing:
    """Return the record of an event, as the webhook service writes it."""
    headers = ((EVENT_ID_HEADER, one.event_id.encode()), (WEBHOOK_ID_HEADER, one.webhook_id.encode()))
    return Outgoing(topic=topic, key=event_key(one), value=codec.encode(one), headers=headers)


def analytics_data(number: int) -> str:
    """Return the JSON that the site has stored about a session: 1.5 KB, no goal yet."""
    content: dict[str, Any] = {
        "ids": {"ym_uid": f"17{number:016d}", "session_id": f"session-{number:06d}"},
        "utm": {"utm_source": "yandex", "utm_medium": "cpc", "utm_campaign": f"campaign-{number % 97}"},
        "target_actions": {"conversion_flag": False, "yandex_goals_triggered": []},
        "pages": [],
    }
    while len(json.dumps(content)) < _ROW_BYTES:
        page = len(content["pages"])
        content["pages"].append({"url": f"/catalog/{number}/{page}", "seconds": 17 * page, "scroll_percent": 80})
    return json.dumps(content)


def now_ms() -> int:
    """The time, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """A UUID that nothing else has."""
    return str(uuid.uuid4())
