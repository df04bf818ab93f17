"""SQL: every transition of an upload, with what it does to its rows and to the news for other teams.

Each is one transaction and names the state and attempt that it answers, so that of two processes that believe to be at
work on an upload only one can change it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

from sinks.metrika.answers import Uploading
from sinks.metrika.ledger import Finished, Postpone, State, Upload
from sinks.metrika.tables.uploads import create, rows_of

_COUNTS: Final = (
    "source_quantity",
    "line_quantity",
    "linked_quantity",
    "goal_not_found_quantity",
    "user_not_found_quantity",
)

_BEGIN: Final = """
    UPDATE metrika_uploads
    SET state = 'sending', attempts = attempts + 1, sent_at = %(now)s, answered_at = NULL, next_check_at = NULL
    WHERE id = %(id)s AND state = %(state)s AND attempts = %(attempts)s
"""

# What every answer to an attempt begins with: nothing happens unless the upload still stands where it stood.
_CHANGED: Final = """
    WITH upload AS (
        UPDATE metrika_uploads
        SET state = %(new_state)s, answered_at = coalesce(answered_at, %(now)s), next_check_at = %(next_check_at)s,
            error_class = %(error_class)s, error_message = %(error_message)s,
            metrika_upload_id = coalesce(%(metrika_upload_id)s, metrika_upload_id),
            metrika_status = coalesce(%(metrika_status)s, metrika_status),
            source_quantity = coalesce(%(source_quantity)s, source_quantity),
            line_quantity = coalesce(%(line_quantity)s, line_quantity),
            linked_quantity = coalesce(%(linked_quantity)s, linked_quantity),
            goal_not_found_quantity = coalesce(%(goal_not_found_quantity)s, goal_not_found_quantity),
            user_not_found_quantity = coalesce(%(user_not_found_quantity)s, user_not_found_quantity),
            finished_at = CASE WHEN %(new_state)s IN ('processed', 'linkage_failure', 'rejected') THEN %(now)s END
        WHERE id = %(id)s AND state = %(state)s AND attempts = %(attempts)s
        RETURNING id, metrika_upload_id
    )
"""

_ROWS_CHANGED: Final = f"""{_CHANGED}, changed AS (
        UPDATE webhook_conversions AS conversion
        SET status = %(row_status)s, stage = %(row_stage)s, metrika_upload_id = upload.metrika_upload_id,
            error_class = %(error_class)s, error_message = %(error_message)s, updated_at = %(now)s
        FROM upload WHERE conversion.upload = upload.id
        RETURNING conversion.id, conversion.metrika_upload_id, conversion.received_at
    ), told AS (
        INSERT INTO outcome_outbox (conversion_id, outcome, metrika_upload_id, error_class, error_message, at)
        SELECT id, %(outcome)s, metrika_upload_id, %(error_class)s, %(error_message)s, %(now)s FROM changed
    )
    SELECT extract(epoch FROM %(now)s - received_at)::float8 FROM changed
"""  # noqa: S608 - constants only

_ROWS_RELEASED: Final = f"""{_CHANGED}
    UPDATE webhook_conversions AS conversion
    SET stage = 'stored', upload = NULL, upload_line = NULL, updated_at = %(now)s
    FROM upload WHERE conversion.upload = upload.id AND conversion.stage = 'batched'
"""  # noqa: S608 - constants only


def begin(connection: Connection, upload: Upload, *, now: datetime) -> Upload | None:
    """Commit that a request is about to be made; ``None`` when the upload is no longer where it was."""
    values = {"id": upload.id, "state": upload.state, "attempts": upload.attempts, "now": now}
    if connection.execute(_BEGIN, values).rowcount == 0:
        return None
    return replace(upload, state=State.SENDING, attempts=upload.attempts + 1, sent_at=now, answered_at=None)


def accept(
    connection: Connection, upload: Upload, uploading: Uploading, *, now: datetime, check_at: datetime, note: str = ""
) -> list[float]:
    """Metrika has it. Return its rows' ages in seconds since they were received; empty when nothing was changed."""
    values = _values(
        upload, State.ACCEPTED, now, uploading=uploading, next_check_at=check_at, error_message=note or None
    )
    values |= {"row_status": "sent", "row_stage": "uploaded", "outcome": "accepted"}
    return [float(age) for (age,) in connection.execute(_ROWS_CHANGED, values) if age is not None]


def finish(connection: Connection, upload: Upload, result: Finished, *, now: datetime) -> None:
    """Metrika has processed it."""
    stage = "processed" if result.linked else "not_linked"
    values = _values(upload, result.state, now, uploading=result.uploading)
    connection.execute(_ROWS_CHANGED, values | {"row_status": "sent", "row_stage": stage, "outcome": stage})


def progress(connection: Connection, upload: Upload, uploading: Uploading, *, now: datetime, until: datetime) -> None:
    """Metrika is at work on it."""
    values = _values(upload, State.ACCEPTED, now, uploading=uploading, next_check_at=until)
    connection.execute(_CHANGED + "SELECT FROM upload", values)


def postpone(connection: Connection, upload: Upload, decision: Postpone, *, now: datetime) -> None:
    """It waits."""
    values = _values(upload, decision.state, now, next_check_at=decision.until, error_message=decision.message)
    connection.execute(_CHANGED + "SELECT FROM upload", values)


def fail(connection: Connection, upload: Upload, *, message: str, now: datetime) -> None:
    """Metrika refuses its only row."""
    values = _values(upload, State.REJECTED, now, error_class="metrika_rejected", error_message=message)
    connection.execute(_ROWS_CHANGED, values | {"row_status": "error", "row_stage": "failed", "outcome": "failed"})


def release(connection: Connection, upload: Upload, *, error_class: str, message: str, now: datetime) -> int:
    """Give up the file, not its rows: they are stored again and keep their seconds. Return how many."""
    values = _values(upload, State.REJECTED, now, error_class=error_class, error_message=message)
    return connection.execute(_ROWS_RELEASED, values).rowcount


def split(
    connection: Connection, upload: Upload, *, counter_id: UUID, halves: tuple[UUID, UUID], message: str, now: datetime
) -> None:
    """Give up the file and prepare two uploads, with these ids, of half its rows each."""
    with connection.transaction():
        rows = list(rows_of(connection, upload))
        values = _values(upload, State.REJECTED, now, error_class="metrika_rejected", error_message=message)
        if connection.execute(_CHANGED + "SELECT FROM upload", values).rowcount == 0:
            return
        middle = len(rows) // 2
        for half_id, half in zip(halves, (rows[:middle], rows[middle:]), strict=True):
            if half:
                create(connection, upload_id=half_id, counter_id=counter_id, id_type=upload.id_type, rows=half, now=now)


def _values(
    upload: Upload,
    new_state: State,
    now: datetime,
    *,
    uploading: Uploading | None = None,
    next_check_at: datetime | None = None,
    error_class: str | None = None,
    error_message: str | None = None,
) -> dict[str, Any]:
    return {
        "id": upload.id,
        "state": upload.state,
        "attempts": upload.attempts,
        "new_state": new_state,
        "now": now,
        "next_check_at": next_check_at,
        "error_class": error_class,
        "error_message": error_message,
        "metrika_upload_id": uploading and uploading.id,
        "metrika_status": uploading and uploading.status,
        **{name: getattr(uploading, name, None) for name in _COUNTS},
    }
