"""SQL over ``metrika_counters``: which counters have something to do, and who works on one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from sinks.metrika.tables.corrections import CORRECTION_WAITS
from sinks.metrika.tables.orders import WAITS

_LOCK_SPACE: Final = 0x676F616C  # "goal": keeps our advisory locks apart from other programs'

# Conversions of a held goal are not uploaded, but for one at each retry (metrika_goals).
_UPLOADABLE: Final = f"""
    stored.counter_id = counter.id AND stored.stage = 'stored' AND stored.status = 'pending'
      AND stored.occurred_at <= %(latest)s
      AND NOT EXISTS (
          SELECT FROM metrika_goals AS goal
          WHERE goal.counter_id = stored.counter_id AND goal.target = stored.target
            AND goal.held_at IS NOT NULL AND goal.retry_at > %(now)s
      )
      AND NOT ({WAITS}) AND NOT ({CORRECTION_WAITS})
"""

# An upload that waits after a refusal holds claims back, so that they gather in one file; one of orders only orders.
# Of orders Metrika tells nothing after its first answer, so there is nothing to check.
_STATES: Final = f"""
    SELECT counter.id, counter.counter_id AS number, account.id AS account_id, account.yandex_uid,
           account.access_token AS sealed_token, account.paused_reason IS NOT NULL AS paused,
           coalesce(counter.separate_goals_until > %(now)s, FALSE) AS separate_goals,
           EXISTS (
               SELECT FROM webhook_conversions AS stored
               WHERE stored.counter_id = counter.id AND stored.stage = 'stored' AND stored.status = 'pending'
                 AND stored.deadline_at <= %(now)s
           ) AS has_expired,
           EXISTS (
               SELECT FROM metrika_uploads AS upload
               WHERE upload.counter_id = counter.id AND upload.state IN ('prepared', 'sending', 'unknown')
                 AND coalesce(upload.next_check_at, '-infinity') <= %(now)s
           ) AS has_open_uploads,
           EXISTS (
               SELECT FROM metrika_uploads AS upload
               WHERE upload.counter_id = counter.id AND upload.state = 'accepted' AND upload.id_type <> 'Contact'
                 AND coalesce(upload.next_check_at, '-infinity') <= %(now)s
           ) AS has_checks,
           CASE WHEN NOT EXISTS (
               SELECT FROM metrika_uploads AS upload
               WHERE upload.counter_id = counter.id AND upload.state = 'prepared' AND upload.attempts > 0
                 AND upload.id_type <> 'Contact'
           ) THEN (
               SELECT least(stored.deadline_at, '9000-01-01') FROM webhook_conversions AS stored
               WHERE {_UPLOADABLE}
               ORDER BY stored.deadline_at LIMIT 1
           ) END AS deadline,
           (SELECT max(upload.prepared_at) FROM metrika_uploads AS upload
            WHERE upload.counter_id = counter.id) AS last_claim,
           (SELECT least(count(*), 10)::int FROM metrika_uploads AS upload
            WHERE upload.counter_id = counter.id AND upload.state = 'unknown') AS unclear
    FROM metrika_counters AS counter
    JOIN yandex_accounts AS account ON account.id = counter.account_id
    WHERE %(only)s::uuid IS NULL OR counter.id = %(only)s::uuid
"""  # noqa: S608 - constants only

_LEVELS: Final = """
    SELECT count(*) AS pending, extract(epoch FROM min(deadline_at))::float8 AS deadline,
           (SELECT count(*) FROM yandex_accounts WHERE paused_reason IS NOT NULL) AS accounts_paused,
           (SELECT count(*) FROM metrika_goals WHERE held_at IS NOT NULL) AS goals_held,
           (SELECT count(*) FROM metrika_goals WHERE unknown_since IS NOT NULL) AS goals_unknown,
           (SELECT count(*) FROM metrika_uploads WHERE state IN ('sending', 'unknown')) AS uploads_unclear
    FROM (
        SELECT deadline_at FROM webhook_conversions WHERE stage = 'stored' AND status = 'pending'
        UNION ALL
        SELECT deadline_at FROM webhook_conversions
        WHERE stage = 'batched' AND upload IN (
            SELECT id FROM metrika_uploads WHERE state IN ('prepared', 'sending', 'unknown'))
    ) AS waiting
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter as it stands. ``number`` is Metrika's; ``sealed_token`` tells whether the token has changed.

    ``deadline`` is that of the conversion that expires first of those that may be uploaded, ``None`` without any.
    ``has_open_uploads``: an upload is to be sent or looked for now; ``has_checks``: one is to be followed.
    """

    id: UUID
    number: int
    account_id: UUID
    yandex_uid: str
    sealed_token: str
    paused: bool
    separate_goals: bool
    has_expired: bool
    has_open_uploads: bool
    has_checks: bool
    deadline: datetime | None
    last_claim: datetime | None
    unclear: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Now, and the latest time of a conversion that Metrika takes now."""

    now: datetime
    latest: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What the gauges show. ``deadline`` in epoch seconds."""

    pending: int
    deadline: float | None
    accounts_paused: int
    goals_held: int
    goals_unknown: int
    uploads_unclear: int


def states(connection: Connection, moment: Moment, *, only: UUID | None = None) -> list[Counter]:
    """Return every counter, or ``only`` one, as it stands now."""
    values = {"now": moment.now, "latest": moment.latest, "only": only}
    with connection.cursor(row_factory=class_row(Counter)) as cursor:
        return cursor.execute(_STATES, values).fetchall()


@contextmanager
def locked(connection: Connection, number: int) -> Iterator[bool]:
    """Hold the counter for this connection while the block lasts; gives ``False`` when another process has it.

    The lock is the session's, so Postgres releases it when the process dies; by Metrika's number, because two accounts
    may have entered the same counter.
    """
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, number)).fetchone()
    held = row is not None and bool(row[0])
    try:
        yield held
    finally:
        if held and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_LOCK_SPACE, number))


def levels(connection: Connection) -> Levels:
    """Return what waits, and what is in trouble."""
    with connection.cursor(row_factory=class_row(Levels)) as cursor:
        found = cursor.execute(_LEVELS).fetchone()
    assert found is not None  # noqa: S101 - a SELECT of values has one row
    return found
