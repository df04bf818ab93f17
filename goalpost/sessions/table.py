"""The site's ``user_analytics``: what columns it has, and its rows page by page or by id.

Of ``analytics_data`` only ``ids`` is read: the rest can be a hundred times as much, and no session record has it. Where
a driver has encoded it twice, so that it is a text that holds JSON, the text is read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import orjson
from psycopg import sql

from runtime.failures import Fatal
from schemas.events import EpochMillis
from sinks.postgres.connection import Connection, translated_errors

_COLUMNS: Final[LiteralString] = """
SELECT attname, format_type(atttypid, NULL)
FROM pg_attribute WHERE attrelid = to_regclass('user_analytics') AND attnum > 0 AND NOT attisdropped
"""
_NEEDED: Final = ("id", "session_id", "analytics_data", "timestamp")
_OPTIONAL: Final = "last_visit_at"
_TIMES: Final = frozenset({"timestamp with time zone", "timestamp without time zone", "date"})


class UnknownTable(Fatal):
    """``user_analytics`` is not as the seed describes it."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"user_analytics has no column {missing}, or is not there at all. Check that DATABASE_URL names the "
            "site's database and, if the table is in another schema, that its role has it in search_path."
        )


class HiddenRows(Fatal):
    """Row level security would hide rows, and nobody would see that they are missing."""

    def __init__(self) -> None:
        super().__init__(
            "row level security keeps the role in DATABASE_URL from seeing all rows of user_analytics. "
            "Use the role that owns the table (on Supabase: postgres)."
        )


class NoTime(Fatal):
    """The table's ``timestamp`` is of a type that has no place in time."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"user_analytics.timestamp is {kind}, so --since and --until cannot be used. Leave them out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row: as a database webhook shows it, its time as Postgres writes it, and whether it is goalpost's ``own``."""

    row_id: str
    at: str | None
    record: dict[str, Any]
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Behind which row a reading stands; without an id, at the beginning. ``untimed`` rows come after all others."""

    at: str | None = None
    row_id: str | None = None
    untimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Which rows are wanted: ``since_ms <= timestamp < until_ms``. With a bound, rows without a timestamp are not."""

    since_ms: EpochMillis | None = None
    until_ms: EpochMillis | None = None

    @property
    def open(self) -> bool:
        """Whether every row is wanted."""
        return self.since_ms is None and self.until_ms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``user_analytics`` with its columns' types as Postgres names them."""

    types: dict[str, str]

    def page(self, connection: Connection, bounds: Bounds, position: Position, *, limit: int) -> list[StoredRow]:
        """Return the next rows behind ``position``, in the order of (timestamp, id)."""
        conditions, parameters = self._wanted(bounds, untimed=position.untimed)
        if position.row_id is not None and position.untimed:
            conditions.append(sql.SQL("id > {}").format(self._given("id")))
            parameters.append(position.row_id)
        elif position.row_id is not None:
            conditions.append(
                sql.SQL('("timestamp", id) > ({}, {})').format(self._given("timestamp"), self._given("id"))
            )
            parameters += [position.at, position.row_id]
        order = sql.SQL("stored.id") if position.untimed else sql.SQL('stored."timestamp", stored.id')
        query = sql.SQL("{} WHERE {} ORDER BY {} LIMIT %s").format(
            self._select(), sql.SQL(" AND ").join(conditions), order
        )
        return self._rows(connection, query, [*parameters, limit])

    def behind(self, rows: Sequence[StoredRow], bounds: Bounds, position: Position, *, limit: int) -> Position | None:
        """Return where a reading stands after the page ``rows``, or ``None`` at the end of the table."""
        if len(rows) == limit:
            return Position(at=rows[-1].at, row_id=rows[-1].row_id, untimed=position.untimed)
        return Position(untimed=True) if bounds.open and not position.untimed else None

    def named(self, connection: Connection, row_ids: Sequence[str], sessions: Sequence[str]) -> list[StoredRow]:
        """Return the rows that have one of these ids or one of these sessions, the latest last."""
        conditions = [sql.SQL("id = ANY(%s::text[]::{}[])").format(sql.SQL(self.types["id"]))]
        if sessions:
            conditions.append(sql.SQL("session_id = ANY(%s::text[]::{}[])").format(sql.SQL(self.types["session_id"])))
        query = sql.SQL('{} WHERE {} ORDER BY stored."timestamp" NULLS FIRST, stored.id').format(
            self._select(), sql.SQL(" OR ").join(conditions)
        )
        parameters: list[object] = [list(row_ids), list(sessions)]
        return self._rows(connection, query, parameters[: len(conditions)])

    def about(self, connection: Connection, bounds: Bounds) -> int:
        """Return how many rows there may be within ``bounds``, as the planner guesses: counting would read them all."""
        conditions, parameters = self._wanted(bounds, untimed=False)
        query = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM user_analytics WHERE {}").format(
            sql.SQL("TRUE") if bounds.open else sql.SQL(" AND ").join(conditions)
        )
        with translated_errors():
            (plan,) = connection.execute(query, () if bounds.open else parameters).fetchall()
        return int(plan[0][0]["Plan"]["Plan Rows"])  # type: ignore[index]  # EXPLAIN's JSON

    def _wanted(self, bounds: Bounds, *, untimed: bool) -> tuple[list[sql.Composable], list[object]]:
        if untimed:
            return [sql.SQL('"timestamp" IS NULL')], []
        conditions: list[sql.Composable] = [sql.SQL('"timestamp" IS NOT NULL')]
        parameters: list[object] = []
        for sign, moment in ((">=", bounds.since_ms), ("<", bounds.until_ms)):
            if moment is not None:
                if self.types["timestamp"] not in _TIMES:
                    raise NoTime(self.types["timestamp"])
                conditions.append(
                    sql.SQL('"timestamp" {} to_timestamp(%s / 1000.0::float8)::{}').format(
                        sql.SQL(sign), sql.SQL(self.types["timestamp"])
                    )
                )
                parameters.append(moment)
        return conditions, parameters

    def _given(self, column: str) -> sql.Composed:
        return sql.SQL("%s::text::{}").format(sql.SQL(self.types[column]))

    def _select(self) -> sql.Composed:
        optional = sql.SQL("'last_visit_at', last_visit_at, ") if _OPTIONAL in self.types else sql.SQL("")
        kind_of = sql.SQL("json_typeof" if self.types["analytics_data"] == "json" else "jsonb_typeof")
        return sql.SQL(_SELECT).format(optional=optional, kind_of=kind_of)

    @staticmethod
    def _rows(connection: Connection, query: sql.Composed, parameters: list[object]) -> list[StoredRow]:
        with translated_errors():
            found: list[Any] = connection.execute(query, parameters).fetchall()
        return [
            StoredRow(
                row_id=row_id,
                at=at,
                record={**orjson.loads(record), "analytics_data": {"ids": _ids(ids)} if text is None else text},
                own=own,
            )
            for row_id, at, record, ids, text, own in found
        ]


def _ids(text: str | None) -> object:
    """Return the ids, or nothing where the site wrote JSON that no strict reader takes: the row has a session still."""
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


# Their texts are called id and timestamp, too: an order that does not say `stored` would be the order of the texts.
_SELECT: Final[LiteralString] = """
SELECT id::text, "timestamp"::text,
       json_build_object('id', id, 'session_id', session_id, {optional}'timestamp', "timestamp")::text,
       (analytics_data -> 'ids')::text,
       CASE WHEN {kind_of}(analytics_data) = 'string' THEN analytics_data #>> '{{}}' END,
       EXISTS (SELECT FROM analytics_row_versions AS version WHERE version.row_id = stored.id::text)
FROM user_analytics AS stored
"""


def table_of(connection: Connection) -> Table:
    """Look at the table.

    Raises:
        UnknownTable: it is not there, or lacks a column.
        HiddenRows: row level security applies to us.
        PostgresUnavailable: no answer.
    """
    with translated_errors():
        types = {str(name): str(kind) for name, kind in connection.execute(_COLUMNS)}
        for column in _NEEDED:
            if column not in types:
                raise UnknownTable(column)
        if connection.execute("SELECT row_security_active('user_analytics')").fetchall()[0][0]:
            raise HiddenRows
    return Table(types=types)
