"""How far a reading of the whole table has come: a row of ``session_readings``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg.types.json import Jsonb

from goalpost.sessions.counts import Counts
from goalpost.sessions.table import Bounds, Position
from sinks.postgres.connection import Connection, translated_errors

# Each is a row; the two never meet, because a follower reads the table before it follows.
BACKFILL: Final = "backfill"
FOLLOW: Final = "follow"

_LOAD: Final[LiteralString] = """
SELECT since_ms, until_ms, position_at, position_id, untimed, counts, recording, finished_at IS NOT NULL
FROM session_readings WHERE name = %s
"""
_BEGIN: Final[LiteralString] = """
INSERT INTO session_readings (name, since_ms, until_ms, recording) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE
    SET since_ms = excluded.since_ms, until_ms = excluded.until_ms, recording = excluded.recording,
        position_at = NULL, position_id = NULL, untimed = FALSE, counts = '{}',
        started_at = NOW(), updated_at = NOW(), finished_at = NULL
"""
_ADVANCE: Final[LiteralString] = """
UPDATE session_readings
SET position_at = %(at)s, position_id = %(row_id)s, untimed = %(untimed)s, counts = %(counts)s, updated_at = NOW(),
    finished_at = CASE WHEN %(finished)s THEN NOW() END
WHERE name = %(name)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A reading: what it wants, where it stands, and what it has counted so far."""

    bounds: Bounds
    position: Position
    counts: Counts
    recording: str | None
    finished: bool


def load(connection: Connection, name: str) -> Reading | None:
    """Return the reading called ``name``, if it was ever begun.

    Raises:
        Misconfigured: `goalpost migrate` has not been run.
        PostgresUnavailable: no answer.
    """
    with translated_errors():
        found: list[Any] = connection.execute(_LOAD, (name,)).fetchall()
    for since_ms, until_ms, at, row_id, untimed, counts, recording, finished in found:
        return Reading(
            bounds=Bounds(since_ms=since_ms, until_ms=until_ms),
            position=Position(at=at, row_id=row_id, untimed=untimed),
            counts=Counts.from_json(counts),
            recording=recording,
            finished=finished,
        )
    return None


def begin(connection: Connection, name: str, bounds: Bounds, *, recording: str | None = None) -> None:
    """Begin a reading at the beginning of the table; one of this name is forgotten."""
    with translated_errors():
        connection.execute(_BEGIN, (name, bounds.since_ms, bounds.until_ms, recording))


def advance(connection: Connection, name: str, position: Position | None, counts: Counts) -> None:
    """Note where a reading stands now; ``None`` is the end of the table."""
    stands = position or Position()
    values: Mapping[str, object] = {
        "name": name,
        "at": stands.at,
        "row_id": stands.row_id,
        "untimed": stands.untimed,
        "counts": Jsonb(counts.as_json()),
        "finished": position is None,
    }
    with translated_errors():
        connection.execute(_ADVANCE, values)


def forget(connection: Connection, name: str) -> None:
    """Forget a reading."""
    with translated_errors():
        connection.execute("DELETE FROM session_readings WHERE name = %s", (name,))
