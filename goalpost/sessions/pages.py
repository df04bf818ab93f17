"""One page of a reading: read, written to Kafka, acknowledged, and only then noted as done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from goalpost.sessions import readings
from goalpost.sessions.counts import Counts
from goalpost.sessions.publishing import SessionTopic, turn
from goalpost.sessions.sorting import sorted_out
from goalpost.sessions.table import Bounds, Position, Table
from schemas.events import EpochMillis
from sinks.postgres.connection import Connection
from sinks.postgres.indexes import missing

# A tenth of a second of work. Twice as many rows are not faster; half as many cost a tenth.
PAGE_ROWS: Final = 2_000


# Below this, pages are found quickly without an index.
_LARGE_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one page was. ``unusable`` names its rows that are no session, each with the reason."""

    counts: Counts
    unusable: tuple[tuple[str, str], ...]
    finished: bool


def send_page(
    connection: Connection, table: Table, topic: SessionTopic, name: str, *, now_ms: EpochMillis, limit: int = PAGE_ROWS
) -> Page | None:
    """Write the next page of the reading ``name``, or return ``None`` where there is nothing left to read.

    A crash at any point repeats the page. Two processes that do this to the same reading share its pages.

    Raises:
        Transient: nothing was noted; try again.
    """
    with turn(connection):
        reading = readings.load(connection, name)
        if reading is None or reading.finished:
            return None
        rows = table.page(connection, reading.bounds, reading.position, limit=limit)
        found = sorted_out(rows, received_at=now_ms)
        topic.write(found.records(topic.codec))
        position = table.behind(rows, reading.bounds, reading.position, limit=limit)
        readings.advance(connection, name, position, reading.counts.plus(found.counts))
    return Page(counts=found.counts, unusable=found.unusable, finished=position is None)


def look_through(
    connection: Connection,
    table: Table,
    bounds: Bounds,
    *,
    clock_ms: Callable[[], EpochMillis],
    seen: Callable[[Page], bool],
) -> None:
    """Read the table as a backfill would and write nothing; ``seen`` is told each page and says whether to go on."""
    position: Position | None = Position()
    while position is not None:
        rows = table.page(connection, bounds, position, limit=PAGE_ROWS)
        found = sorted_out(rows, received_at=clock_ms())
        position = table.behind(rows, bounds, position, limit=PAGE_ROWS)
        if not seen(Page(counts=found.counts, unusable=found.unusable, finished=position is None)):
            return


def slow_pages(connection: Connection, table: Table) -> str | None:
    """Return a word of advice where each page would have to look through the whole of a large table."""
    unordered = any(index.key == '"timestamp"' for index in missing(connection))
    if not unordered or table.about(connection, Bounds()) <= _LARGE_ROWS:
        return None
    return (
        "user_analytics has no index that begins with timestamp, so each page looks through the whole table. "
        "`goalpost migrate` builds one, and the site can go on writing meanwhile."
    )
