"""SQL over the ledger ``metrika_uploads``: new uploads, the ones that are due, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import kwargs_row

from sinks.metrika.conversions import IdType, Line, Placed, csv_file, fingerprint
from sinks.metrika.ledger import State, Upload, token_for

_COLUMNS: Final = """
    id, id_type, token, state, row_count, body_sha256, attempts, metrika_upload_id, prepared_at, sent_at, answered_at
"""

_FRESH: Final = f"""
    SELECT {_COLUMNS} FROM metrika_uploads
    WHERE counter_id = %(counter_id)s AND state = 'prepared' AND attempts = 0
    ORDER BY prepared_at, id
"""  # noqa: S608 - constants only

_BEGUN: Final = f"""
    SELECT {_COLUMNS} FROM metrika_uploads
    WHERE counter_id = %(counter_id)s AND coalesce(next_check_at, '-infinity') <= %(now)s
      AND (state IN ('sending', 'unknown', 'accepted') OR (state = 'prepared' AND attempts > 0))
    ORDER BY prepared_at, id
"""  # noqa: S608 - constants only

_LINES: Final = """
    SELECT id,
           CASE %(id_type)s WHEN 'ClientId' THEN client_id WHEN 'Yclid' THEN yclid
                            WHEN 'UserId' THEN user_id ELSE purchase_id END,
           target, upload_second, price, currency
    FROM webhook_conversions WHERE upload = %(id)s ORDER BY upload_line
"""

_EXPIRED: Final = """
    SELECT EXISTS (SELECT FROM webhook_conversions WHERE upload = %(id)s AND deadline_at <= %(now)s)
"""

_CREATE: Final = """
    INSERT INTO metrika_uploads (id, counter_id, id_type, token, row_count, body_sha256, prepared_at)
    VALUES (%(id)s, %(counter_id)s, %(id_type)s, %(token)s, %(row_count)s, %(body_sha256)s, %(now)s)
"""

_FILL: Final = """
    UPDATE webhook_conversions AS conversion
    SET stage = 'batched', upload = %(id)s, upload_line = row.line, upload_second = row.second, updated_at = %(now)s
    FROM unnest(%(ids)s::uuid[], %(numbers)s::int[], %(seconds)s::bigint[]) AS row (id, line, second)
    WHERE conversion.id = row.id
"""


def fresh(connection: Connection, counter_id: UUID) -> list[Upload]:
    """Return the uploads that no request was begun for."""
    return _uploads(connection, _FRESH, {"counter_id": counter_id})


def begun(connection: Connection, counter_id: UUID, *, now: datetime) -> list[Upload]:
    """Return the uploads that are due and that Metrika may know."""
    return _uploads(connection, _BEGUN, {"counter_id": counter_id, "now": now})


def create(
    connection: Connection, *, upload_id: UUID, counter_id: UUID, id_type: IdType, rows: Sequence[Placed], now: datetime
) -> None:
    """Write an upload and give it its rows; its file is decided from here on."""
    body = csv_file(id_type, (row.line for row in rows))
    with connection.transaction():
        connection.execute(
            _CREATE,
            {
                "id": upload_id,
                "counter_id": counter_id,
                "id_type": id_type,
                "token": token_for(upload_id),
                "row_count": len(rows),
                "body_sha256": fingerprint(body),
                "now": now,
            },
        )
        connection.execute(
            _FILL,
            {
                "id": upload_id,
                "ids": [row.id for row in rows],
                "numbers": list(range(1, len(rows) + 1)),
                "seconds": [row.line.second for row in rows],
                "now": now,
            },
        )


def rows_of(connection: Connection, upload: Upload) -> Iterator[Placed]:
    """Stream the upload's rows in the order of its lines. Needs a transaction around it."""
    with connection.cursor(name="lines") as cursor:
        cursor.itersize = 5000
        cursor.execute(_LINES, {"id": upload.id, "id_type": upload.id_type})
        for conversion_id, visitor, target, second, price, currency in cursor:
            yield Placed(conversion_id, Line(visitor, target, second, price, currency))


def file_of(connection: Connection, upload: Upload) -> bytes | None:
    """Return the upload's file, or ``None`` where its rows no longer give the bytes that were prepared."""
    with connection.transaction():
        body = csv_file(upload.id_type, (row.line for row in rows_of(connection, upload)))
    return body if fingerprint(body) == upload.body_sha256 else None


def has_expired_rows(connection: Connection, upload: Upload, *, now: datetime) -> bool:
    """Return whether a row's deadline has passed since the upload was prepared."""
    row = connection.execute(_EXPIRED, {"id": upload.id, "now": now}).fetchone()
    return row is not None and bool(row[0])


def _uploads(connection: Connection, query: str, values: dict[str, Any]) -> list[Upload]:
    with connection.cursor(row_factory=kwargs_row(_upload)) as cursor:
        return cursor.execute(query, values).fetchall()


def _upload(**row: Any) -> Upload:
    return Upload(**{**row, "id_type": IdType(row["id_type"]), "state": State(row["state"])})
