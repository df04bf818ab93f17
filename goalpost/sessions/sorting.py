"""What becomes of a row: a session, or the reason why it is none. Pure.

The rule is the one of POST /sessions/supabase, so that it does not matter which way a row comes in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from goalpost.sessions.counts import Counts, Unusable
from goalpost.sessions.table import StoredRow
from producers.fields import BadField
from producers.identifiers import digits
from producers.intake import TABLE, Removed, Skipped, change, nested_ids, removal_record, session_records
from schemas.codec import Codec
from schemas.events import EpochMillis, Session
from schemas.records import Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """What is to be sent of some rows, and what became of each row."""

    sessions: tuple[Session, ...]
    counts: Counts
    unusable: tuple[tuple[str, str], ...]
    """Ids of the rows that are no session, each with the reason."""

    def records(self, codec: Codec[Session]) -> list[Outgoing]:
        """Return the sessions as records, in the order of the rows."""
        return [record for session in self.sessions for record in session_records(session, codec)]


def sorted_out(rows: Iterable[StoredRow], *, received_at: EpochMillis) -> Sorted:
    """Decide about each row.

    Rows that goalpost itself writes are left out: their sessions are in the topic already, with more in them.
    """
    sessions: list[Session] = []
    unusable: list[tuple[str, str]] = []
    counts = Counts()
    for row in rows:
        if row.own:
            counts = counts.plus(Counts(rows=1, own=1))
            continue
        outcome = change({"table": TABLE, "type": "UPDATE", "record": row.record}, received_at=received_at)
        match outcome:
            case Session():
                sessions.append(outcome)
            case Skipped(why=why):
                unusable.append((row.row_id, why))
                counts = counts.plus(Counts(rows=1, unusable={why: Unusable.one(row.row_id, visitor=_visitor(row))}))
            case Removed():
                raise AssertionError("only a DELETE removes")
            case _:
                assert_never(outcome)
    known = Counts(
        rows=len(sessions),
        sessions=len(sessions),
        without_visitor=sum(session.ym_uid is None for session in sessions),
    )
    return Sorted(sessions=tuple(sessions), counts=counts.plus(known), unusable=tuple(unusable))


def removals(left_sessions: Iterable[str], *, present: frozenset[str], received_at: EpochMillis) -> list[Outgoing]:
    """Return a tombstone for each session that its row has left, unless another row has it.

    ``present`` are the sessions, as they stand in the table, that some row still has.
    """
    records: list[Outgoing] = []
    for session_id in dict.fromkeys(left_sessions):
        if session_id in present:
            continue
        gone = {"table": TABLE, "type": "DELETE", "old_record": {"session_id": session_id, "id": "gone"}}
        outcome = change(gone, received_at=received_at)
        if isinstance(outcome, Removed):  # else it was never usable, so it never was in the topic
            records.append(removal_record(outcome))
    return records


def _visitor(row: StoredRow) -> bool:
    """Whether a row that is no session knows its visitor all the same."""
    try:
        return digits(nested_ids(row.record["analytics_data"]), "ym_uid") is not None
    except BadField:
        return False
