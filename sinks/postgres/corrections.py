"""SQL over ``conversion_amounts``, and the rows that correct an uploaded amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from schemas.events import EpochMillis
from sinks.postgres.connection import Connection
from sinks.postgres.repeats import Decision, correction_id
from sinks.postgres.rows import PlacedConversion

# The row that is there already is returned as well; nothing of it changes.
_REMEMBER: Final[LiteralString] = """
INSERT INTO conversion_amounts AS known
    (conversion_id, price, currency, decision, received_at, conversion_partition, conversion_offset)
VALUES (%s::uuid, %s::numeric, %s, %s, to_timestamp(%s / 1000.0::float8), %s, %s)
ON CONFLICT (conversion_id, price, currency) DO UPDATE SET decision = known.decision
RETURNING xmax = 0, decision, conversion_partition, conversion_offset
"""
_DECIDE: Final[LiteralString] = """
UPDATE conversion_amounts SET decision = %s WHERE conversion_id = %s::uuid AND price = %s::numeric AND currency = %s
"""
_LATEST: Final[LiteralString] = """
SELECT conversion_id::text, (extract(epoch FROM max(received_at)) * 1000)::bigint FROM conversion_amounts
WHERE conversion_id = ANY(%s::uuid[]) AND decision = 'corrected' GROUP BY conversion_id
"""

# Everything by which Metrika knows the conversion is that of the first row; its second is taken from there when the
# file is made (sinks/metrika). The goal in user_analytics is the first row's as well.
_CREATE: Final[LiteralString] = """
INSERT INTO webhook_conversions (
    id, corrects, stage, price, currency, payload, received_at, resolved_at, rules_changed_at, attempts, raw_partition,
    raw_offset, conversion_partition, conversion_offset, notes,
    webhook_id, counter_id, order_id, external_source, session_id, session_missing, session_at, creates_row,
    analytics_row_id, client_id, yclid, user_id, purchase_id, target, goal_rule, occurred_at, deadline_at)
SELECT %(id)s::uuid, first.id, 'stored', %(price)s::numeric, %(currency)s, %(payload)s::jsonb,
       to_timestamp(%(received_at)s / 1000.0::float8), to_timestamp(%(resolved_at)s / 1000.0::float8),
       to_timestamp(%(rules_changed_at)s / 1000.0::float8), %(attempts)s, %(raw_partition)s, %(raw_offset)s,
       %(partition)s, %(offset)s, %(notes)s,
       first.webhook_id, first.counter_id, first.order_id, first.external_source, first.session_id,
       first.session_missing, first.session_at, FALSE, first.analytics_row_id, first.client_id, first.yclid,
       first.user_id, first.purchase_id, first.target, first.goal_rule, first.occurred_at, first.deadline_at
FROM webhook_conversions AS first WHERE first.id = %(corrects)s::uuid
ON CONFLICT (id) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of an amount: whether only since now, what was decided, and where it stood first."""

    is_new: bool
    decision: Decision
    partition: int
    offset: int

    def is_of(self, placed: PlacedConversion) -> bool:
        """Whether it was this very record that brought it."""
        return (self.partition, self.offset) == (placed.partition, placed.offset)


def remember(connection: Connection, placed: PlacedConversion, decision: Decision) -> Seen:
    """Note an amount with ``decision``, or return what was decided about it before."""
    it = placed.conversion
    values = (*_key(placed), decision.value, it.received_at, placed.partition, placed.offset)
    [(is_new, decided, partition, offset)] = connection.execute(_REMEMBER, values).fetchall()
    return Seen(
        is_new=bool(is_new), decision=Decision(str(decided)), partition=int(str(partition)), offset=int(str(offset))
    )


def decide(connection: Connection, placed: PlacedConversion, decision: Decision) -> None:
    """Note what a person has decided about an amount."""
    connection.execute(_DECIDE, (decision.value, *_key(placed)))


def latest(connection: Connection, event_ids: Sequence[str]) -> dict[str, EpochMillis]:
    """Return when the latest correction of each of these conversions was received."""
    found = connection.execute(_LATEST, (list(event_ids),))
    return {str(event_id): int(str(at)) for event_id, at in found}


def create(connection: Connection, placed: PlacedConversion, note: str) -> None:
    """Store the row that will be uploaded in the place of the first amount."""
    it = placed.conversion
    connection.execute(
        _CREATE,
        {
            "id": correction_id(it.event_id, it),
            "corrects": it.event_id,
            "price": str(it.price),
            "currency": it.currency,
            "payload": it.payload,
            "received_at": it.received_at,
            "resolved_at": it.resolved_at,
            "rules_changed_at": it.rules_changed_at,
            "attempts": it.attempts,
            "raw_partition": it.raw_partition,
            "raw_offset": it.raw_offset,
            "partition": placed.partition,
            "offset": placed.offset,
            "notes": note,
        },
    )


def _key(placed: PlacedConversion) -> tuple[str, str, str]:
    it = placed.conversion
    return it.event_id, str(it.price), it.currency or ""
