"""Records on disk, in order, for as long as Kafka does not take them: one SQLite file per process.

A commit returns when its bytes are on the disk (write-ahead log, ``synchronous=FULL``), so what was written survives a
kill and a power cut. The file is locked for as long as its process lives.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from runtime.failures import Fatal
from schemas.events import EpochMillis
from schemas.records import Outgoing

_FILE: Final = "spool.sqlite"
# A predecessor that is just ending still holds the file; a neighbour does not let go of it at all.
_LOCK_SECONDS: Final = 10.0
# What SQLite and the other columns add to a record, rounded up.
_ROW_BYTES: Final = 64

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS records (
    place INTEGER PRIMARY KEY AUTOINCREMENT, kept_at INTEGER NOT NULL,
    topic TEXT NOT NULL, key BLOB, value BLOB, headers TEXT NOT NULL
)
"""
_TOTALS: Final = f"""
SELECT count(*), min(kept_at),
       coalesce(sum(length(topic) + coalesce(length(key), 0) + coalesce(length(value), 0) + length(headers)), 0)
           + count(*) * {_ROW_BYTES}
FROM records
"""  # noqa: S608 - the only thing put in is the constant above
_INSERT: Final = "INSERT INTO records (kept_at, topic, key, value, headers) VALUES (?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM records WHERE place = ?"
_AFTER: Final = "SELECT place, kept_at, topic, key, value, headers FROM records WHERE place > ? ORDER BY place LIMIT ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A record in the spool. ``place`` grows with each record and is never used again; ``size`` is in bytes."""

    place: int
    kept_at: EpochMillis
    size: int
    record: Outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the spool holds. ``oldest_at`` is when its oldest record was kept."""

    records: int
    size: int
    oldest_at: EpochMillis | None


class Spool:
    """The file. Every method blocks on the disk and may be called from one thread at a time only.

    All of them raise ``sqlite3.Error`` where the disk fails; nothing of the call has happened then.
    """

    def __init__(self, folder: Path) -> None:
        """Open the spool of ``folder``, which is created.

        Raises:
            Fatal: another process uses it, or it cannot be read or written.
        """
        path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
            os.chmod(path, 0o600)  # noqa: PTH101 - Path.chmod is the same; bodies hold personal data
            for option in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._database.execute(f"PRAGMA {option}")
            self._database.executescript(_TABLES)
        except (OSError, sqlite3.Error) as exc:
            raise Fatal(
                f"the spool {path} cannot be used ({exc}). Set GOALPOST_SPOOL_DIR to a folder on a disk of this "
                "machine that no other webhook process uses. It may hold accepted events: do not delete it."
            ) from exc

    def totals(self) -> Totals:
        """Count what is there."""
        records, oldest_at, size = self._database.execute(_TOTALS).fetchone()
        return Totals(records=records, size=size, oldest_at=oldest_at)

    def write(self, added: Sequence[Outgoing], removed: Iterable[int], *, now: EpochMillis) -> int:
        """Add records and remove places in one commit; return the place of the first, the rest follow it."""
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(_DELETE, [(place,) for place in removed])
            last = 0
            for record in added:
                last = database.execute(_INSERT, _row(record, now)).lastrowid or 0
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return last - len(added) + 1

    def after(self, place: int, *, records: int, size: int) -> list[Kept]:
        """Return the records behind ``place`` in order: at most ``records``, none after the first ``size`` bytes."""
        found: list[Kept] = []
        for row in self._database.execute(_AFTER, (place, records)):
            found.append(_kept(row))
            size -= found[-1].size
            if size <= 0:
                break
        return found

    def close(self) -> None:
        """Give the file back."""
        self._database.close()


def size_of(record: Outgoing) -> int:
    """Return what a record takes in the spool, in bytes."""
    return _size(record.topic, record.key, record.value, _headers_text(record))


def _size(topic: str, key: bytes | None, value: bytes | None, headers: str) -> int:
    return _ROW_BYTES + len(topic) + len(key or b"") + len(value or b"") + len(headers)


def _headers_text(record: Outgoing) -> str:
    # Latin-1 gives each byte a character, so any bytes come back as they were.
    texts = [(name, None if value is None else value.decode("latin-1")) for name, value in record.headers]
    return orjson.dumps(texts).decode()


def _row(record: Outgoing, now: EpochMillis) -> tuple[object, ...]:
    return (now, record.topic, record.key, record.value, _headers_text(record))


def _kept(row: tuple[int, int, str, bytes | None, bytes | None, str]) -> Kept:
    place, kept_at, topic, key, value, headers = row
    listed = tuple((name, None if text is None else text.encode("latin-1")) for name, text in orjson.loads(headers))
    record = Outgoing(topic=topic, key=key, value=value, headers=listed)
    return Kept(place=place, kept_at=kept_at, size=_size(topic, key, value, headers), record=record)
