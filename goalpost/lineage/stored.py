"""What Postgres knows of an event: its row, its upload, its audit trail."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, LiteralString

from psycopg.rows import dict_row

from goalpost.lineage.way import Change, StoredRow, Upload
from sinks.postgres.connection import connect, translated_errors

# An order or an upload may have thousands of events; a person reads the first of them.
MOST_EVENTS: Final = 100

_NAMED: Final[LiteralString] = """
SELECT id FROM webhook_conversions WHERE id = %(id)s
UNION
SELECT id FROM webhook_conversions WHERE order_id = %(asked)s
UNION
SELECT c.id FROM webhook_conversions c JOIN metrika_uploads u ON u.id = c.upload
WHERE u.metrika_upload_id = %(asked)s OR u.token = %(asked)s OR u.id = %(id)s
LIMIT %(most)s
"""

_ROWS: Final[LiteralString] = """
SELECT c.id::text AS event_id, c.webhook_id::text, c.status, c.stage, c.external_source AS source, c.order_id,
       c.session_id, c.session_missing, c.analytics_row_id, c.target,
       trim_scale(c.price)::text AS price, c.currency, c.goal_rule,
       c.goal_appended, c.attempts, c.raw_partition, c.raw_offset, c.conversion_partition, c.conversion_offset,
       c.upload_line, c.upload::text AS upload,
       (extract(epoch FROM c.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM c.occurred_at) * 1000)::bigint AS occurred_at,
       (extract(epoch FROM c.received_at) * 1000)::bigint AS received_at,
       (extract(epoch FROM c.resolved_at) * 1000)::bigint AS resolved_at,
       (extract(epoch FROM c.deadline_at) * 1000)::bigint AS deadline_at
FROM webhook_conversions c
WHERE c.id = ANY(%s)
ORDER BY c.received_at, c.id
"""

_UPLOADS: Final[LiteralString] = """
SELECT id::text AS id, token, state, id_type, row_count, metrika_upload_id, metrika_status, line_quantity,
       linked_quantity,
       (extract(epoch FROM sent_at) * 1000)::bigint AS sent_at,
       (extract(epoch FROM answered_at) * 1000)::bigint AS answered_at,
       (extract(epoch FROM finished_at) * 1000)::bigint AS finished_at
FROM metrika_uploads
WHERE id = ANY(%s::uuid[])
"""

_CHANGES: Final[LiteralString] = """
SELECT e.conversion_id::text AS event_id, (extract(epoch FROM e.at) * 1000)::bigint AS at,
       coalesce(e.stage, e.status) AS stage, coalesce(e.actor, '') AS actor, u.token AS upload_token,
       e.metrika_upload_id, e.error_class, e.error_message
FROM conversion_events e LEFT JOIN metrika_uploads u ON u.id = e.upload
WHERE e.conversion_id = ANY(%s)
ORDER BY e.id
"""


def stored_rows(database_url: str, asked: str) -> tuple[StoredRow, ...]:
    """Return the rows that ``asked`` means: an event id, an order id, or an upload's id or token.

    Raises:
        sinks.postgres.connection.PostgresUnavailable: no answer.
    """
    with connect(database_url, application_name="goalpost trace") as connection, translated_errors():
        named = {"asked": asked, "id": _as_uuid(asked), "most": MOST_EVENTS + 1}
        ids = [row[0] for row in connection.execute(_NAMED, named)]
        if not ids:
            return ()
        rows = connection.cursor(row_factory=dict_row)
        found = rows.execute(_ROWS, (ids,)).fetchall()
        uploads = {row.pop("id"): Upload(**row) for row in rows.execute(_UPLOADS, (_uploads_of(found),))}
        changes = _by_event(rows.execute(_CHANGES, (ids,)))
    return tuple(
        StoredRow(**{**row, "upload": uploads.get(row["upload"]), "changes": tuple(changes[row["event_id"]])})
        for row in found
    )


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _uploads_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({row["upload"] for row in rows if row["upload"] is not None})


def _by_event(rows: Iterable[dict[str, Any]]) -> defaultdict[str, list[Change]]:
    grouped: defaultdict[str, list[Change]] = defaultdict(list)
    for row in rows:
        grouped[row.pop("event_id")].append(Change(**row))
    return grouped
