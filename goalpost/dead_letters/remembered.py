"""Texts by id, on disk, so that a scan does not have to hold the ids of all letters."""

from __future__ import annotations

import sqlite3

_TABLE = "CREATE TABLE remembered (id TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID"


class Remembered:
    """A file of SQLite's own that ends with this object. For one thread."""

    def __init__(self) -> None:
        # An empty name is a private file that SQLite spills to only when its cache (2 MB) is full.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_TABLE)

    def put(self, name: str, text: str) -> None:
        """Remember ``text``; what was remembered under the same name is replaced."""
        self._database.execute("INSERT OR REPLACE INTO remembered VALUES (?, ?)", (name, text))

    def get(self, name: str) -> str | None:
        """Return what is remembered under ``name``."""
        row = self._database.execute("SELECT text FROM remembered WHERE id = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def add(self, name: str) -> bool:
        """Remember ``name`` alone; tell whether it is new."""
        return self._database.execute("INSERT OR IGNORE INTO remembered VALUES (?, '')", (name,)).rowcount == 1
