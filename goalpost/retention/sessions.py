"""Old sessions in ``web.sessions``: an empty value for each key whose last record tells of no visit since.

The join forgets the session when it reads the empty value, and compaction forgets the records. The topic may hold more
keys than fit into memory, so the last visit of each key goes to a temporary file.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from schemas.codec import Codec, Undecodable
from schemas.events import Session
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS

_BATCH: Final = 10_000


class LastVisits:
    """The time of the last visit by key, as the topic's records say it one after another."""

    def __init__(self, database: sqlite3.Connection, codec: Codec[Session]) -> None:
        self._database = database
        self._codec = codec
        database.execute("CREATE TABLE visit (key BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID")

    def take(self, records: Iterable[Incoming]) -> int:
        """Take ``records`` in; return how many there were. As for the topic, the last record of a key counts."""
        taken = 0
        changes: dict[bytes, int | None] = {}
        for record in records:
            taken += 1
            if record.key is not None:
                changes[record.key] = self._visit(record)
            if len(changes) >= _BATCH:
                self._write(changes)
                changes = {}
        self._write(changes)
        return taken

    def before(self, cutoff: datetime) -> int:
        """How many keys have had no visit since ``cutoff``."""
        (number,) = self._database.execute("SELECT count(*) FROM visit WHERE at < ?", (_ms(cutoff),)).fetchone()
        return int(number)

    def removals(self, cutoff: datetime) -> Iterator[list[Outgoing]]:
        """Yield the records that remove those keys, in batches."""
        found = self._database.execute("SELECT key FROM visit WHERE at < ? ORDER BY key", (_ms(cutoff),))
        while keys := found.fetchmany(_BATCH):
            yield [Outgoing(topic=SESSIONS.name, key=key, value=None) for (key,) in keys]

    def _visit(self, record: Incoming) -> int | None:
        """``None`` for a key that is removed already, or whose record nobody can read: that is no session."""
        if record.value is None:
            return None
        try:
            return self._codec.decode(record.value).last_visit_at
        except Undecodable:
            return None

    def _write(self, changes: dict[bytes, int | None]) -> None:
        gone = [(key,) for key, at in changes.items() if at is None]
        told = [(key, at) for key, at in changes.items() if at is not None]
        with self._database:
            self._database.executemany("DELETE FROM visit WHERE key = ?", gone)
            self._database.executemany("INSERT OR REPLACE INTO visit (key, at) VALUES (?, ?)", told)


@contextmanager
def last_visits(codec: Codec[Session]) -> Iterator[LastVisits]:
    """Give an empty table of last visits in a temporary file."""
    with (
        tempfile.TemporaryDirectory(prefix="goalpost-retention-") as folder,
        closing(sqlite3.connect(Path(folder) / "visits.sqlite")) as database,
    ):
        database.execute("PRAGMA synchronous = OFF")
        yield LastVisits(database, codec)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
