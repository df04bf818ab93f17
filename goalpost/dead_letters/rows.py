"""Rows of the conversions that letters are of: how they stand, and back to pending where the upload failed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final, LiteralString

from goalpost.dead_letters.plan import RowState, UploadState
from sinks.postgres.connection import Connection, connect, translated_errors

# How the audit trail names whoever reset a row.
_ACTOR: Final = "goalpost dlq replay"

# Every upload that ever carried the row, not only the last: the audit trail knows them.
_STATES: Final[LiteralString] = """
SELECT c.id::text, c.stage, (extract(epoch FROM c.deadline_at) * 1000)::bigint,
       (SELECT coalesce(json_agg(json_build_array(u.token, u.metrika_upload_id, u.state) ORDER BY u.prepared_at), '[]')
        FROM metrika_uploads u
        WHERE u.id = c.upload OR u.id IN (SELECT e.upload FROM conversion_events e WHERE e.conversion_id = c.id)),
       (SELECT count(*) FROM conversion_events e
        WHERE e.conversion_id = c.id AND e.previous_stage = 'failed' AND e.actor LIKE 'goalpost dlq replay%%'),
       c.anonymised_at IS NOT NULL
FROM webhook_conversions c
WHERE c.id = ANY(%s::uuid[])
"""

# The plan's conditions once more, because the Metrika sink works meanwhile. upload_second stays: the row keeps the
# DateTime that was chosen for it.
_RESET: Final[LiteralString] = """
UPDATE webhook_conversions c
SET stage = 'stored', status = 'pending', error_class = NULL, error_message = NULL,
    upload = NULL, upload_line = NULL, metrika_upload_id = NULL, updated_at = NOW()
WHERE c.id = ANY(%s::uuid[]) AND c.stage = 'failed' AND c.anonymised_at IS NULL
  AND NOT EXISTS (
    SELECT FROM metrika_uploads u
    WHERE u.state <> 'rejected'
      AND (u.id = c.upload OR u.id IN (SELECT e.upload FROM conversion_events e WHERE e.conversion_id = c.id)))
RETURNING c.id::text
"""


class Rows:
    """Access to the rows; connects when it is first asked."""

    def __init__(self, database_url: Callable[[], str], *, run_id: str) -> None:
        self._database_url = database_url
        self._run_id = run_id
        self._connection: Connection | None = None

    def states(self, event_ids: Iterable[str]) -> dict[str, RowState]:
        """Return the rows that exist, by event id.

        Raises:
            sinks.postgres.connection.PostgresUnavailable: no answer.
        """
        found = self._query(_STATES, event_ids)
        return {
            event_id: RowState(
                event_id=event_id,
                stage=stage,
                deadline_ms=deadline,
                uploads=tuple(
                    UploadState(token=token, metrika_upload_id=metrika_id, state=state)
                    for token, metrika_id, state in uploads
                ),
                resets=resets,
                anonymous=anonymous,
            )
            for event_id, stage, deadline, uploads, resets, anonymous in found
        }

    def reset(self, event_ids: Iterable[str]) -> frozenset[str]:
        """Make failed rows pending again and return which were; the audit trail names this run as the actor.

        Raises:
            sinks.postgres.connection.PostgresUnavailable: no answer.
        """
        return frozenset(row[0] for row in self._query(_RESET, event_ids))

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _query(self, statement: LiteralString, event_ids: Iterable[str]) -> list[tuple[Any, ...]]:
        ids = [event_id for event_id in event_ids if _is_uuid(event_id)]
        if not ids:
            return []
        if self._connection is None:
            self._connection = connect(self._database_url(), application_name=f"{_ACTOR} {self._run_id}")
        with translated_errors():
            return list(self._connection.execute(statement, (ids,)).fetchall())


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
