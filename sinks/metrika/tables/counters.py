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

_LOCK_SPACE: Final = 0x676F616C  # "goal": keeps our advisory locks apart from other programs'

# Stored conversions are claimed when the last claim is long enough ago. An upload that waits after a refusal holds
# claims back, so that they gather in one file; each upload that is unclear doubles the pause.
_STATES: Final = """
    SELECT id, number, account_id, sealed_token, has_expired, may_claim FROM (
        SELECT counter.id, counter.counter_id AS number, account.id AS account_id,
               account.access_token AS sealed_token,
            EXISTS (
                SELECT FROM webhook_conversions AS stored
                WHERE stored.counter_id = counter.id AND stored.stage = 'stored' AND stored.status = 'pending'
                  AND stored.deadline_at <= %(now)s
            ) AS has_expired,
            EXISTS (
                SELECT FROM metrika_uploads AS upload
                WHERE upload.counter_id = counter.id
                  AND upload.state IN ('prepared', 'sending', 'unknown', 'accepted')
                  AND coalesce(upload.next_check_at, '-infinity') <= %(now)s
            ) AS has_due_uploads,
            EXISTS (
                SELECT FROM webhook_conversions AS stored
                WHERE stored.counter_id = counter.id AND stored.stage = 'stored' AND stored.status = 'pending'
                  AND stored.occurred_at <= %(latest)s
            ) AND NOT EXISTS (
                SELECT FROM metrika_uploads AS upload
                WHERE upload.counter_id = counter.id AND upload.state = 'prepared' AND upload.attempts > 0
            ) AND coalesce((
                SELECT max(upload.prepared_at) FROM metrika_uploads AS upload WHERE upload.counter_id = counter.id
            ), '-infinity') + make_interval(secs => %(interval)s * 2 ^ (
                SELECT least(count(*), 10) FROM metrika_uploads AS upload
                WHERE upload.counter_id = counter.id AND upload.state = 'unknown'
            )) <= %(now)s AS may_claim
        FROM metrika_counters AS counter
        JOIN yandex_accounts AS account ON account.id = counter.account_id
        WHERE %(only)s::uuid IS NULL OR counter.id = %(only)s::uuid
    ) AS states
    WHERE has_expired OR has_due_uploads OR may_claim
"""

_PENDING: Final = "SELECT count(*) FROM webhook_conversions WHERE stage = 'stored' AND status = 'pending'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter with something to do. ``number`` is Metrika's; ``sealed_token`` tells whether the token has changed."""

    id: UUID
    number: int
    account_id: UUID
    sealed_token: str
    has_expired: bool
    may_claim: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Now; the latest time of a conversion that Metrika takes now; and the pause between claims in seconds."""

    now: datetime
    latest: datetime
    interval_seconds: float


def due(connection: Connection, moment: Moment) -> list[Counter]:
    """Return every counter that has something to do."""
    return _states(connection, moment, only=None)


def still_due(connection: Connection, moment: Moment, counter_id: UUID) -> Counter | None:
    """Return the counter as it is now, or ``None`` when there is nothing left to do."""
    found = _states(connection, moment, only=counter_id)
    return found[0] if found else None


def _states(connection: Connection, moment: Moment, *, only: UUID | None) -> list[Counter]:
    values = {"now": moment.now, "latest": moment.latest, "interval": moment.interval_seconds, "only": only}
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


def pending(connection: Connection) -> int:
    """Return how many conversions wait for their upload."""
    row = connection.execute(_PENDING).fetchone()
    return int(row[0]) if row else 0
