"""Records on disk, in order, for as long as Kafka does not take them: one SQLite file per process.

A commit returns when its bytes are on the disk (write-ahead log, ``synchronous=FULL``), so what was written survives a
kill and a power cut. The file is locked for as long as its process lives.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from runtime.failures import Fatal
from runtime.logs import logger
from schemas.events import EpochMillis
from schemas.records import Outgoing

_FILE: Final = "spool.sqlite"
# What SQLite puts beside it is part of it.
_ENDINGS: Final = ("", "-wal", "-shm")
# Of what a damaged head says, no more than this is believed; the file does not take the room on the disk.
_LONGEST_FILE: Final = 1 << 36
_MALFORMED: Final = "its content is damaged"
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
_FROM_BOTH_ENDS: Final = ("SELECT * FROM records ORDER BY place", "SELECT * FROM records ORDER BY place DESC")
_RESCUE: Final = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?)"
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
        self._path = folder / _FILE
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self._database = _opened(self._path)
            except sqlite3.DatabaseError as exc:
                if not _damaged(exc):
                    raise
                self._database = self._rescued()
        except (OSError, sqlite3.Error) as exc:
            raise Fatal(
                f"the spool {self._path} cannot be used ({exc}). Set GOALPOST_SPOOL_DIR to a folder on a disk of this "
                "machine that no other webhook process uses. It may hold accepted events: do not delete it."
            ) from exc

    def _rescued(self) -> sqlite3.Connection:
        """Put a damaged file aside, and take over what can still be read of it: a door that stays shut loses more."""
        aside = self._path.with_name(f"{_FILE}.damaged-{time.time_ns()}")
        for ending in _ENDINGS:
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(_FILE + ending).rename(aside.with_name(aside.name + ending))
        _lengthen(aside)
        database = _opened(self._path)
        with contextlib.closing(sqlite3.connect(aside)) as damaged:
            rescued = _copied(damaged, database)
        logger().error("spool.damaged", put_aside=str(aside), records_rescued=rescued)
        return database

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

    def start_over(self) -> None:
        """Begin with a new file; the caller knows that nothing in the old one is needed any more."""
        self._database.close()
        for ending in _ENDINGS:
            self._path.with_name(_FILE + ending).unlink(missing_ok=True)
        self._database = _opened(self._path)

    def close(self) -> None:
        """Give the file back."""
        self._database.close()


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    os.chmod(path, 0o600)  # noqa: PTH101 - Path.chmod is the same; bodies hold personal data
    try:
        for option in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            database.execute(f"PRAGMA {option}")
        database.executescript(_TABLES)
        (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(_MALFORMED)
    except BaseException:
        database.close()
        raise
    return database


def _damaged(failure: sqlite3.DatabaseError) -> bool:
    """Whether it is the content that is wrong, and not the disk, a lock or a permission."""
    code = getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _lengthen(path: Path) -> None:
    """Give a file that was cut the length that its head names: SQLite reads nothing of a shorter one.

    Source: SQLite's file format, "The Database Header".
    """
    with path.open("rb") as file:
        head = file.read(32)
    length = int.from_bytes(head[16:18]) * int.from_bytes(head[28:32])
    if head.startswith(b"SQLite format 3") and path.stat().st_size < length <= _LONGEST_FILE:
        os.truncate(path, length)


def _copied(damaged: sqlite3.Connection, database: sqlite3.Connection) -> int:
    """Copy the records in front of the damage, and those behind it; return how many."""
    database.execute("BEGIN IMMEDIATE")
    for rows in _FROM_BOTH_ENDS:
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in damaged.execute(rows):
                with contextlib.suppress(ValueError, TypeError, AttributeError):  # a record that is garbage itself
                    _kept(row)
                    database.execute(_RESCUE, row)
    (copied,) = database.execute("SELECT count(*) FROM records").fetchone()
    database.execute("COMMIT")
    return int(copied)


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
