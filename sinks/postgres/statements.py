"""The sink's SQL, fitted to the types that the site's ``user_analytics`` has.

The types are read once per connection and written into the statements as casts of the *parameters*, never of the
columns: only then does Postgres find rows through the primary key.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final, LiteralString

from psycopg import sql

from sinks.postgres.rows import STAGED

COLUMN_TYPES: Final[LiteralString] = """
SELECT attname, format_type(atttypid, NULL)
FROM pg_attribute
WHERE attrelid = to_regclass('user_analytics') AND attnum > 0 AND NOT attisdropped
  AND attname IN ('id', 'session_id', 'analytics_data', 'timestamp')
"""

COPY_CONVERSIONS: Final = sql.SQL("COPY incoming_conversions ({columns}) FROM STDIN (FORMAT BINARY)").format(
    columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in STAGED)
)

CASTS: Final[dict[str, LiteralString]] = {
    "id": "uuid",
    "webhook_id": "uuid",
    "counter_id": "uuid",
    "payload": "jsonb",
    "price": "numeric",
}

# The place in the topic tells which of the batch's conversions a new row is.
INSERT_CONVERSIONS: Final = sql.SQL(
    """
INSERT INTO webhook_conversions ({columns}, stage)
SELECT {values}, 'stored' FROM incoming_conversions
ON CONFLICT (id) DO NOTHING
RETURNING conversion_partition, conversion_offset
"""
).format(
    columns=sql.SQL(", ").join(sql.Identifier(name) for name, _ in STAGED),
    values=sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.Identifier(name), sql.SQL(CASTS[name])) if name in CASTS else sql.Identifier(name)
        for name, _ in STAGED
    ),
)

# But for those that are stored without the session that comes now.
STORED_ALREADY: Final[LiteralString] = """
SELECT event_id FROM jsonb_array_elements_text(%s::jsonb) AS given (event_id)
WHERE EXISTS (SELECT FROM webhook_conversions WHERE id = event_id::uuid AND NOT (
    coalesce(session_missing, FALSE) AND NOT goal_appended AND anonymised_at IS NULL))
"""

# Which session record a row shows; answers with the rows for which the given one is newer.
NEWER_SESSIONS: Final[LiteralString] = """
INSERT INTO analytics_row_versions AS shown (row_id, last_visit_at, received_at, digest)
SELECT row_id, last_visit_at, received_at, digest
FROM jsonb_to_recordset(%s::jsonb) AS given (row_id text, last_visit_at bigint, received_at bigint, digest text)
ORDER BY row_id
ON CONFLICT (row_id) DO UPDATE
    SET last_visit_at = excluded.last_visit_at, received_at = excluded.received_at, digest = excluded.digest
    WHERE (shown.last_visit_at, shown.received_at, shown.digest)
        < (excluded.last_visit_at, excluded.received_at, excluded.digest)
RETURNING row_id
"""

NOTIFY_STORED: Final[LiteralString] = "NOTIFY goalpost_stored"


def session_setup() -> bytes:
    """Return the script that a connection runs once."""
    return resources.files("sinks.postgres").joinpath("session.sql").read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyticsStatements:
    """The statements about ``user_analytics``; ``id_type`` is its primary key's type as Postgres names it."""

    id_type: str
    lock_rows: sql.Composed
    insert_rows: sql.Composed
    write_sessions: sql.Composed
    append_goals: sql.Composed


def analytics_statements(types: dict[str, str]) -> AnalyticsStatements:
    """Return the statements for the column ``types`` that :data:`COLUMN_TYPES` reads.

    Raises:
        KeyError: a column is not there.
    """
    casts = {
        name: sql.SQL(types[column])  # a type's name as Postgres itself quotes it
        for name, column in (("id", "id"), ("session", "session_id"), ("data", "analytics_data"), ("at", "timestamp"))
    }
    return AnalyticsStatements(
        id_type=types["id"],
        lock_rows=sql.SQL(_LOCK_ROWS).format(**casts),
        insert_rows=sql.SQL(_INSERT_ROWS).format(**casts),
        write_sessions=sql.SQL(_WRITE_SESSIONS).format(**casts),
        append_goals=sql.SQL(_APPEND_GOALS).format(**casts),
    )


# The keys travel as JSON: psycopg's list parameters cost eight times the processor time.
# In the order of the ids, so that two transactions never wait for each other in a circle.
_LOCK_ROWS: Final[LiteralString] = """
SELECT id::text FROM user_analytics
WHERE id = ANY(ARRAY(SELECT key::{id} FROM jsonb_array_elements_text(%s::jsonb) AS key))
ORDER BY id FOR NO KEY UPDATE
"""

# A version older than any says from the first moment that the row is goalpost's, so that nobody who reads the site's
# rows (`goalpost sessions`) takes it for one of those.
_INSERT_ROWS: Final[LiteralString] = """
WITH created AS (
    INSERT INTO user_analytics (id, session_id, "timestamp") OVERRIDING SYSTEM VALUE
    SELECT row_id::{id}, session_id::{session}, to_timestamp(session_at / 1000.0::float8)::{at}
    FROM jsonb_to_recordset(%s::jsonb) AS given (row_id text, session_id text, session_at bigint)
    ORDER BY 1
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
INSERT INTO analytics_row_versions (row_id, last_visit_at, received_at, digest)
SELECT id::text, -1, -1, '' FROM created ORDER BY 1
ON CONFLICT (row_id) DO NOTHING
"""

_WRITE_SESSIONS: Final[LiteralString] = """
UPDATE user_analytics AS stored
SET session_id = given.session_id::{session},
    "timestamp" = to_timestamp(given.session_at / 1000.0::float8)::{at},
    analytics_data = pg_temp.merged(stored.analytics_data::jsonb, given.analytics_data::jsonb)::{data}
FROM jsonb_to_recordset(%s::jsonb) AS given (row_id text, session_id text, session_at bigint, analytics_data text)
WHERE stored.id = given.row_id::{id}
"""

_APPEND_GOALS: Final[LiteralString] = """
UPDATE user_analytics AS stored
SET analytics_data = pg_temp.with_goals(stored.analytics_data::jsonb, given.goals)::{data}
FROM jsonb_each(%s::jsonb) AS given (row_id, goals)
WHERE stored.id = given.row_id::{id}
"""
