"""One batch of recorded changes: their rows as they are now to Kafka, and then exactly those changes are forgotten.

A change is forgotten by its own number and never by "up to here", so it does not matter in which order transactions
commit, nor what a row's timestamp says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, LiteralString

from goalpost.sessions.counts import Counts
from goalpost.sessions.publishing import SessionTopic, turn
from goalpost.sessions.sorting import removals, sorted_out
from goalpost.sessions.table import Table
from schemas.events import EpochMillis
from sinks.postgres.connection import Connection, translated_errors

_BATCH: Final = 2_000

_RECORDED: Final[LiteralString] = "SELECT id, row_id, left_session FROM user_analytics_changes ORDER BY id LIMIT %s"
_WAITING: Final[LiteralString] = """
SELECT count(*), coalesce((extract(epoch FROM (
    SELECT at FROM user_analytics_changes ORDER BY id LIMIT 1))), 0)::float8
FROM (SELECT FROM user_analytics_changes LIMIT %s) AS counted
"""
# Counting stops here: beyond it the number says enough, and counting millions every second would cost.
_COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one batch. ``changes`` were taken, ``removed`` sessions are gone, ``more`` may be waiting."""

    changes: int
    removed: int
    counts: Counts
    unusable: tuple[tuple[str, str], ...]

    @property
    def more(self) -> bool:
        """Whether the batch was full."""
        return self.changes == _BATCH


def send_changes(connection: Connection, table: Table, topic: SessionTopic, *, now_ms: EpochMillis) -> Taken:
    """Write what has changed, the oldest changes first.

    Raises:
        Transient: no change was forgotten; try again.
    """
    with turn(connection):
        recorded: list[Any] = connection.execute(_RECORDED, (_BATCH,)).fetchall()
        if not recorded:
            return Taken(changes=0, removed=0, counts=Counts(), unusable=())
        # A statement of its own, so that it sees at least what the recorded transactions have committed.
        rows = table.named(
            connection,
            list(dict.fromkeys(row_id for _, row_id, _ in recorded if row_id is not None)),
            left := [session for _, _, session in recorded if session is not None],
        )
        present = frozenset(str(row.record["session_id"]) for row in rows if row.record["session_id"] is not None)
        gone = removals(left, present=present, received_at=now_ms)
        found = sorted_out(rows, received_at=now_ms)
        topic.write([*gone, *found.records(topic.codec)])
        connection.execute("DELETE FROM user_analytics_changes WHERE id = ANY(%s)", ([one[0] for one in recorded],))
    return Taken(changes=len(recorded), removed=len(gone), counts=found.counts, unusable=found.unusable)


def waiting(connection: Connection) -> tuple[int, float]:
    """Return how many changes wait (100 000 is that or more), and since when the oldest does: epoch seconds, or 0."""
    with translated_errors():
        found: list[Any] = connection.execute(_WAITING, (_COUNTED,)).fetchall()
    return int(found[0][0]), float(found[0][1])
