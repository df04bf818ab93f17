"""What erasing a visitor does to Postgres, in one transaction."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from goalpost.retention.tables import ANONYMOUS
from goalpost.retention.visitor import Visitor
from producers.intake import nested_ids
from sinks.postgres.connection import Connection
from sinks.postgres.statements import COLUMN_TYPES

_ITS_CONVERSIONS: Final = sql.SQL("""
anonymised_at IS NULL AND stage IS NOT NULL
AND (session_id = ANY(%(sessions)s) OR client_id = ANY(%(ym_uids)s) OR analytics_row_id = ANY(%(rows)s)
     OR id = ANY(%(events)s::uuid[]))
""")
# An upload's bytes are fixed before they are sent, so what is in one cannot change until Metrika has answered.
_BUSY: Final = sql.SQL("stage = 'batched'")
_NOT_BUSY: Final = sql.SQL("stage <> 'batched'")

_COUNT: Final = sql.SQL("SELECT count(*) FROM webhook_conversions WHERE {which} AND {state}")
_GIVE_UP: Final = sql.SQL(
    """
    UPDATE webhook_conversions SET status = 'error', stage = 'failed', error_class = 'erased',
           error_message = 'the visitor was erased', updated_at = now()
    WHERE {which} AND stage = 'stored'
    """
).format(which=_ITS_CONVERSIONS)
_ANONYMISE: Final = sql.SQL("UPDATE webhook_conversions SET {anonymous} WHERE {which} AND {state}").format(
    anonymous=sql.SQL(ANONYMOUS), which=_ITS_CONVERSIONS, state=_NOT_BUSY
)
_FORGET_VERSIONS: Final = sql.SQL("DELETE FROM analytics_row_versions WHERE row_id = ANY(%(rows)s)")
_DELETE_ROWS: Final = sql.SQL("DELETE FROM user_analytics WHERE id = ANY(%(rows)s::text[]::{id}[])")


_ANALYTICS_ROWS: Final = """
SELECT id::text FROM user_analytics
WHERE session_id = ANY(%(sessions)s::text[]::{session}[])
   OR analytics_data::jsonb -> 'ids' ->> 'ym_uid' = ANY(%(ym_uids)s)
"""
# Rows whose whole content is a text that holds JSON; an index cannot look into it.
_TEXTS_THAT_NAME: Final = """
SELECT id::text, analytics_data::jsonb #>> '{}' FROM user_analytics
WHERE jsonb_typeof(analytics_data::jsonb) = 'string'
  AND EXISTS (SELECT FROM unnest(%(ym_uids)s::text[]) AS wanted
              WHERE position(wanted IN analytics_data::jsonb #>> '{}') > 0)
"""


class Rows:
    """The visitor's rows, found once and then counted or erased."""

    def __init__(self, connection: Connection, visitor: Visitor) -> None:
        self._connection = connection
        types = {str(name): str(kind) for name, kind in connection.execute(COLUMN_TYPES).fetchall()}
        # Types' names as Postgres itself quotes them.
        self._session_type, self._id_type = sql.SQL(types["session_id"]), sql.SQL(types["id"])
        self._given = {"sessions": sorted(visitor.session_ids), "ym_uids": sorted(visitor.ym_uids)}
        self._given |= {"events": sorted(visitor.event_ids), "rows": self._analytics_rows()}

    def counted(self) -> dict[str, int]:
        """How much there is, by what would be done to it."""
        return {
            "user_analytics: rows deleted": len(self._given["rows"]),
            "webhook_conversions: personal data removed": self._count(_NOT_BUSY),
            "webhook_conversions: not yet, being uploaded": self._count(_BUSY),
        }

    def erase(self, reason: str) -> dict[str, int]:
        """Do it, and say how much was done. Conversions that were not uploaded yet never will be."""
        with self._connection.transaction():
            self._connection.execute("SELECT set_config('goalpost.reason', %s, true)", (f"erasure: {reason}",))
            counted = self.counted()
            for statement in (_GIVE_UP, _ANONYMISE, _FORGET_VERSIONS, _DELETE_ROWS.format(id=self._id_type)):
                self._connection.execute(statement, self._given)
        return counted

    def _analytics_rows(self) -> list[str]:
        query = sql.SQL(_ANALYTICS_ROWS).format(session=self._session_type)
        found = {str(row_id) for (row_id,) in self._connection.execute(query, self._given).fetchall()}
        wanted = set(self._given["ym_uids"])
        if wanted:
            texts = self._connection.execute(_TEXTS_THAT_NAME, self._given).fetchall()
            found |= {str(row_id) for row_id, text in texts if nested_ids(text).get("ym_uid") in wanted}
        return sorted(found)

    def _count(self, state: sql.SQL) -> int:
        query = _COUNT.format(which=_ITS_CONVERSIONS, state=state)
        row = self._connection.execute(query, self._given).fetchone()
        return int(str(row[0])) if row else 0
