"""From conversions and sessions to rows, keys and goals. Pure: no client library, no clock."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import orjson

from schemas.events import Conversion, EpochMillis, Session

# Postgres counts microseconds from 2000-01-01 (documentation of the binary format: timestamptz_send).
_POSTGRES_EPOCH_MS: Final = 946_684_800_000

# Nearly every id is written like this already; parsing it to write the same again costs ten times as much.
_CANONICAL_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INTEGER_LIMITS: Final = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedConversion:
    """A conversion and where it stands in ``crm.conversions``; ``is_replayed`` if a person sent it there again."""

    conversion: Conversion
    partition: int
    offset: int
    is_replayed: bool = False


# Column, type as the COPY sends it, in the order of the table incoming_conversions (session.sql).
_TEXT, _TIME = "text", "int8"
STAGED: Final[tuple[tuple[str, str], ...]] = (
    ("id", _TEXT),
    ("webhook_id", _TEXT),
    ("counter_id", _TEXT),
    ("payload", _TEXT),
    ("order_id", _TEXT),
    ("external_source", _TEXT),
    ("session_id", _TEXT),
    ("session_missing", "bool"),
    ("session_at", _TIME),
    ("creates_row", "bool"),
    ("analytics_row_id", _TEXT),
    ("client_id", _TEXT),
    ("yclid", _TEXT),
    ("user_id", _TEXT),
    ("purchase_id", _TEXT),
    ("target", _TEXT),
    ("price", _TEXT),
    ("currency", _TEXT),
    ("occurred_at", _TIME),
    ("received_at", _TIME),
    ("resolved_at", _TIME),
    ("deadline_at", _TIME),
    ("goal_rule", _TEXT),
    ("rules_changed_at", _TIME),
    ("attempts", "int4"),
    ("goal_appended", "bool"),
    ("raw_partition", "int4"),
    ("raw_offset", "int8"),
    ("conversion_partition", "int4"),
    ("conversion_offset", "int8"),
    ("email_md5", _TEXT),
    ("phone_md5", _TEXT),
    ("notes", _TEXT),
)


def staged_row(placed: PlacedConversion, *, goal_appended: bool) -> tuple[object, ...]:
    """Return the values of :data:`STAGED` for one conversion."""
    it = placed.conversion
    return (
        it.event_id,
        it.webhook_id,
        it.counter_id,
        it.payload,
        it.order_id,
        it.source,
        it.session_id,
        it.session_missing,
        None if it.session_at is None else _timestamptz(it.session_at),
        it.creates_row,
        it.row_id,
        it.client_id,
        it.yclid,
        it.user_id,
        it.purchase_id,
        it.target,
        str(it.price),
        it.currency,
        _timestamptz(it.occurred_at),
        _timestamptz(it.received_at),
        _timestamptz(it.resolved_at),
        _timestamptz(it.deadline_at),
        it.goal_rule,
        _timestamptz(it.rules_changed_at),
        it.attempts,
        goal_appended,
        it.raw_partition,
        it.raw_offset,
        placed.partition,
        placed.offset,
        it.email_md5,
        it.phone_md5,
        it.notes,
    )


def _timestamptz(at: EpochMillis) -> int:
    return (at - _POSTGRES_EPOCH_MS) * 1000


def each_once(batch: Iterable[PlacedConversion]) -> list[PlacedConversion]:
    """Return the first of each event id, in the order of the ids: two sinks then take locks in the same order."""
    first: dict[str, PlacedConversion] = {}
    for placed in batch:
        first.setdefault(placed.conversion.event_id, placed)
    return [first[event_id] for event_id in sorted(first)]


def row_key(id_type: str, row_id: str | None) -> str | None:
    """Return ``row_id`` as Postgres writes an id of ``id_type``, or ``None`` where no such row can exist."""
    if row_id is None:
        return None
    try:
        if id_type == "uuid":
            return row_id if _CANONICAL_UUID.fullmatch(row_id) else str(uuid.UUID(row_id))
        if id_type in _INTEGER_LIMITS:
            number, limit = int(row_id), _INTEGER_LIMITS[id_type]
            return str(number) if -limit <= number < limit else None
    except ValueError:
        return None
    return row_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session record as its row in ``user_analytics``.

    Records of one session are ordered by (``last_visit_at``, ``received_at``, ``digest``): the greatest is what the
    row shows, whatever the order of arrival. The digest decides arbitrarily, but the same everywhere.
    """

    row_id: str
    session_id: str
    session_at: EpochMillis
    last_visit_at: EpochMillis
    received_at: EpochMillis
    analytics_data: str
    digest: str


_recency = attrgetter("last_visit_at", "received_at", "digest")


def session_row(session: Session, key: str) -> SessionRow:
    """Return the row of a session whose id, as Postgres writes it, is ``key``."""
    data = session.analytics_data or "null"
    content = f"{session.session_id}\0{session.session_at}\0{data}"
    return SessionRow(
        row_id=key,
        session_id=session.session_id,
        session_at=session.session_at,
        last_visit_at=session.last_visit_at,
        received_at=session.received_at,
        analytics_data=data,
        digest=hashlib.sha256(content.encode()).hexdigest(),
    )


def newest_of_each(rows: Iterable[SessionRow]) -> list[SessionRow]:
    """Return the newest record of each row."""
    newest: dict[str, SessionRow] = {}
    for row in rows:
        known = newest.get(row.row_id)
        if known is None or _recency(known) < _recency(row):
            newest[row.row_id] = row
    return list(newest.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRow:
    """A ``user_analytics`` row that has to be there before a session or a goal can be written into it."""

    row_id: str
    session_id: str | None
    session_at: EpochMillis | None


def as_json(rows: Sequence[NewRow | SessionRow | str]) -> str:
    """Return rows or keys as a JSON array, for ``jsonb_to_recordset`` or ``jsonb_array_elements_text``."""
    return orjson.dumps(rows).decode()


def new_rows(
    conversions: Iterable[tuple[str, Conversion]], sessions: Iterable[SessionRow], *, present: frozenset[str]
) -> list[NewRow]:
    """Return the rows to create: of sessions, and of ``conversions`` (by row key) that came before their session."""
    wanted = {
        key: NewRow(row_id=key, session_id=conversion.session_id, session_at=conversion.session_at)
        for key, conversion in conversions
    }
    for row in sessions:
        wanted[row.row_id] = NewRow(row_id=row.row_id, session_id=row.session_id, session_at=row.session_at)
    return [wanted[key] for key in sorted(wanted.keys() - present)]
