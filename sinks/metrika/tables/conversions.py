"""SQL over ``webhook_conversions``: what may be uploaded, and what never will be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from sinks.metrika.conversions import Candidate, Goal, IdType
from sinks.metrika.tables.corrections import CORRECTION_WAITS, SECOND
from sinks.metrika.tables.counters import Moment
from sinks.metrika.tables.orders import UNFIT, WAITS

# Only rows with a stage are goalpost's; whoever sets the status of a stored one by hand takes it out.

_WANTED: Final = f"""
    counter_id = %(counter_id)s AND stage = 'stored' AND status = 'pending'
      AND occurred_at <= %(latest)s AND coalesce(deadline_at, 'infinity') > %(now)s
      AND ({UNFIT}) IS NOT TRUE AND NOT ({WAITS}) AND NOT ({CORRECTION_WAITS})
"""
_HELD: Final = """
    EXISTS (SELECT FROM metrika_goals AS goal
            WHERE goal.counter_id = stored.counter_id AND goal.target = stored.target AND goal.held_at IS NOT NULL)
"""
_COLUMNS: Final = f"""
    id, client_id, yclid, user_id, purchase_id, target, price, currency, {SECOND} AS upload_second,
    floor(extract(epoch FROM occurred_at))::bigint AS second, coalesce(external_source, '') AS source, deadline_at,
    coalesce(phone_md5, email_md5) AS contact
"""

# Page by page, because a file may hold more rows than memory should.
_CANDIDATES: Final = f"""
    SELECT {_COLUMNS} FROM webhook_conversions AS stored
    WHERE {_WANTED} AND NOT {_HELD}
      AND (%(after_id)s::uuid IS NULL OR
           (coalesce(deadline_at, 'infinity'), id)
               > (coalesce(%(after)s::timestamptz, 'infinity'), %(after_id)s::uuid))
    ORDER BY deadline_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants only

# One conversion of each held goal whose turn it is to be tried.
_TRIALS: Final = f"""
    WITH tried AS (
        UPDATE metrika_goals SET retry_at = %(next_trial)s
        WHERE counter_id = %(counter_id)s AND held_at IS NOT NULL AND retry_at <= %(now)s
        RETURNING target
    ), first AS (
        SELECT one.id FROM tried CROSS JOIN LATERAL (
            SELECT id FROM webhook_conversions AS stored
            WHERE {_WANTED} AND target = tried.target ORDER BY deadline_at, id LIMIT 1
        ) AS one
    )
    SELECT {_COLUMNS} FROM webhook_conversions AS stored WHERE id IN (SELECT id FROM first) AND stage = 'stored'
    FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants only

_GROUPS: Final = f"""
    SELECT DISTINCT id_type, target, source FROM (
        SELECT CASE WHEN client_id IS NOT NULL THEN 'ClientId' WHEN yclid IS NOT NULL THEN 'Yclid'
                    WHEN user_id IS NOT NULL THEN 'UserId' WHEN purchase_id IS NOT NULL THEN 'PurchaseId'
                    ELSE 'Contact' END AS id_type,
               target, coalesce(external_source, '') AS source
        FROM webhook_conversions AS stored WHERE {_WANTED} AND NOT {_HELD}
        ORDER BY deadline_at, id LIMIT %(limit)s
    ) AS first
"""  # noqa: S608 - constants only

_SHARES: Final = """
    SELECT coalesce(external_source, ''), target, count(*)::int FROM webhook_conversions
    WHERE upload = %s GROUP BY 1, 2
"""

# The visitor is whatever identifier comes first in the order of precedence (conversions.IdType). Counters are compared
# by Metrika's number, because two accounts may have entered the same counter.
#
# OFFSET 0 keeps it a look-up in the index for each visitor. Where many rows were claimed since the last ANALYZE, the
# planner believes that nothing is claimed, and would hold every visitor against every claimed row: for minutes.
_TAKEN: Final = """
    SELECT DISTINCT wanted.visitor, wanted.target, taken.upload_second
    FROM (SELECT visitor, target, min(second) AS second
          FROM unnest(%(visitors)s::text[], %(targets)s::text[], %(seconds)s::bigint[]) AS one (visitor, target, second)
          GROUP BY visitor, target) AS wanted
    CROSS JOIN LATERAL (
        SELECT other.upload_second FROM webhook_conversions AS other
        WHERE coalesce(other.client_id, other.yclid, other.user_id, other.purchase_id) = wanted.visitor
          AND other.target = wanted.target
          AND other.upload_second >= wanted.second
          AND other.upload_second IS NOT NULL
          AND other.counter_id = ANY(ARRAY(SELECT id FROM metrika_counters WHERE counter_id = %(number)s))
        OFFSET 0
    ) AS taken
"""

_FAIL_HOPELESS: Final = f"""
    WITH hopeless AS (
        UPDATE webhook_conversions
        SET status = 'error', stage = 'failed', updated_at = %(now)s,
            error_class = CASE WHEN deadline_at <= %(now)s THEN 'expired' ELSE 'event_invalid' END,
            error_message = CASE
                WHEN deadline_at <= %(now)s THEN
                    'the 21 days after the last visit in which Metrika links a conversion are over'
                WHEN coalesce(phone_md5, email_md5) IS NULL THEN
                    'neither ClientId, Yclid, UserId nor PurchaseId: send ym_uid with the session or the conversion'
                WHEN price < 0 THEN
                    'an order cannot be worth less than nothing: send a refund with ym_uid'
                ELSE
                    'an order cannot name a goal with a comma or a colon in it: give the goal another identifier'
            END
        WHERE counter_id = %(counter_id)s AND stage = 'stored' AND status = 'pending'
          AND (deadline_at <= %(now)s OR ({UNFIT}))
        RETURNING id, error_class, error_message
    ), told AS (
        INSERT INTO outcome_outbox (conversion_id, outcome, error_class, error_message, at)
        SELECT id, 'failed', error_class, error_message, %(now)s FROM hopeless
        RETURNING error_class
    )
    SELECT error_class, count(*) FROM told GROUP BY error_class
"""  # noqa: S608 - constants only


def candidates(
    connection: Connection, counter_id: UUID, *, moment: Moment, limit: int, after: Candidate | None = None
) -> list[Candidate]:
    """Lock and return the conversions that may be uploaded, the ones that expire first in front, ``after`` that one."""
    values = _values(counter_id, moment) | {
        "limit": limit,
        "after": after and after.deadline_at,
        "after_id": after and after.id,
    }
    with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_CANDIDATES, values).fetchall()


def trials(connection: Connection, counter_id: UUID, *, moment: Moment, next_trial: datetime) -> list[Candidate]:
    """Lock and return one conversion of each held goal whose turn it is; the next is not before ``next_trial``."""
    values = _values(counter_id, moment) | {"next_trial": next_trial}
    with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_TRIALS, values).fetchall()


def groups(connection: Connection, counter_id: UUID, *, moment: Moment, limit: int) -> list[tuple[IdType, str, str]]:
    """Return which identifiers, goals and sources there are among the first ``limit`` that may be uploaded."""
    rows = connection.execute(_GROUPS, _values(counter_id, moment) | {"limit": limit})
    return [(IdType(id_type), str(target), str(source)) for id_type, target, source in rows]


def shares(connection: Connection, upload: UUID) -> dict[tuple[str, str], int]:
    """Return how many of an upload's rows each source and goal has."""
    return {(str(source), str(target)): int(count) for source, target, count in connection.execute(_SHARES, (upload,))}


def _values(counter_id: UUID, moment: Moment) -> dict[str, Any]:
    return {"counter_id": counter_id, "now": moment.now, "latest": moment.latest}


def taken_seconds(connection: Connection, number: int, wanted: Sequence[Candidate]) -> dict[Goal, set[int]]:
    """Return the seconds that earlier conversions of the same visitors and goals have."""
    rows = connection.execute(
        _TAKEN,
        {
            "number": number,
            "visitors": [one.identity()[1] for one in wanted],
            "targets": [one.target for one in wanted],
            "seconds": [one.second for one in wanted],
        },
    )
    taken: dict[Goal, set[int]] = {}
    for visitor, target, second in rows:
        taken.setdefault(Goal(visitor, target), set()).add(second)
    return taken


def fail_hopeless(connection: Connection, counter_id: UUID, *, now: datetime) -> dict[str, int]:
    """Fail what no upload can help: expired, without any identifier, or no order. Return how many by error class."""
    rows = connection.execute(_FAIL_HOPELESS, {"counter_id": counter_id, "now": now})
    return {str(error_class): int(count) for error_class, count in rows}
