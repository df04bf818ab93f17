"""SQL: every transition of an upload, with what it does to its rows and to the news for other teams.

Each is one transaction and names the state and attempt that it answers, so that of two processes that believe to be at
work on an upload only one can change it. The database itself refuses any other move (docs/moves.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg import Connection

from sinks.metrika.answers import Uploading
from sinks.metrika.conversions import Placed
from sinks.metrika.files import first_goals
from sinks.metrika.ledger import Postpone, State, Upload
from sinks.metrika.looking import Finished, told
from sinks.metrika.tables.uploads import Draft, rows_of

T = TypeVar("T")

_PAGE_ROWS: Final = 5000

_COUNTS: Final = (
    "source_quantity",
    "line_quantity",
    "linked_quantity",
    "goal_not_found_quantity",
    "user_not_found_quantity",
)

_BEGIN: Final = """
    UPDATE metrika_uploads
    SET state = 'sending', attempts = attempts + 1, sent_at = %(now)s, answered_at = NULL, next_check_at = NULL,
        maybe_taken = maybe_taken OR state <> 'prepared'
    WHERE id = %(id)s AND state = %(state)s AND attempts = %(attempts)s
"""

# What every answer to an attempt begins with: nothing happens unless the upload still stands where it stood.
_CHANGED: Final = """
    WITH upload AS (
        UPDATE metrika_uploads
        SET state = %(new_state)s, answered_at = coalesce(answered_at, %(now)s), next_check_at = %(next_check_at)s,
            error_class = %(error_class)s, maybe_taken = maybe_taken OR %(maybe_taken)s,
            error_message = CASE WHEN %(keeps_message)s THEN error_message ELSE %(error_message)s END,
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
        FROM upload WHERE conversion.upload = upload.id AND conversion.stage = ANY(%(row_from)s)
        RETURNING conversion.id, conversion.metrika_upload_id, conversion.received_at
    ), told AS (
        INSERT INTO outcome_outbox (conversion_id, outcome, metrika_upload_id, error_class, error_message, at)
        SELECT id, %(outcome)s, metrika_upload_id, %(error_class)s, %(told)s, %(now)s FROM changed
    )
    SELECT extract(epoch FROM %(now)s - received_at)::float8 FROM changed
"""  # noqa: S608 - constants only

# Those that Metrika certainly has not.
_OF_GOAL: Final = """
    UPDATE metrika_uploads
    SET state = 'rejected', finished_at = %(now)s, error_class = 'metrika_rejected', error_message = %(message)s
    WHERE counter_id = %(counter_id)s AND target = %(target)s AND state = 'prepared' AND NOT maybe_taken
    RETURNING id
"""

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
    # One that somebody has given up while its file was on its way is with Metrika all the same.
    values |= {"row_from": ["batched", "failed"], "row_status": "sent", "row_stage": "uploaded"}
    values |= {"outcome": "accepted", "told": note or None}
    return [float(age) for (age,) in connection.execute(_ROWS_CHANGED, values) if age is not None]


def finish(connection: Connection, upload: Upload, result: Finished, *, now: datetime) -> None:
    """Metrika has processed it."""
    stage = "processed" if result.linked else "not_linked"
    values = _values(upload, result.state, now, uploading=result.uploading, keeps_message=True)
    values |= {"row_from": ["uploaded"], "row_status": "sent", "row_stage": stage, "outcome": stage}
    connection.execute(_ROWS_CHANGED, values | {"told": told(result.uploading, upload.row_count)})


def progress(connection: Connection, upload: Upload, uploading: Uploading, *, now: datetime, until: datetime) -> None:
    """Metrika is at work on it."""
    values = _values(upload, State.ACCEPTED, now, uploading=uploading, next_check_at=until, keeps_message=True)
    connection.execute(_CHANGED + "SELECT FROM upload", values)


def postpone(connection: Connection, upload: Upload, decision: Postpone, *, now: datetime) -> None:
    """It waits."""
    values = _values(upload, decision.state, now, next_check_at=decision.until, error_message=decision.message)
    values |= {"maybe_taken": decision.maybe_taken}
    connection.execute(_CHANGED + "SELECT FROM upload", values)


def fail(connection: Connection, upload: Upload, *, message: str, now: datetime) -> bool:
    """Metrika refuses its only row. Returns whether the upload still stood where it stood."""
    values = _values(upload, State.REJECTED, now, error_class="metrika_rejected", error_message=message)
    values |= {"row_from": ["batched"], "row_status": "error", "row_stage": "failed"}
    values |= {"outcome": "failed", "told": message}
    return connection.execute(_ROWS_CHANGED, values).rowcount > 0


def release(connection: Connection, upload: Upload, *, error_class: str, message: str, now: datetime) -> int:
    """Give up the file, not its rows: they are stored again and keep their seconds. Return how many."""
    values = _values(upload, State.REJECTED, now, error_class=error_class, error_message=message)
    return connection.execute(_ROWS_RELEASED, values).rowcount


def release_goal(connection: Connection, counter_id: UUID, target: str, *, message: str, now: datetime) -> int:
    """Give up the files of a goal that are not sent yet; their rows are stored again. Return how many rows."""
    values = {"counter_id": counter_id, "target": target, "message": message, "now": now}
    ids = [row[0] for row in connection.execute(_OF_GOAL, values)]
    return connection.execute(
        """
        UPDATE webhook_conversions
        SET stage = 'stored', upload = NULL, upload_line = NULL, updated_at = %s
        WHERE upload = ANY(%s) AND stage = 'batched'
        """,
        (now, ids),
    ).rowcount


def split(
    connection: Connection, upload: Upload, *, counter_id: UUID, ids: tuple[UUID, UUID], message: str, now: datetime
) -> None:
    """Give up the file and prepare two uploads, with these ``ids``, of a part of its rows each."""
    with connection.transaction():
        values = _values(upload, State.REJECTED, now, error_class="metrika_rejected", error_message=message)
        if connection.execute(_CHANGED + "SELECT FROM upload", values).rowcount == 0:
            return
        drafts = [
            Draft(connection, upload_id=one, counter_id=counter_id, id_type=upload.id_type, now=now, parent=upload.id)
            for one in ids
        ]
        first = first_goals(_goals(connection, upload))
        for page in _pages(enumerate(rows_of(connection, upload.id, upload.id_type), start=1)):
            parts: tuple[list[Placed], list[Placed]] = ([], [])
            for number, row in page:
                in_first = row.line.target in first if first else 2 * number <= upload.row_count
                parts[not in_first].append(row)
            for draft, part in zip(drafts, parts, strict=True):
                draft.add(part)
        for draft in drafts:
            draft.seal()


def _goals(connection: Connection, upload: Upload) -> dict[str, int]:
    query = "SELECT target, count(*) FROM webhook_conversions WHERE upload = %s GROUP BY target"
    return {str(target): int(rows) for target, rows in connection.execute(query, (upload.id,))}


def _pages(rows: Iterator[T]) -> Iterator[list[T]]:
    while page := list(islice(rows, _PAGE_ROWS)):
        yield page


def _values(
    upload: Upload,
    new_state: State,
    now: datetime,
    *,
    uploading: Uploading | None = None,
    next_check_at: datetime | None = None,
    error_class: str | None = None,
    error_message: str | None = None,
    keeps_message: bool = False,
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
        "keeps_message": keeps_message,
        "maybe_taken": False,
        "metrika_upload_id": uploading and uploading.id,
        "metrika_status": uploading and uploading.status,
        **{name: getattr(uploading, name, None) for name in _COUNTS},
    }
