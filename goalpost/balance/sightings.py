"""Where events were seen: an id and a few numbers each, on disk to bound memory."""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from goalpost.balance.standing import Seen, Standing, standing_of
from schemas.events import EpochMillis

_TABLES: Final = """
CREATE TABLE event (
    id BLOB PRIMARY KEY, seen INTEGER NOT NULL, deliveries INTEGER NOT NULL, at INTEGER NOT NULL, place TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE waiting (partition INTEGER, offset INTEGER, id BLOB NOT NULL, PRIMARY KEY (partition, offset))
WITHOUT ROWID;
"""
_SEE: Final = """
INSERT INTO event VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    seen = seen | excluded.seen, deliveries = deliveries + excluded.deliveries, at = max(at, excluded.at),
    place = CASE WHEN excluded.at >= at THEN excluded.place ELSE place END
"""
_STILL_WAITING: Final = "UPDATE event SET seen = seen | ? WHERE id IN (SELECT id FROM waiting)"
_AFTER: Final = "SELECT id FROM event WHERE id > ? ORDER BY id LIMIT ?"
_CACHE_KIB: Final = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An event seen at ``place`` (``topic:partition:offset``). ``delivery`` says that it came in there."""

    event: bytes
    seen: Seen
    at: EpochMillis
    place: str
    delivery: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How many deliveries there were, how many of them repeats, and where the events of the others stand."""

    received: int
    repeats: int
    standing: dict[Standing, int]
    replayed: int


def event_key(event_id: str | None, place: str) -> bytes:
    """Return what an event is known by here: its id, else where it came in."""
    try:
        return uuid.UUID(event_id or "").bytes
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_URL, f"goalpost:event:{event_id or place}").bytes


class Sightings:
    """A file of SQLite's own that ends with this object. For one thread."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.executescript(_TABLES)

    def see(self, sightings: Iterable[Sighting]) -> None:
        """Take in where events were seen."""
        rows = ((one.event, int(one.seen), int(one.delivery), one.at, one.place) for one in sightings)
        self._database.execute("BEGIN")
        self._database.executemany(_SEE, rows)
        self._database.execute("COMMIT")

    def wait(self, partition: int, offset: int, event: bytes) -> None:
        """Note a record of the waiting room."""
        self._database.execute("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)", (partition, offset, event))

    def release(self, partition: int, offset: int) -> bytes | None:
        """Forget a record of the waiting room and return its event, if it was known."""
        statement = "DELETE FROM waiting WHERE partition = ? AND offset = ? RETURNING id"
        row = self._database.execute(statement, (partition, offset)).fetchone()
        return None if row is None else bytes(row[0])

    def note_who_waits(self) -> None:
        """Say of the events that are in the waiting room that they are."""
        self._database.execute(_STILL_WAITING, (int(Seen.WAITING),))

    def chunks(self, size: int) -> Iterator[list[bytes]]:
        """Yield all events, some at a time; they may be seen again meanwhile."""
        last = b""
        while found := [bytes(row[0]) for row in self._database.execute(_AFTER, (last, size))]:
            yield found
            last = found[-1]

    def knows(self, event: bytes) -> bool:
        """Tell whether the event was seen anywhere."""
        return self._database.execute("SELECT 1 FROM event WHERE id = ?", (event,)).fetchone() is not None

    def totals(self, *, recent_ms: EpochMillis) -> Totals:
        """Count. What happened at or after ``recent_ms`` may still be on its way."""
        standing: Counter[Standing] = Counter()
        received = repeats = replayed = 0
        query = """
        SELECT seen, at >= ?, count(*), sum(deliveries) FROM event WHERE deliveries > 0 GROUP BY seen, at >= ?
        """
        for seen, recent, events, deliveries in self._database.execute(query, (recent_ms, recent_ms)):
            standing[standing_of(Seen(seen), recent=bool(recent))] += events
            received += deliveries
            repeats += deliveries - events
            replayed += events if Seen.LETTER_DONE in Seen(seen) else 0
        return Totals(
            received=received, repeats=repeats, replayed=replayed, standing={one: standing[one] for one in Standing}
        )

    def missing(self, *, recent_ms: EpochMillis) -> Iterator[tuple[bytes, Seen, str]]:
        """Yield the events that are nowhere, also those that came in before the time that was read."""
        for (number,) in self._database.execute("SELECT DISTINCT seen FROM event").fetchall():
            if standing_of(Seen(number), recent=False) is Standing.MISSING:
                query = "SELECT id, place FROM event WHERE seen = ? AND at < ? ORDER BY at"
                for event, place in self._database.execute(query, (number, recent_ms)):
                    yield bytes(event), Seen(number), str(place)
