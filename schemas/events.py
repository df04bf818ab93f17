"""What stages tell each other: one frozen dataclass per Avro schema, with the schema's field names.

Times are epoch milliseconds (UTC) as ``int``: exact, cheap and independent of time zones. Money is ``Decimal``.
Identifiers of visitors and clicks are text, because they exceed 2^53 and JavaScript or a float would corrupt them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

EpochMillis = int

# The stage of a goal rule that holds for whatever no other rule names.
ANY_STAGE: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """A conversion as a CRM reported it (``crm.events.raw``, ``crm.events.waiting``)."""

    event_id: str
    webhook_id: str
    dialect: str
    received_at: EpochMillis
    occurred_at: EpochMillis
    session_id: str | None = None
    ym_uid: str | None = None
    yclid: str | None = None
    user_id: str | None = None
    purchase_id: str | None = None
    goal_name: str | None = None
    stage: str | None = None
    goal_value: Decimal | None = None
    currency: str | None = None
    order_id: str | None = None
    payload: str | None = None
    body: bytes = b""
    content_type: str | None = None
    query: str | None = None
    email_md5: str | None = None
    phone_md5: str | None = None
    notes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A web session (``web.sessions``); ``analytics_data`` only travels in ``s:`` records with ``creates_row``."""

    session_id: str
    row_id: str
    session_at: EpochMillis
    last_visit_at: EpochMillis
    received_at: EpochMillis
    creates_row: bool
    ym_uid: str | None = None
    yclid: str | None = None
    user_id: str | None = None
    analytics_data: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion joined with its session (``crm.conversions``)."""

    event_id: str
    webhook_id: str
    counter_id: str
    metrika_counter_id: int
    source: str
    received_at: EpochMillis
    occurred_at: EpochMillis
    resolved_at: EpochMillis
    session_missing: bool
    creates_row: bool
    target: str
    price: Decimal
    deadline_at: EpochMillis
    payload: str
    goal_rule: str
    rules_changed_at: EpochMillis
    attempts: int
    raw_partition: int
    raw_offset: int
    session_id: str | None = None
    row_id: str | None = None
    session_at: EpochMillis | None = None
    client_id: str | None = None
    yclid: str | None = None
    user_id: str | None = None
    purchase_id: str | None = None
    currency: str | None = None
    order_id: str | None = None
    email_md5: str | None = None
    phone_md5: str | None = None
    notes: str | None = None
    price_sent: bool = False
    currency_sent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a conversion at Metrika (``crm.conversions.outcomes``)."""

    event_id: str
    webhook_id: str
    metrika_counter_id: int
    outcome: str
    target: str
    at: EpochMillis
    order_id: str | None = None
    metrika_upload_id: str | None = None
    error_class: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalRule:
    """A CRM stage and the goal it stands for; the stage ``*`` is any that has no rule of its own."""

    stage: str
    goal: str
    value: Decimal | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Configuration of one webhook (``goalpost.webhooks``)."""

    webhook_id: str
    counter_id: str
    metrika_counter_id: int
    name: str
    dialect: str
    secret_hashes: tuple[str, ...]
    sealed_secrets: tuple[str, ...]
    default_goal: str
    changed_at: EpochMillis
    default_currency: str | None = None
    rules: tuple[GoalRule, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    max_requests_per_second: int | None = None
    uploads_orders: bool = False
    sealed_fetch_url: str | None = None
    signature: str = "standard"
    timezone: str | None = None
    on_change: str = "ignore"
    session_wait: str = "short"
