"""SQL over ``outcome_outbox``: what other teams still have to be told, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection
from psycopg.rows import kwargs_row

from schemas.events import Conversion, EpochMillis

_LOCK_SPACE: Final = 0x6F757462  # "outb"

# The conversion as crm.conversions had it. Rows of versions that did not note who creates the analytics row say nobody.
_READ: Final = """
    SELECT news.id AS news_id, news.outcome, news.error_class, news.error_message,
           news.metrika_upload_id, (extract(epoch FROM news.at) * 1000)::bigint AS at,
           stored.conversion_partition, stored.conversion_offset, stored.upload::text AS upload_batch_id,
           news.conversion_id::text AS event_id, stored.webhook_id::text, stored.counter_id::text,
           counter.counter_id AS metrika_counter_id, coalesce(stored.external_source, '') AS source,
           (extract(epoch FROM coalesce(stored.received_at, stored.created_at)) * 1000)::bigint AS received_at,
           (extract(epoch FROM coalesce(stored.occurred_at, stored.created_at)) * 1000)::bigint AS occurred_at,
           (extract(epoch FROM coalesce(stored.resolved_at, stored.created_at)) * 1000)::bigint AS resolved_at,
           (extract(epoch FROM coalesce(stored.deadline_at, stored.created_at)) * 1000)::bigint AS deadline_at,
           (extract(epoch FROM coalesce(stored.rules_changed_at, stored.created_at)) * 1000)::bigint
               AS rules_changed_at,
           coalesce(stored.session_missing, FALSE) AS session_missing, stored.session_id,
           coalesce(stored.creates_row, FALSE) AS creates_row,
           (extract(epoch FROM stored.session_at) * 1000)::bigint AS session_at,
           stored.analytics_row_id AS row_id, stored.client_id, stored.yclid, stored.user_id, stored.purchase_id,
           coalesce(stored.target, '') AS target, coalesce(stored.price, 0) AS price, stored.currency,
           stored.order_id, stored.payload::text AS payload, coalesce(stored.goal_rule, '') AS goal_rule,
           coalesce(stored.attempts, 0) AS attempts, coalesce(stored.raw_partition, -1) AS raw_partition,
           coalesce(stored.raw_offset, -1) AS raw_offset, stored.email_md5, stored.phone_md5
    FROM outcome_outbox AS news
    LEFT JOIN webhook_conversions AS stored ON stored.id = news.conversion_id
    LEFT JOIN metrika_counters AS counter ON counter.id = stored.counter_id
    ORDER BY news.id
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One thing to tell. ``conversion`` is ``None`` where its row has been erased meanwhile."""

    id: int
    event_id: str
    outcome: str
    at: EpochMillis
    error_class: str | None
    error_message: str | None
    metrika_upload_id: str | None
    conversion: Conversion | None
    conversion_partition: int | None
    conversion_offset: int | None
    upload_batch_id: str | None = None


def hold(connection: Connection) -> bool:
    """Become the one process that publishes, for as long as the connection lives; ``False`` when another one is."""
    row = connection.execute("SELECT pg_try_advisory_lock(%s, 0)", (_LOCK_SPACE,)).fetchone()
    return row is not None and bool(row[0])


def read(connection: Connection, *, limit: int) -> list[News]:
    """Return the oldest news."""
    with connection.cursor(row_factory=kwargs_row(_news)) as cursor:
        return cursor.execute(_READ, {"limit": limit}).fetchall()


def delete(connection: Connection, told: Sequence[News]) -> None:
    """Forget what has been told."""
    connection.execute("DELETE FROM outcome_outbox WHERE id = ANY(%s)", ([news.id for news in told],))


def _news(
    *,
    news_id: int,
    outcome: str,
    at: EpochMillis,
    error_class: str | None,
    error_message: str | None,
    metrika_upload_id: str | None,
    conversion_partition: int | None,
    conversion_offset: int | None,
    upload_batch_id: str | None,
    **stored: Any,
) -> News:
    return News(
        id=news_id,
        event_id=stored["event_id"],
        outcome=outcome,
        at=at,
        error_class=error_class,
        error_message=error_message,
        metrika_upload_id=metrika_upload_id,
        conversion=Conversion(**stored) if stored["webhook_id"] is not None else None,
        conversion_partition=conversion_partition,
        conversion_offset=conversion_offset,
        upload_batch_id=upload_batch_id,
    )
