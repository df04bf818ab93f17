"""What the simulator has accepted, in one SQLite file that outlives the process: uploads, and every row delivery."""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from sandbox.metrika.csv_file import BadFile, BadRow, Row
from sandbox.metrika.database import connect
from sandbox.metrika.site import Audience
from sandbox.metrika.uploading import Counts, Intake, Parameters, Uploading

# Rows held in memory while a file streams into the database.
CHUNK_ROWS = 5_000

_TABLES = """
CREATE TABLE IF NOT EXISTS uploading (
    id INTEGER PRIMARY KEY, counter INTEGER NOT NULL, type TEXT NOT NULL, client_id_type TEXT NOT NULL,
    comment TEXT NOT NULL, accepted_at REAL NOT NULL, source INTEGER NOT NULL, line INTEGER NOT NULL,
    goal_not_found INTEGER NOT NULL, user_not_found INTEGER NOT NULL, linked INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    delivery_id INTEGER PRIMARY KEY, uploading_id INTEGER NOT NULL, line INTEGER NOT NULL,
    client_id TEXT, user_id TEXT, yclid TEXT, purchase_id TEXT,
    target TEXT NOT NULL, moment INTEGER NOT NULL, price TEXT, currency TEXT, conversion INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS forgotten (up_to INTEGER PRIMARY KEY);
"""
_NEXT_ID = "SELECT 1 + max(ifnull((SELECT max(id) FROM uploading), 0), ifnull((SELECT max(up_to) FROM forgotten), 0))"
_INSERT_UPLOADING = "INSERT INTO uploading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_DELIVERY = "INSERT INTO delivery VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ROW_FIELDS = """
uploading.id AS uploading_id, uploading.counter AS counter_id, uploading.comment, delivery.line, client_id AS ClientId,
user_id AS UserId, yclid AS Yclid, purchase_id AS PurchaseId, target AS Target, moment AS DateTime, price AS Price,
currency AS Currency
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFilter:
    """Which deliveries to show; `None` is any. `identifier` matches whichever column holds it."""

    counter: int | None = None
    target: str | None = None
    identifier: str | None = None
    uploading: int | None = None

    def sql(self) -> tuple[str, dict[str, int | str]]:
        """A WHERE clause and its parameters."""
        clauses = {
            "counter": (self.counter, "uploading.counter = :counter"),
            "target": (self.target, "target = :target"),
            "identifier": (self.identifier, ":identifier IN (client_id, user_id, yclid, purchase_id)"),
            "uploading": (self.uploading, "uploading.id = :uploading"),
        }
        given = {name: value for name, (value, _) in clauses.items() if value is not None}
        return " AND ".join(["TRUE", *(clauses[name][1] for name in given)]), given


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Accepted since the database exists: `rows` = `distinct_rows` + `overwritten_rows` + `doubled_rows`.

    A delivery of a conversion that was there overwrites it where Price or Currency differ from the last ones (Metrika's
    FAQ: the revenue of a row that is sent again is overwritten); else it is the same row once more.
    """

    uploads: int
    rows: int
    distinct_rows: int
    overwritten_rows: int
    doubled_rows: int


class Uploads:
    """The database. Any thread may call; writers wait for each other, readers don't wait for writers."""

    def __init__(self, database: Path) -> None:
        self._writing, self._reading = Lock(), Lock()
        self._writer, self._reader = connect(database, _TABLES), connect(database)
        # Known conversions up to a delivery. An index in SQLite would do too, but random keys make every commit
        # rewrite a page per row, three times the cost of the rows themselves. By each its last amount, as a hash.
        self._conversions: dict[int, int] = {}
        self._conversions_known_to = 0
        self._overwritten = 0

    def accept(
        self,
        parameters: Parameters,
        rows: Iterable[Row | BadRow | BadFile],
        *,
        now: float,
        audience: Audience,
    ) -> Uploading | BadRow | BadFile:
        """Store a file while reading it, or nothing at all when it is refused. Committed when this returns."""
        intake, found = Intake(audience), iter(rows)
        with self._transaction() as connection:
            ((uploading_id,),) = connection.execute(_NEXT_ID)
            while chunk := list(islice(found, CHUNK_ROWS)):
                admitted = intake.admit(chunk)
                if not isinstance(admitted, list):
                    connection.rollback()
                    return admitted
                deliveries = ((uploading_id, *row, conversion_key(parameters.counter, row)) for row in admitted)
                connection.executemany(_INSERT_DELIVERY, deliveries)
            uploading = Uploading(
                id=uploading_id,
                counter=parameters.counter,
                type=parameters.type,
                client_id_type=parameters.client_id_type or intake.client_id_type,
                comment=parameters.comment,
                accepted_at=now,
                counts=intake.counts(),
            )
            *described, counts = astuple(uploading)
            connection.execute(_INSERT_UPLOADING, (*described, *counts))
        return uploading

    def uploading(self, counter: int, uploading_id: int) -> Uploading | None:
        """One upload of a counter, `None` when that counter has no such upload."""
        found = self._read("SELECT * FROM uploading WHERE id = ? AND counter = ?", (uploading_id, counter))
        return _uploading(found[0]) if found else None

    def uploadings(
        self, counter: int, *, type_: str | None, accepted_by: float, limit: int, offset: int
    ) -> list[Uploading]:
        """Uploads of a counter, newest first (Metrika's own order is undocumented)."""
        sql = """
            SELECT * FROM uploading WHERE counter = :counter AND :type IN (type, '') AND accepted_at <= :accepted_by
            ORDER BY id DESC LIMIT :limit OFFSET :offset
        """
        parameters = {
            "counter": counter,
            "type": type_ or "",
            "accepted_by": accepted_by,
            "limit": limit,
            "offset": offset,
        }
        return [_uploading(row) for row in self._read(sql, parameters)]

    def deliveries(
        self, row_filter: RowFilter, *, limit: int, offset: int, newest_first: bool = False
    ) -> list[dict[str, Any]]:
        """Every accepted row delivery, in the order of acceptance, with the columns' API names."""
        where, parameters = row_filter.sql()
        order = "DESC" if newest_first else "ASC"
        sql = f"""
            SELECT {_ROW_FIELDS} FROM delivery JOIN uploading ON uploading.id = delivery.uploading_id
            WHERE {where} ORDER BY delivery_id {order} LIMIT :limit OFFSET :offset
        """  # noqa: S608 -- the clauses are constants, the values are parameters
        return [dict(row) for row in self._read(sql, {**parameters, "limit": limit, "offset": offset})]

    def conversions(self, row_filter: RowFilter, *, at_least: int, limit: int, offset: int) -> list[dict[str, Any]]:
        """Conversions as Metrika holds them (the last Price and Currency win), delivered at least so many times."""
        where, parameters = row_filter.sql()
        sql = f"""
            SELECT {_ROW_FIELDS}, count(*) AS deliveries, max(delivery_id) AS latest
            FROM delivery JOIN uploading ON uploading.id = delivery.uploading_id
            WHERE {where} GROUP BY conversion HAVING count(*) >= :at_least ORDER BY latest LIMIT :limit OFFSET :offset
        """  # noqa: S608 -- as above; beside max(), SQLite takes the bare columns from the row that holds the maximum
        return [
            dict(row) for row in self._read(sql, {**parameters, "at_least": at_least, "limit": limit, "offset": offset})
        ]

    def delivered(self, row_filter: RowFilter) -> int:
        """How many deliveries pass the filter."""
        where, parameters = row_filter.sql()
        sql = f"SELECT count(*) FROM delivery JOIN uploading ON uploading.id = delivery.uploading_id WHERE {where}"  # noqa: S608 -- as above
        return int(self._read(sql, parameters)[0][0])

    def by_counter(self) -> list[dict[str, Any]]:
        """Per counter: uploads, rows, and how many of those overwrote an amount or were a row once more."""
        uploads = (
            "SELECT counter, count(*) AS uploads, sum(line) AS rows FROM uploading GROUP BY counter ORDER BY counter"
        )
        again = """
            SELECT counter, count(*) FILTER (WHERE number > 1 AND amount IS NOT before),
                   count(*) FILTER (WHERE number > 1 AND amount IS before)
            FROM (
                SELECT counter, amount, lag(amount) OVER told AS before, row_number() OVER told AS number
                FROM (SELECT delivery_id, counter, conversion,
                             ifnull(price, '') || ' ' || ifnull(currency, '') AS amount
                      FROM delivery JOIN uploading ON uploading.id = uploading_id)
                WINDOW told AS (PARTITION BY conversion ORDER BY delivery_id)
            ) GROUP BY counter
        """
        found = {counter: counts for counter, *counts in map(tuple, self._read(again, ()))}
        rows = [dict(row) for row in self._read(uploads, ())]
        return [
            {**row, **dict(zip(("overwritten_rows", "doubled_rows"), found.get(row["counter"], (0, 0)), strict=True))}
            for row in rows
        ]

    def latest(self, limit: int) -> list[Uploading]:
        """The newest uploads of all counters, newest first."""
        return [_uploading(row) for row in self._read("SELECT * FROM uploading ORDER BY id DESC LIMIT ?", (limit,))]

    def totals(self) -> Totals:
        """Counts over everything accepted."""
        ((uploads, rows),) = self._read("SELECT count(*), coalesce(sum(line), 0) FROM uploading", ())
        distinct, overwritten = self._distinct_conversions()
        return Totals(
            uploads=uploads,
            rows=rows,
            distinct_rows=distinct,
            overwritten_rows=overwritten,
            doubled_rows=rows - distinct - overwritten,
        )

    def forget(self) -> None:
        """Forget everything accepted; ids go on where they were, so that no client meets one twice."""
        with self._transaction() as connection, self._reading:
            connection.execute(f"INSERT OR IGNORE INTO forgotten SELECT next - 1 FROM ({_NEXT_ID} AS next)")  # noqa: S608 -- a constant
            connection.execute("DELETE FROM delivery")
            connection.execute("DELETE FROM uploading")
            self._conversions.clear()
            self._conversions_known_to = self._overwritten = 0

    def close(self) -> None:
        """Close the file; a later call to any method fails."""
        self._writer.close()
        self._reader.close()

    def _distinct_conversions(self) -> tuple[int, int]:
        """How many conversions there are, and how many deliveries have overwritten the amount of one."""
        sql = "SELECT delivery_id, conversion, price, currency FROM delivery WHERE delivery_id > ? ORDER BY delivery_id"
        with self._reading:
            for delivery_id, conversion, *amount in self._reader.execute(sql, [self._conversions_known_to]):
                told = hash(tuple(amount))
                self._overwritten += self._conversions.get(conversion, told) != told
                self._conversions[conversion] = told
                self._conversions_known_to = delivery_id
            return len(self._conversions), self._overwritten

    def _read(self, sql: str, parameters: Any) -> list[sqlite3.Row]:
        with self._reading:
            return self._reader.execute(sql, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.commit()
            except BaseException:
                self._writer.rollback()
                raise


def conversion_key(counter: int, row: Row) -> int:
    """What makes two deliveries the same conversion: counter, identifier, Target, DateTime. Price and Currency do not.

    A 64-bit digest keeps a million of them small; the chance of a false match among a million is 1 in 37 million.
    """
    column, identifier = row.identifier
    text = f"{counter}\0{column}\0{identifier}\0{row.target}\0{row.moment}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def _uploading(row: sqlite3.Row) -> Uploading:
    counts = {name: row[name] for name in ("source", "line", "goal_not_found", "user_not_found", "linked")}
    described = {name: row[name] for name in ("id", "counter", "type", "client_id_type", "comment", "accepted_at")}
    return Uploading(**described, counts=Counts(**counts))
