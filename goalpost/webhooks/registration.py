"""Webhooks in Postgres: written so that a repeat changes nothing, and read as the configuration that Kafka is told.

Secrets are sealed before they are written. A row of the time before goalpost may hold one in clear; it is sealed when
it is read for the first time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from goalpost.admin.registration import Connection, NotRegistered
from runtime.vault import Vault, hash_of
from schemas.events import GoalRule, Webhook

_SEALED: Final = "sealed:"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPlan:
    """A webhook as a person wants it.

    ``secret`` and ``fetch_url`` are in clear; ``counter`` is the id of the row in metrika_counters; ``fields`` maps
    goalpost's name of a field to the sender's.
    """

    webhook_id: uuid.UUID
    counter: uuid.UUID
    name: str
    dialect: str
    secret: str
    url: str
    previous_secrets: tuple[str, ...] = ()
    default_goal: str = "crm_conversion"
    default_currency: str | None = None
    rules: tuple[GoalRule, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    max_requests_per_second: int | None = None
    uploads_orders: bool = False
    fetch_url: str | None = None
    signature: str = "standard"
    timezone: str | None = None
    on_change: str = "ignore"
    session_wait: str = "short"


def ensure_webhook(connection: Connection, vault: Vault, plan: WebhookPlan) -> Webhook:
    """Write a webhook, bring a removed one back, and return its configuration; equal plans change nothing."""
    if _planned(connection, vault, plan.webhook_id) != plan:
        connection.execute(
            """
            INSERT INTO offline_webhooks (id, counter_id, url, secret, previous_secrets, name, dialect, default_goal,
                                          default_currency, rules, fields, max_requests_per_second, uploads_orders,
                                          fetch_url, signature, timezone, on_change, session_wait)
            VALUES (%(id)s, %(counter)s, %(url)s, %(secret)s, %(previous)s, %(name)s, %(dialect)s, %(default_goal)s,
                    %(default_currency)s, %(rules)s, %(fields)s, %(max_requests_per_second)s, %(uploads_orders)s,
                    %(fetch_url)s, %(signature)s, %(timezone)s, %(on_change)s, %(session_wait)s)
            ON CONFLICT (id) DO UPDATE SET
                counter_id = excluded.counter_id, url = excluded.url, secret = excluded.secret,
                previous_secrets = excluded.previous_secrets, name = excluded.name, dialect = excluded.dialect,
                default_goal = excluded.default_goal, default_currency = excluded.default_currency,
                rules = excluded.rules, fields = excluded.fields,
                max_requests_per_second = excluded.max_requests_per_second, uploads_orders = excluded.uploads_orders,
                fetch_url = excluded.fetch_url, signature = excluded.signature, timezone = excluded.timezone,
                on_change = excluded.on_change, session_wait = excluded.session_wait,
                changed_at = clock_timestamp(), removed_at = NULL
            """,
            {
                "id": plan.webhook_id,
                "counter": plan.counter,
                "url": plan.url,
                "secret": vault.seal(plan.secret),
                "previous": [vault.seal(secret) for secret in plan.previous_secrets],
                "name": plan.name,
                "dialect": plan.dialect,
                "default_goal": plan.default_goal,
                "default_currency": plan.default_currency,
                "rules": Jsonb([_rule_fields(rule) for rule in plan.rules]),
                "fields": Jsonb(dict(plan.fields)),
                "max_requests_per_second": plan.max_requests_per_second,
                "uploads_orders": plan.uploads_orders,
                "fetch_url": None if plan.fetch_url is None else vault.seal(plan.fetch_url),
                "signature": plan.signature,
                "timezone": plan.timezone,
                "on_change": plan.on_change,
                "session_wait": plan.session_wait,
            },
        )
    return _webhook(_row(connection, vault, plan.webhook_id), vault)


def remove_webhook(connection: Connection, webhook_id: uuid.UUID) -> None:
    """Mark a webhook as removed. The row stays: conversions refer to it."""
    connection.execute(
        "UPDATE offline_webhooks SET removed_at = now(), changed_at = now() WHERE id = %s AND removed_at IS NULL",
        (webhook_id,),
    )


def plan_of(connection: Connection, vault: Vault, webhook_id: uuid.UUID) -> WebhookPlan:
    """Return a webhook as it was wanted last.

    Raises:
        NotRegistered: there is none.
    """
    found = _planned(connection, vault, webhook_id)
    if found is None:
        raise NotRegistered("webhook", str(webhook_id))
    return found


def webhooks(connection: Connection, vault: Vault) -> tuple[list[Webhook], list[str]]:
    """Return the configurations of all webhooks, and the ids of those that were removed."""
    removed = connection.execute("SELECT id::text FROM offline_webhooks WHERE removed_at IS NOT NULL ORDER BY id")
    gone = [str(webhook_id) for (webhook_id,) in removed]
    listed = connection.execute("SELECT id FROM offline_webhooks WHERE removed_at IS NULL ORDER BY created_at, id")
    return [_webhook(_row(connection, vault, webhook_id), vault) for (webhook_id,) in listed.fetchall()], gone


def counter_time_zone(connection: Connection, counter: uuid.UUID) -> str | None:
    """Return the zone that somebody has said a counter counts in."""
    (zone,) = connection.execute("SELECT time_zone FROM metrika_counters WHERE id = %s", (counter,)).fetchall()[0]
    return None if zone is None else str(zone)


def _planned(connection: Connection, vault: Vault, webhook_id: uuid.UUID) -> WebhookPlan | None:
    """The webhook's plan, or ``None`` where there is none or it was removed."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            "SELECT * FROM offline_webhooks WHERE id = %s AND removed_at IS NULL", (webhook_id,)
        ).fetchone()
    if row is None:
        return None
    return WebhookPlan(
        webhook_id=row["id"],
        counter=row["counter_id"],
        name=row["name"] or "",
        dialect=row["dialect"],
        secret=_opened(vault, row["secret"] or ""),
        previous_secrets=tuple(_opened(vault, secret) for secret in row["previous_secrets"]),
        url=row["url"],
        default_goal=row["default_goal"],
        default_currency=row["default_currency"],
        rules=_rules(row["rules"]),
        fields=row["fields"],
        max_requests_per_second=row["max_requests_per_second"],
        uploads_orders=row["uploads_orders"],
        fetch_url=None if row["fetch_url"] is None else vault.open(row["fetch_url"]),
        signature=row["signature"],
        timezone=row["timezone"],
        on_change=row["on_change"],
        session_wait=row["session_wait"],
    )


def _row(connection: Connection, vault: Vault, webhook_id: uuid.UUID) -> dict[str, Any]:
    """The webhook's row with Metrika's number of its counter; a secret in clear is sealed on the way."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT webhook.*, counter.counter_id AS metrika_counter_id, counter.time_zone AS counter_time_zone,
                   (extract(epoch FROM webhook.changed_at) * 1000)::bigint AS changed_ms
            FROM offline_webhooks AS webhook JOIN metrika_counters AS counter ON counter.id = webhook.counter_id
            WHERE webhook.id = %s
            """,
            (webhook_id,),
        ).fetchone()
        assert row is not None  # noqa: S101 - written or listed just before, and rows are never deleted
        if row["secret"] and not row["secret"].startswith(_SEALED):
            row["secret"] = vault.seal(row["secret"])
            cursor.execute("UPDATE offline_webhooks SET secret = %s WHERE id = %s", (row["secret"], webhook_id))
    return row


def _webhook(row: dict[str, Any], vault: Vault) -> Webhook:
    sealed = [secret for secret in (row["secret"], *row["previous_secrets"]) if secret]
    return Webhook(
        webhook_id=str(row["id"]),
        counter_id=str(row["counter_id"]),
        metrika_counter_id=row["metrika_counter_id"],
        name=row["name"] or "",
        dialect=row["dialect"],
        secret_hashes=tuple(hash_of(_opened(vault, secret)) for secret in sealed),
        sealed_secrets=tuple(sealed),
        default_goal=row["default_goal"],
        changed_at=row["changed_ms"],
        default_currency=row["default_currency"],
        rules=_rules(row["rules"]),
        fields=row["fields"],
        max_requests_per_second=row["max_requests_per_second"],
        uploads_orders=row["uploads_orders"],
        sealed_fetch_url=row["fetch_url"],
        signature=row["signature"],
        # Where neither says, the processes that read times have GOALPOST_TIMEZONE.
        timezone=row["timezone"] or row["counter_time_zone"],
        on_change=row["on_change"],
        session_wait=row["session_wait"],
    )


def _opened(vault: Vault, stored: str) -> str:
    return vault.open(stored) if stored.startswith(_SEALED) else stored


def _rule_fields(rule: GoalRule) -> dict[str, str | None]:
    return {**asdict(rule), "value": None if rule.value is None else str(rule.value)}


def _rules(listed: Iterable[dict[str, Any]]) -> tuple[GoalRule, ...]:
    return tuple(
        GoalRule(
            stage=one["stage"],
            goal=one["goal"],
            value=None if one.get("value") is None else Decimal(str(one["value"])),
            currency=one.get("currency"),
        )
        for one in listed
    )
