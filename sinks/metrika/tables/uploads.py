"""SQL over the ledger ``metrika_uploads``: new uploads, the ones that are due, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import kwargs_row

from sinks.metrika.conversions import IdType, Line, Placed, csv_chunks
from sinks.metrika.files import Key, common, merged
from sinks.metrika.form import Form, fingerprint
from sinks.metrika.ledger import State, Upload, token_for
from sinks.metrika.orders import csv_chunks as order_chunks
from sinks.metrika.tables.orders import orders_of

_COLUMNS: Final = """
    id, id_type, token, state, row_count, body_sha256, attempts, metrika_upload_id, metrika_status, prepared_at,
    sent_at, answered_at, next_check_at, target, source
"""

# The smallest first: a refused file is narrowed down to its bad rows before the next one is begun, and whatever is
# wrong is known after few requests. Orders may be sent again whether Metrika has them or not.
_READY: Final = f"""
    SELECT {_COLUMNS} FROM metrika_uploads
    WHERE counter_id = %(counter_id)s
      AND (state = 'prepared' AND NOT maybe_taken OR id_type = 'Contact' AND state IN ('prepared', 'sending'))
      AND coalesce(next_check_at, '-infinity') <= %(now)s
    ORDER BY row_count, prepared_at, id
    LIMIT 1
"""  # noqa: S608 - constants only

_BEGUN: Final = f"""
    SELECT {_COLUMNS} FROM metrika_uploads
    WHERE counter_id = %(counter_id)s AND id_type <> 'Contact'
      AND (state IN ('sending', 'unknown', 'accepted') OR (state = 'prepared' AND maybe_taken))
    ORDER BY prepared_at, id
"""  # noqa: S608 - constants only

# By pages, so that no transaction is open while a file is sent.
_PAGE: Final = """
    SELECT id, upload_line, coalesce(external_source, ''),
           CASE %(id_type)s WHEN 'ClientId' THEN client_id WHEN 'Yclid' THEN yclid
                            WHEN 'UserId' THEN user_id WHEN 'PurchaseId' THEN purchase_id
                            ELSE coalesce(phone_md5, email_md5) END,
           target, upload_second, price, currency
    FROM webhook_conversions WHERE upload = %(id)s AND upload_line > %(after)s
    ORDER BY upload_line LIMIT %(rows)s
"""
_PAGE_ROWS: Final = 5000

# Orders that may have arrived are not given up: no list would ever tell.
_EXPIRED: Final = """
    SELECT EXISTS (SELECT FROM webhook_conversions WHERE upload = %(id)s AND deadline_at <= %(now)s)
       AND NOT (id_type = 'Contact' AND (maybe_taken OR state = 'sending'))
    FROM metrika_uploads WHERE id = %(id)s
"""

_CREATE: Final = """
    INSERT INTO metrika_uploads (id, counter_id, id_type, token, row_count, body_sha256, prepared_at, parent)
    VALUES (%(id)s, %(counter_id)s, %(id_type)s, %(token)s, 1, '', %(now)s, %(parent)s)
"""

_SEAL: Final = """
    UPDATE metrika_uploads SET row_count = %(rows)s, body_sha256 = %(sha256)s, target = %(target)s, source = %(source)s
    WHERE id = %(id)s
"""

_FILL: Final = """
    UPDATE webhook_conversions AS conversion
    SET stage = 'batched', upload = %(id)s, upload_line = row.line, upload_second = row.second, updated_at = %(now)s
    FROM unnest(%(ids)s::uuid[], %(numbers)s::int[], %(seconds)s::bigint[]) AS row (id, line, second)
    WHERE conversion.id = row.id
"""


def next_ready(connection: Connection, counter_id: UUID, *, now: datetime) -> Upload | None:
    """Return the upload to send next: one that Metrika certainly has not, or may have twice."""
    found = _uploads(connection, _READY, {"counter_id": counter_id, "now": now})
    return found[0] if found else None


def begun(connection: Connection, counter_id: UUID) -> list[Upload]:
    """Return the uploads that Metrika may know, is not done with, and lists."""
    return _uploads(connection, _BEGUN, {"counter_id": counter_id})


def known(connection: Connection, metrika_upload_ids: Sequence[str]) -> set[str]:
    """Return which of these uploads of Metrika the ledger has."""
    query = "SELECT metrika_upload_id FROM metrika_uploads WHERE metrika_upload_id = ANY(%s)"
    return {str(found) for (found,) in connection.execute(query, (list(metrika_upload_ids),))}


class Draft:
    """An upload that is being filled. Needs a transaction around it, from here to ``seal``."""

    def __init__(
        self,
        connection: Connection,
        *,
        upload_id: UUID,
        counter_id: UUID,
        id_type: IdType,
        now: datetime,
        parent: UUID | None = None,
    ) -> None:
        self._connection = connection
        self._id = upload_id
        self._id_type = id_type
        self._common: Key | None = None
        self._now = now
        self._rows = 0
        values = {"id": upload_id, "counter_id": counter_id, "id_type": id_type, "now": now, "parent": parent}
        connection.execute(_CREATE, values | {"token": token_for(upload_id)})

    def add(self, rows: Sequence[Placed]) -> None:
        """Give it further rows, in the order of its lines."""
        if not rows:
            return
        self._connection.execute(
            _FILL,
            {
                "id": self._id,
                "ids": [row.id for row in rows],
                "numbers": list(range(self._rows + 1, self._rows + len(rows) + 1)),
                "seconds": [row.line.second for row in rows],
                "now": self._now,
            },
        )
        self._common = common(rows) if self._common is None else merged(self._common, common(rows))
        self._rows += len(rows)

    def seal(self) -> None:
        """Decide its file: from here on its bytes are known. Without rows there is no upload."""
        if self._common is None:
            self._connection.execute("DELETE FROM metrika_uploads WHERE id = %s", (self._id,))
            return
        values = {
            "id": self._id,
            "rows": self._rows,
            "sha256": fingerprint(_chunks(self._connection, self._id, self._id_type)).sha256,
            "target": self._common.target,
            "source": self._common.source,
        }
        self._connection.execute(_SEAL, values)


def rows_of(connection: Connection, upload_id: UUID, id_type: IdType) -> Iterator[Placed]:
    """Stream an upload's rows in the order of its lines."""
    after = 0
    while True:
        values = {"id": upload_id, "id_type": id_type, "after": after, "rows": _PAGE_ROWS}
        page = connection.execute(_PAGE, values).fetchall()
        for conversion_id, _, source, visitor, target, second, price, currency in page:
            yield Placed(conversion_id, id_type, source, Line(visitor, target, second, price, currency))
        if len(page) < _PAGE_ROWS:
            return
        after = page[-1][1]


def file_of(connection: Connection, upload: Upload) -> Form | None:
    """Return the upload's file as a form, or ``None`` where its rows no longer give the bytes that were prepared."""
    chunks = partial(_chunks, connection, upload.id, upload.id_type)
    found = fingerprint(chunks())
    if found.sha256 != upload.body_sha256:
        return None
    return Form(boundary=upload.token, file=chunks, expected=found)


def _chunks(connection: Connection, upload_id: UUID, id_type: IdType) -> Iterator[bytes]:
    if id_type is IdType.CONTACT:
        return order_chunks(orders_of(connection, upload_id))
    return csv_chunks(id_type, (row.line for row in rows_of(connection, upload_id, id_type)))


def has_expired_rows(connection: Connection, upload: Upload, *, now: datetime) -> bool:
    """Return whether the deadline of a row has passed, so that the file is not sent any more."""
    row = connection.execute(_EXPIRED, {"id": upload.id, "now": now}).fetchone()
    return row is not None and bool(row[0])


def _uploads(connection: Connection, query: str, values: dict[str, Any]) -> list[Upload]:
    with connection.cursor(row_factory=kwargs_row(_upload)) as cursor:
        return cursor.execute(query, values).fetchall()


def _upload(**row: Any) -> Upload:
    return Upload(**{**row, "id_type": IdType(row["id_type"]), "state": State(row["state"])})
