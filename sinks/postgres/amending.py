"""Conversions that come again, inside the transaction of their batch: late sessions and other amounts, each once.

Nothing here changes a stage, an upload, or an identifier, amount or time that an upload may hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, LiteralString

import orjson
from psycopg.rows import class_row

from sinks.postgres import corrections
from sinks.postgres.connection import Connection
from sinks.postgres.repeats import (
    Decision,
    Known,
    correction_of,
    decision_about,
    is_late_session,
    is_other_amount,
    letter_message,
    session_news,
    with_sentence,
)
from sinks.postgres.rows import PlacedConversion

# Which of the repeats say anything new. Row by row through the primary key, whatever the planner believes.
_NEWS: Final[LiteralString] = """
SELECT DISTINCT given.id::text
FROM jsonb_to_recordset(%s::jsonb) AS given (
    id uuid, price numeric, currency text, price_sent boolean, currency_sent boolean, has_session boolean,
    raw_partition int, raw_offset bigint)
CROSS JOIN LATERAL (
    SELECT stage, session_missing, goal_appended, anonymised_at, price, currency, raw_partition, raw_offset
    FROM webhook_conversions WHERE id = given.id OFFSET 0
) AS stored
WHERE stored.stage IS NOT NULL AND (
    (given.has_session AND stored.session_missing AND NOT stored.goal_appended AND stored.anonymised_at IS NULL)
    OR (given.price_sent
        AND (stored.raw_partition, stored.raw_offset) IS DISTINCT FROM (given.raw_partition, given.raw_offset)
        AND (stored.price IS DISTINCT FROM given.price
             OR (given.currency_sent AND stored.currency IS DISTINCT FROM given.currency))))
"""

# In the order of the ids, so that two transactions never wait for each other in a circle.
_KNOWN: Final[LiteralString] = """
SELECT c.id::text AS event_id, c.target, c.price, c.currency,
       (extract(epoch FROM c.occurred_at) * 1000)::bigint AS occurred_at,
       (extract(epoch FROM c.received_at) * 1000)::bigint AS received_at,
       (extract(epoch FROM c.deadline_at) * 1000)::bigint AS deadline_at,
       c.raw_partition, c.raw_offset,
       CASE WHEN c.client_id IS NOT NULL THEN 'ClientId' WHEN c.yclid IS NOT NULL THEN 'Yclid'
            WHEN c.user_id IS NOT NULL THEN 'UserId' WHEN c.purchase_id IS NOT NULL THEN 'PurchaseId'
            ELSE 'Contact' END AS named_by,
       coalesce(c.session_missing, FALSE) AND NOT c.goal_appended AND c.anonymised_at IS NULL AS awaits_session,
       c.anonymised_at IS NOT NULL AS anonymous, w.on_change, c.notes, NULL::bigint AS corrected_at
FROM webhook_conversions AS c JOIN offline_webhooks AS w ON w.id = c.webhook_id
WHERE c.id = ANY(%s::uuid[])
ORDER BY c.id FOR NO KEY UPDATE OF c
"""

_BRING_SESSIONS: Final[LiteralString] = """
UPDATE webhook_conversions AS c
SET session_missing = FALSE, session_id = coalesce(c.session_id, given.session_id),
    session_at = to_timestamp(given.session_at / 1000.0::float8), creates_row = given.creates_row,
    analytics_row_id = given.row_id, goal_appended = given.row_is_there, updated_at = now()
FROM jsonb_to_recordset(%s::jsonb) AS given (
    id uuid, session_id text, session_at bigint, creates_row boolean, row_id text, row_is_there boolean)
WHERE c.id = given.id
"""

_TELL: Final[LiteralString] = """
WITH given AS (
    SELECT * FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (id uuid, what text, said text))
        WITH ORDINALITY AS one (id, what, said, number)
)
INSERT INTO conversion_events (conversion_id, status, stage, previous_stage, what, reason)
SELECT c.id, c.status, c.stage, c.stage, given.what, given.said
FROM given JOIN webhook_conversions AS c ON c.id = given.id ORDER BY given.number
"""
_NOTE: Final[LiteralString] = """
UPDATE webhook_conversions AS c SET notes = given.notes, updated_at = now()
FROM jsonb_to_recordset(%s::jsonb) AS given (id uuid, notes text) WHERE c.id = given.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A conversion that is stored already; ``row`` is the key of its row in ``user_analytics`` if that is there."""

    row: str | None
    placed: PlacedConversion


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A repeat that becomes a dead letter, because its webhook wants a person to decide. ``why`` says so."""

    placed: PlacedConversion
    why: str


@dataclass(slots=True, kw_only=True)
class Amended:
    """What repeats have changed; ``goals`` are still to be appended, to the rows of these keys.

    ``sessions`` and ``corrections`` are counts, ``amounts`` the other amounts, each with its webhook.
    """

    goals: list[tuple[str, Known]] = field(default_factory=list)
    sessions: int = 0
    amounts: list[tuple[str, Decision]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    corrections: int = 0


def amended(connection: Connection, repeats: Sequence[Repeat]) -> Amended:
    """Carry out what ``repeats``, in the order of their places, say beyond what is stored."""
    result = Amended()
    news = _those_with_news(connection, repeats)
    if news:
        _Amendment(connection, result).carry_out([one for one in repeats if one.placed.conversion.event_id in news])
    return result


def _those_with_news(connection: Connection, repeats: Sequence[Repeat]) -> frozenset[str]:
    if not repeats:
        return frozenset()
    given = [
        {
            "id": it.event_id,
            "price": str(it.price),
            "currency": it.currency,
            "price_sent": it.price_sent,
            "currency_sent": it.currency_sent,
            "has_session": not it.session_missing,
            "raw_partition": it.raw_partition,
            "raw_offset": it.raw_offset,
        }
        for it in (repeat.placed.conversion for repeat in repeats)
    ]
    return frozenset(str(event_id) for (event_id,) in connection.execute(_NEWS, (_json(given),)))


class _Amendment:
    """The rows that repeats are of, locked, and what is to be written about them."""

    def __init__(self, connection: Connection, result: Amended) -> None:
        self._connection = connection
        self._result = result
        self._known: dict[str, Known] = {}
        self._said: list[tuple[str, str, str]] = []

    def carry_out(self, repeats: Sequence[Repeat]) -> None:
        """Do it."""
        event_ids = sorted({repeat.placed.conversion.event_id for repeat in repeats})
        with self._connection.cursor(row_factory=class_row(Known)) as cursor:
            self._known = {known.event_id: known for known in cursor.execute(_KNOWN, (event_ids,))}
        corrected_at = corrections.latest(self._connection, event_ids)
        self._known = {
            event_id: replace(known, corrected_at=corrected_at.get(event_id)) for event_id, known in self._known.items()
        }
        ours = [repeat for repeat in repeats if repeat.placed.conversion.event_id in self._known]
        self._bring_sessions(ours)
        self._weigh_amounts(ours)
        self._tell()

    def _bring_sessions(self, repeats: Sequence[Repeat]) -> None:
        brought: list[dict[str, Any]] = []
        for repeat in repeats:
            late = repeat.placed.conversion
            known = self._known[late.event_id]
            if not is_late_session(known, late):
                continue
            self._known[late.event_id] = replace(known, awaits_session=False)
            row_is_there = repeat.row is not None
            if repeat.row is not None:
                self._result.goals.append((repeat.row, known))
            self._say(late.event_id, "session_came", session_news(known, late, row_is_there=row_is_there))
            brought.append(
                {
                    "id": late.event_id,
                    "session_id": late.session_id,
                    "session_at": late.session_at,
                    "creates_row": late.creates_row,
                    "row_id": late.row_id,
                    "row_is_there": row_is_there,
                }
            )
        if brought:
            self._connection.execute(_BRING_SESSIONS, (_json(brought),))
        self._result.sessions = len(brought)

    def _weigh_amounts(self, repeats: Sequence[Repeat]) -> None:
        for repeat in repeats:
            placed = repeat.placed
            known = self._known[placed.conversion.event_id]
            if is_other_amount(known, placed.conversion):
                self._weigh(known, placed)

    def _weigh(self, known: Known, placed: PlacedConversion) -> None:
        decision, sentence = decision_about(known, placed.conversion)
        seen = corrections.remember(self._connection, placed, decision)
        asked = seen.decision is Decision.LETTERED
        if seen.is_new:
            self._result.amounts.append((placed.conversion.webhook_id, decision))
            self._carry_out(decision, sentence, placed)
        elif asked and placed.is_replayed and not seen.is_of(placed):
            # A person has replayed the letter: that amount counts.
            decision, sentence = correction_of(known, placed.conversion)
            corrections.decide(self._connection, placed, decision)
            self._carry_out(decision, sentence, placed)
        if asked and seen.is_of(placed):
            self._result.asked.append(Asked(placed=placed, why=letter_message(known, placed.conversion)))

    def _carry_out(self, decision: Decision, sentence: str, placed: PlacedConversion) -> None:
        event_id = placed.conversion.event_id
        self._say(event_id, "amount_changed", sentence)
        if decision is Decision.CORRECTED:
            corrections.create(self._connection, placed, sentence)
            self._result.corrections += 1
            self._known[event_id] = replace(self._known[event_id], corrected_at=placed.conversion.received_at)

    def _say(self, event_id: str, what: str, sentence: str) -> None:
        self._said.append((event_id, what, sentence))
        known = self._known[event_id]
        self._known[event_id] = replace(known, notes=with_sentence(known.notes, sentence))

    def _tell(self) -> None:
        if not self._said:
            return
        told = [{"id": event_id, "what": what, "said": said} for event_id, what, said in self._said]
        notes = [{"id": one, "notes": self._known[one].notes} for one in {event_id for event_id, _, _ in self._said}]
        self._connection.execute(_TELL, (_json(told),))
        self._connection.execute(_NOTE, (_json(notes),))


def _json(rows: Sequence[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
