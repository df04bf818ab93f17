"""Writes a batch in one transaction: conversions, the sessions that goalpost creates, and the goals of new conversions.

A repeat changes nothing, unless it brings a late session or another amount; what was committed once stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.events import Conversion, Session
from sinks.postgres import sieve, statements
from sinks.postgres.amending import Amended, Repeat, amended
from sinks.postgres.connection import BadData, Connection, Misconfigured, translated_errors
from sinks.postgres.goals import Reached, goals_by_row
from sinks.postgres.rows import (
    STAGED,
    PlacedConversion,
    SessionRow,
    as_json,
    each_once,
    new_rows,
    newest_of_each,
    row_key,
    session_row,
    staged_row,
)
from sinks.postgres.sieve import Cause, Tried
from sinks.postgres.statements import AnalyticsStatements


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What one batch changed: ``stored`` are the conversions that were new, ``amended`` is what repeats changed."""

    stored: tuple[PlacedConversion, ...]
    repeated: int
    goals_appended: int
    sessions_written: int
    amended: Amended


class Writer:
    """Owns one connection's temporary tables and statements. Not for use by two threads."""

    def __init__(self, connection: Connection) -> None:
        """Set the connection up.

        Raises:
            Misconfigured: the tables are not there.
            PostgresUnavailable: the server went away.
        """
        self._connection = connection
        with translated_errors():
            connection.execute(statements.session_setup())
            columns = connection.execute(statements.COLUMN_TYPES).fetchall()
        self._statements = _fitted({str(name): str(kind) for name, kind in columns})

    def write(self, conversions: Sequence[PlacedConversion], sessions: Sequence[Session] = ()) -> Written:
        """Write a batch in one transaction.

        Raises:
            BadData: something in the batch is refused; nothing was written.
            Contention: another transaction was in the way; nothing was written.
            PostgresUnavailable: nothing is known: try again with a new connection, a repeat does no harm.
        """
        batch = _Batch(self._connection, self._statements, conversions, sessions)
        with translated_errors(), self._connection.transaction():
            present = batch.lock_rows()
            stored = batch.store_conversions(present)
            sessions_written = batch.write_sessions()
            goals_appended = batch.append_goals((key, placed.conversion) for key, placed in stored if key is not None)
            changed = batch.amend(stored, present)
            goals_appended += batch.append_goals(changed.goals)
            if stored or changed.corrections:
                self._connection.execute(statements.NOTIFY_STORED)
        return Written(
            stored=tuple(placed for _, placed in stored),
            repeated=len(conversions) - len(stored),
            goals_appended=goals_appended,
            sessions_written=sessions_written,
            amended=changed,
        )

    def refusals(self, records: Sequence[Tried]) -> dict[int, Cause]:
        """Return which of a few records Postgres refuses, by their index (``sieve``); nothing is written.

        Raises:
            BadData, Contention, PostgresUnavailable: as :meth:`write`.
        """
        return sieve.refusals(self._connection, self._statements, records)

    def probe(self) -> None:
        """Ask for nothing.

        Raises:
            PostgresUnavailable: the server does not answer.
        """
        with translated_errors():
            self._connection.execute("SELECT 1")


def _fitted(types: dict[str, str]) -> AnalyticsStatements:
    try:
        return statements.analytics_statements(types)
    except KeyError as exc:
        raise Misconfigured(f"the table user_analytics or its column {exc.args[0]} is not there") from exc


class _Batch:
    """One batch inside its transaction, step by step."""

    def __init__(
        self,
        connection: Connection,
        fitted: AnalyticsStatements,
        conversions: Sequence[PlacedConversion],
        sessions: Sequence[Session],
    ) -> None:
        self._connection = connection
        self._statements = fitted
        self._all = conversions
        self._conversions = each_once(conversions)
        self._keys = self._keys_of(self._conversions)
        self._sessions = newest_of_each(self._session_row(session) for session in sessions)

    def _keys_of(self, conversions: Iterable[PlacedConversion]) -> list[str | None]:
        return [row_key(self._statements.id_type, placed.conversion.row_id) for placed in conversions]

    def _session_row(self, session: Session) -> SessionRow:
        key = row_key(self._statements.id_type, session.row_id)
        if key is None:
            raise BadData(f"the session's row id is no {self._statements.id_type}, which user_analytics.id is")
        return session_row(session, key)

    def lock_rows(self) -> frozenset[str]:
        """Create the rows that are missing and goalpost's to create, lock all, and return the keys of those there."""
        keys = self._keys if len(self._conversions) == len(self._all) else self._keys_of(self._all)
        present = self._locked({key for key in keys if key is not None} | {row.row_id for row in self._sessions})
        missing = new_rows(self._creators(present), self._sessions, present=present)
        if not missing:
            return present
        self._connection.execute(self._statements.insert_rows, (as_json(missing),))
        # Another transaction may have been faster: what is there now is locked and counts, whoever made it.
        return present | self._locked({row.row_id for row in missing})

    def _locked(self, keys: set[str]) -> frozenset[str]:
        if not keys:
            return frozenset()
        found = self._connection.execute(self._statements.lock_rows, (as_json(sorted(keys)),))
        return frozenset(str(key) for (key,) in found)

    def _creators(self, present: frozenset[str]) -> list[tuple[str, Conversion]]:
        """Return conversions whose row is goalpost's to create and is not there; a mere repeat creates nothing."""
        creating = [placed for placed in self._all if placed.conversion.creates_row]
        creators = [
            (key, placed.conversion)
            for key, placed in zip(self._keys_of(creating), creating, strict=True)
            if key is not None and key not in present
        ]
        if not creators:
            return []
        event_ids = [conversion.event_id for _, conversion in creators]
        stored = {
            event_id for (event_id,) in self._connection.execute(statements.STORED_ALREADY, (as_json(event_ids),))
        }
        return [(key, conversion) for key, conversion in creators if conversion.event_id not in stored]

    def store_conversions(self, present: frozenset[str]) -> list[tuple[str | None, PlacedConversion]]:
        """Insert the conversions and return those that were new, each with the key of its row if that is there."""
        if not self._conversions:
            return []
        keys = [key if key in present else None for key in self._keys]
        with self._connection.cursor() as cursor:
            with cursor.copy(statements.COPY_CONVERSIONS) as copy:
                copy.set_types([kind for _, kind in STAGED])
                for key, placed in zip(keys, self._conversions, strict=True):
                    copy.write_row(staged_row(placed, goal_appended=key is not None))
            places = set(cursor.execute(statements.INSERT_CONVERSIONS))
        return [
            (key, placed)
            for key, placed in zip(keys, self._conversions, strict=True)
            if (placed.partition, placed.offset) in places
        ]

    def write_sessions(self) -> int:
        """Write the session records that are newer than what their rows show."""
        if not self._sessions:
            return 0
        newer = {key for (key,) in self._connection.execute(statements.NEWER_SESSIONS, (as_json(self._sessions),))}
        rows = [row for row in self._sessions if row.row_id in newer]
        if rows:
            self._connection.execute(self._statements.write_sessions, (as_json(rows),))
        return len(rows)

    def amend(self, stored: Sequence[tuple[str | None, PlacedConversion]], present: frozenset[str]) -> Amended:
        """Carry out what the others, which are repeats, say beyond what is stored."""
        if len(stored) == len(self._all):
            return Amended()
        new = {(placed.partition, placed.offset) for _, placed in stored}
        repeats = [placed for placed in self._all if (placed.partition, placed.offset) not in new]
        rows = [key if key in present else None for key in self._keys_of(repeats)]
        found = [Repeat(row=row, placed=placed) for row, placed in zip(rows, repeats, strict=True)]
        return amended(self._connection, found)

    def append_goals(self, reached: Iterable[tuple[str, Reached]]) -> int:
        """Append goals to the rows of these keys."""
        goals = list(reached)
        if goals:
            self._connection.execute(self._statements.append_goals, (goals_by_row(goals),))
        return len(goals)
