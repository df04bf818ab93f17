"""SQL over ``webhook_conversions``: what may be uploaded, and what never will be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from sinks.metrika.conversions import Candidate, Goal
from sinks.metrika.tables.counters import Moment

# Only rows with a stage are goalpost's; whoever sets the status of a stored one by hand takes it out.

_CANDIDATES: Final = """
    SELECT id, client_id, yclid, user_id, purchase_id, target, price, currency, upload_second,
           floor(extract(epoch FROM occurred_at))::bigint AS second
    FROM webhook_conversions
    WHERE counter_id = %(counter_id)s AND stage = 'stored' AND status = 'pending'
      AND occurred_at <= %(latest)s AND coalesce(deadline_at, 'infinity') > %(now)s
      AND coalesce(client_id, yclid, user_id, purchase_id) IS NOT NULL
    ORDER BY deadline_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
"""

# The visitor is whatever identifier comes first in the order of precedence (conversions.IdType). Counters are compared
# by Metrika's number, because two accounts may have entered the same counter.
_TAKEN: Final = """
    SELECT DISTINCT wanted.visitor, wanted.target, other.upload_second
    FROM (SELECT visitor, target, min(second) AS second
          FROM unnest(%(visitors)s::text[], %(targets)s::text[], %(seconds)s::bigint[]) AS one (visitor, target, second)
          GROUP BY visitor, target) AS wanted
    JOIN webhook_conversions AS other
      ON coalesce(other.client_id, other.yclid, other.user_id, other.purchase_id) = wanted.visitor
     AND other.target = wanted.target
     AND other.upload_second >= wanted.second
    WHERE other.upload_second IS NOT NULL
      AND other.counter_id IN (SELECT id FROM metrika_counters WHERE counter_id = %(number)s)
"""

_FAIL_HOPELESS: Final = """
    WITH hopeless AS (
        UPDATE webhook_conversions
        SET status = 'error', stage = 'failed', updated_at = %(now)s,
            error_class = CASE WHEN deadline_at <= %(now)s THEN 'expired' ELSE 'event_invalid' END,
            error_message = CASE
                WHEN deadline_at <= %(now)s THEN
                    'the 21 days after the last visit in which Metrika links a conversion are over'
                ELSE
                    'neither ClientId, Yclid, UserId nor PurchaseId: send ym_uid with the session or the conversion'
            END
        WHERE counter_id = %(counter_id)s AND stage = 'stored' AND status = 'pending'
          AND (deadline_at <= %(now)s OR coalesce(client_id, yclid, user_id, purchase_id) IS NULL)
        RETURNING id, error_class, error_message
    ), told AS (
        INSERT INTO outcome_outbox (conversion_id, outcome, error_class, error_message, at)
        SELECT id, 'failed', error_class, error_message, %(now)s FROM hopeless
        RETURNING error_class
    )
    SELECT error_class, count(*) FROM told GROUP BY error_class
"""


def candidates(connection: Connection, counter_id: UUID, *, moment: Moment, limit: int) -> list[Candidate]:
    """Lock and return the conversions that may be uploaded, the ones that expire first in front."""
    values = {"counter_id": counter_id, "now": moment.now, "latest": moment.latest, "limit": limit}
    with connection.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_CANDIDATES, values).fetchall()


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
    """Fail what no upload can help: expired, or without any identifier. Return how many by error class."""
    rows = connection.execute(_FAIL_HOPELESS, {"counter_id": counter_id, "now": now})
    return {str(error_class): int(count) for error_class, count in rows}
