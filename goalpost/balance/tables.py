"""What Postgres has of events, and whether its own figures agree: one look, in one snapshot."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString

from goalpost.balance.equations import Equation, Named
from goalpost.balance.sightings import Sighting, Sightings
from goalpost.balance.standing import Seen
from goalpost.cluster import Place
from schemas.topics import RAW
from sinks.postgres.connection import Connection, connect, translated_errors

_IDS_AT_ONCE: Final = 5_000

_THERE: Final[LiteralString] = "SELECT id FROM webhook_conversions WHERE id = ANY(%s) AND stage IS NOT NULL"

# A correction is a row of its own, but no event of its own.
_OF_SPANS: Final[LiteralString] = """
SELECT c.id, c.raw_partition, c.raw_offset
FROM webhook_conversions AS c
JOIN unnest(%s::int[], %s::bigint[], %s::bigint[]) AS span (partition, first, behind)
  ON c.raw_partition = span.partition AND c.raw_offset >= span.first AND c.raw_offset < span.behind
WHERE c.stage IS NOT NULL AND c.corrects IS NULL
"""

# A row that somebody took out of the uploads by its status counts for nothing, and neither does one whose upload will
# never say anything about it.
_STANDINGS: Final[LiteralString] = """
WITH row AS (
    SELECT c.id, c.stage, c.status, CASE
        WHEN c.status = 'pending' AND c.stage = 'stored' THEN 'pending'
        WHEN c.status = 'pending' AND c.stage = 'batched' AND u.state IN ('prepared', 'sending', 'unknown')
            THEN 'pending'
        WHEN c.status = 'sent' AND c.stage IN ('uploaded', 'processed', 'not_linked') THEN 'uploaded'
        WHEN c.status = 'error' AND c.stage = 'failed' AND c.error_class = 'expired' THEN 'expired'
        WHEN c.status = 'error' AND c.stage = 'failed' THEN 'failed'
    END AS standing
    FROM webhook_conversions AS c LEFT JOIN metrika_uploads AS u ON u.id = c.upload
    WHERE c.stage IS NOT NULL
)
"""
_COUNTED: Final[LiteralString] = (
    _STANDINGS + "SELECT coalesce(standing, ''), count(*) FROM row GROUP BY coalesce(standing, '')"  # noqa: S608 - constants
)
_CONTRADICTING: Final[LiteralString] = (
    _STANDINGS + "SELECT id::text, stage, status FROM row WHERE standing IS NULL ORDER BY id LIMIT %s"  # noqa: S608 - constants
)

_UPLOADS: Final[LiteralString] = """
WITH upload AS (
    SELECT u.id, u.token, u.metrika_upload_id, u.state, u.row_count,
           (SELECT count(*) FROM webhook_conversions AS c
            WHERE c.upload = u.id AND c.stage IN ('uploaded', 'processed', 'not_linked')) AS rows
    FROM metrika_uploads AS u WHERE u.state IN ('accepted', 'processed', 'linkage_failure')
)
"""
_ACCEPTED: Final[LiteralString] = (
    _UPLOADS + "SELECT coalesce(sum(row_count), 0), coalesce(sum(rows), 0) FROM upload"  # noqa: S608 - constants
)
_UNEQUAL: Final[LiteralString] = (
    _UPLOADS
    + """
SELECT token, coalesce(metrika_upload_id, ''), row_count, rows, count(*) OVER () FROM upload
WHERE rows <> row_count ORDER BY token LIMIT %s
"""
)
_WITHOUT_UPLOAD: Final[LiteralString] = """
SELECT c.id::text, c.stage, count(*) OVER () FROM webhook_conversions AS c
LEFT JOIN metrika_uploads AS u ON u.id = c.upload
WHERE c.stage IN ('uploaded', 'processed', 'not_linked')
  AND coalesce(u.state, '') NOT IN ('accepted', 'processed', 'linkage_failure')
ORDER BY c.id LIMIT %s
"""


class Tables:
    """One snapshot of the tables."""

    def __init__(self, connection: Connection, *, most_named: int) -> None:
        self._connection = connection
        self._most_named = most_named

    def see_rows(self, sightings: Sightings) -> None:
        """Say of every event that was met whether it has a row."""
        for events in sightings.chunks(_IDS_AT_ONCE):
            found = self._all(_THERE, [_uuid_text(event) for event in events])
            sightings.see(
                Sighting(event=event_id.bytes, seen=Seen.ROW, at=0, place="webhook_conversions")
                for (event_id,) in found
            )

    def rows_without_event(self, sightings: Sightings, spans: dict[Place, tuple[int, int]]) -> Iterator[Named]:
        """Yield the rows that say that their event stands where we read, and it does not."""
        places = [(partition, first, behind) for (_, partition), (first, behind) in spans.items()]
        with translated_errors(), self._connection.cursor(name="rows", binary=True) as cursor:
            cursor.itersize = _IDS_AT_ONCE
            cursor.execute(_OF_SPANS, tuple(map(list, zip(*places, strict=True))) if places else ([], [], []))
            for event_id, partition, offset in cursor:
                if isinstance(event_id, uuid.UUID) and not sightings.knows(event_id.bytes):
                    why = "it has a row, but no such event was received there"
                    yield Named(name=str(event_id), place=f"{RAW.name}:{partition}:{offset}", why=why)

    def stored(self) -> Equation:
        """Return the second equation: every row waits for its upload, had it, failed, or came too late."""
        counts: dict[str, int] = dict(self._all(_COUNTED))
        broken = counts.pop("", 0)
        named = tuple(
            Named(name=event_id, place="webhook_conversions", why=f"stage {stage} with status {status} is no standing")
            for event_id, stage, status in self._all(_CONTRADICTING, self._most_named)
        )
        parts = {name: counts.get(name, 0) for name in ("pending", "uploaded", "failed", "expired")}
        return Equation(name="stored", total=sum(counts.values()) + broken, parts=parts, broken=broken, named=named)

    def uploaded(self) -> Equation:
        """Return the third equation: uploaded rows are the rows of uploads that Metrika has accepted."""
        (accepted, rows), *_ = self._all(_ACCEPTED)
        unequal = self._all(_UNEQUAL, self._most_named)
        orphans = self._all(_WITHOUT_UPLOAD, self._most_named)
        named = [
            Named(
                name=token,
                place=f"upload {metrika_id}",
                why=f"{row_count} rows were sent, {there} are uploaded",
            )
            for token, metrika_id, row_count, there, _ in unequal
        ] + [
            Named(name=event_id, place="webhook_conversions", why=f"it is {stage}, but no accepted upload has it")
            for event_id, stage, _ in orphans
        ]
        broken = (unequal[0][-1] if unequal else 0) + (orphans[0][-1] if orphans else 0)
        total = int(rows) + (int(orphans[0][-1]) if orphans else 0)
        return Equation(
            name="uploaded", total=total, parts={"accepted": int(accepted)}, broken=int(broken), named=tuple(named)
        )

    def _all(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        with translated_errors():
            return self._connection.execute(statement, values).fetchall()


@contextmanager
def snapshot(database_url: str, *, most_named: int) -> Iterator[Tables]:
    """Give the tables as they are at one moment.

    Raises:
        sinks.postgres.connection.PostgresUnavailable: no answer.
    """
    with connect(database_url, application_name="goalpost ledger") as connection:
        with translated_errors():
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield Tables(connection, most_named=most_named)


def _uuid_text(event: bytes) -> str:
    return event.hex()
