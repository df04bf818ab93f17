"""SQL over ``metrika_goals``: goals whose conversions Metrika refuses, or that it does not know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

_REFUSED: Final = """
    INSERT INTO metrika_goals AS goal
        (counter_id, target, error_type, refused_in_a_row, refused_on, refused_that_day)
    VALUES (%(counter_id)s, %(target)s, %(error_type)s, 1, %(day)s, 1)
    ON CONFLICT (counter_id, target) DO UPDATE SET
        refused_in_a_row = CASE WHEN goal.error_type IS NOT DISTINCT FROM excluded.error_type
                                THEN goal.refused_in_a_row + 1 ELSE 1 END,
        refused_that_day = CASE WHEN goal.refused_on = excluded.refused_on THEN goal.refused_that_day + 1 ELSE 1 END,
        error_type = excluded.error_type, refused_on = excluded.refused_on
    RETURNING target, refused_in_a_row, refused_that_day, retries
"""

_HOLD: Final = """
    UPDATE metrika_goals
    SET held_at = coalesce(held_at, %(now)s), retry_at = %(retry_at)s, retries = retries + 1, reason = %(reason)s
    WHERE counter_id = %(counter_id)s AND target = %(target)s
"""

# The file held rows of the goal and Metrika took it: whatever was wrong is over.
_ACCEPTED: Final = """
    UPDATE metrika_goals AS goal
    SET refused_in_a_row = 0, retries = 0, held_at = NULL, retry_at = NULL, reason = NULL
    WHERE goal.counter_id = %(counter_id)s AND (goal.refused_in_a_row > 0 OR goal.held_at IS NOT NULL)
      AND EXISTS (SELECT FROM webhook_conversions AS row WHERE row.upload = %(upload)s AND row.target = goal.target)
    RETURNING goal.target, goal.held_at IS NULL
"""

_FOUND: Final = """
    UPDATE metrika_goals SET unknown_since = NULL, unknown_lines = 0
    WHERE counter_id = %(counter_id)s AND target = %(target)s AND unknown_since IS NOT NULL
"""

_UNKNOWN: Final = """
    INSERT INTO metrika_goals AS goal (counter_id, target, unknown_since, unknown_lines)
    VALUES (%(counter_id)s, %(target)s, %(now)s, %(lines)s)
    ON CONFLICT (counter_id, target) DO UPDATE SET
        unknown_since = coalesce(goal.unknown_since, excluded.unknown_since),
        unknown_lines = goal.unknown_lines + excluded.unknown_lines
"""

_SEPARATE: Final = "UPDATE metrika_counters SET separate_goals_until = %(until)s WHERE id = %(counter_id)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """How often single conversions of a goal were refused: for the same cause in a row, and today."""

    target: str
    refused_in_a_row: int
    refused_that_day: int
    retries: int


def refused(connection: Connection, counter_id: UUID, target: str, *, error_type: str, day: date) -> Refusals:
    """Count a single conversion that was refused."""
    values = {"counter_id": counter_id, "target": target, "error_type": error_type, "day": day}
    with connection.cursor(row_factory=class_row(Refusals)) as cursor:
        found = cursor.execute(_REFUSED, values).fetchone()
    assert found is not None  # noqa: S101 - the statement always writes a row
    return found


def hold(
    connection: Connection, counter_id: UUID, target: str, *, reason: str, retry_at: datetime, now: datetime
) -> None:
    """Keep the goal's conversions back, but for one at ``retry_at``."""
    values = {"counter_id": counter_id, "target": target, "reason": reason, "retry_at": retry_at, "now": now}
    connection.execute(_HOLD, values)


def accepted(connection: Connection, counter_id: UUID, upload: UUID) -> list[str]:
    """End the troubles of the goals in an upload that Metrika took; return those goals."""
    rows = connection.execute(_ACCEPTED, {"counter_id": counter_id, "upload": upload})
    return [str(target) for target, _ in rows]


def counted(connection: Connection, counter_id: UUID, target: str, *, not_found: int, now: datetime) -> None:
    """Record that Metrika knows the goal, or of how many lines it does not."""
    values: dict[str, Any] = {"counter_id": counter_id, "target": target, "now": now, "lines": not_found}
    connection.execute(_UNKNOWN if not_found else _FOUND, values)


def separate(connection: Connection, counter_id: UUID, *, until: datetime) -> None:
    """Let the counter's files hold one goal each for a while."""
    connection.execute(_SEPARATE, {"counter_id": counter_id, "until": until})
