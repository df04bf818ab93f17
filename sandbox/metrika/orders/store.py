"""Orders that the simulator has accepted, in the same SQLite file as the uploads."""

import json
import random
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sandbox.metrika.database import connect
from sandbox.metrika.orders.merging import MergeMode, merged, with_defaults
from sandbox.metrika.orders.order_file import Order

_TABLES = """
CREATE TABLE IF NOT EXISTS order_uploading (
    id TEXT PRIMARY KEY, counter INTEGER NOT NULL, at REAL NOT NULL, passed INTEGER NOT NULL, elements INTEGER NOT NULL,
    merge_mode TEXT NOT NULL, problem TEXT
);
CREATE TABLE IF NOT EXISTS simple_order (
    counter INTEGER NOT NULL, id TEXT NOT NULL, fields TEXT NOT NULL, deliveries INTEGER NOT NULL,
    PRIMARY KEY (counter, id)
);
"""
_STORE = """
INSERT INTO simple_order VALUES (?, ?, ?, 1)
ON CONFLICT DO UPDATE SET fields = excluded.fields, deliveries = deliveries + 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUploading:
    """One file of orders; `at` is in epoch seconds, `problem` says why it failed."""

    id: str
    counter: int
    at: float
    passed: bool
    elements: int
    merge_mode: str
    problem: str | None


class Orders:
    """Any thread may call."""

    def __init__(self, database: Path) -> None:
        self._connection = connect(database, _TABLES)
        self._lock = Lock()

    def accept(self, uploading: OrderUploading, orders: list[Order]) -> None:
        """Store a file and merge its orders. Committed when this returns."""
        mode = MergeMode(uploading.merge_mode)
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._store(uploading, orders, mode)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def uploadings(self, counter: int, *, limit: int, since: float) -> list[OrderUploading]:
        """Files of a counter since a time, newest first."""
        sql = "SELECT * FROM order_uploading WHERE counter = ? AND at >= ? ORDER BY rowid DESC LIMIT ?"
        return [
            OrderUploading(**{**dict(row), "passed": bool(row["passed"])})
            for row in self._read(sql, counter, since, limit)
        ]

    def orders(self, counter: int | None, *, limit: int, offset: int) -> list[dict[str, Any]]:
        """Orders as Metrika holds them, and how often each was delivered."""
        sql = "SELECT * FROM simple_order WHERE ifnull(?, counter) = counter ORDER BY counter, id LIMIT ? OFFSET ?"
        return [
            {
                "counter_id": row["counter"],
                "id": row["id"],
                **with_defaults(json.loads(row["fields"])),
                "deliveries": row["deliveries"],
            }
            for row in self._read(sql, counter, limit, offset)
        ]

    def count(self) -> int:
        """How many orders there are."""
        return int(self._read("SELECT count(*) FROM simple_order")[0][0])

    def forget(self) -> None:
        """Forget every order and file."""
        with self._lock:
            self._connection.executescript("DELETE FROM simple_order; DELETE FROM order_uploading;")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _store(self, uploading: OrderUploading, orders: list[Order], mode: MergeMode) -> None:
        values = (
            uploading.id,
            uploading.counter,
            uploading.at,
            uploading.passed,
            uploading.elements,
            uploading.merge_mode,
            uploading.problem,
        )
        self._connection.execute("INSERT INTO order_uploading VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        # Twice the same id in one file is applied in random order (data-import): who relies on the order shall see it.
        for order in random.sample(orders, len(orders)):
            order_id = order.id or f"without id {uuid.uuid4()}"  # each time a new one, as documented
            known = self._connection.execute(
                "SELECT fields FROM simple_order WHERE counter = ? AND id = ?", (uploading.counter, order_id)
            ).fetchone()
            fields = merged(json.loads(known["fields"]), order.fields, mode) if known else order.fields
            self._connection.execute(_STORE, (uploading.counter, order_id, json.dumps(fields)))

    def _read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()
