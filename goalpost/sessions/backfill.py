"""A backfill from its beginning, or from where an earlier one stopped, to the end of the table or a stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from goalpost.sessions import readings
from goalpost.sessions.counts import Counts
from goalpost.sessions.pace import Pace
from goalpost.sessions.pages import Page, look_through, send_page
from goalpost.sessions.progress import shown
from goalpost.sessions.publishing import SessionTopic
from goalpost.sessions.table import Bounds, Table
from runtime.lifecycle import Stop
from schemas.events import EpochMillis
from sinks.postgres.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a backfill came to. ``counts`` are those of all its runs, ``rows_now`` of this one."""

    bounds: Bounds
    counts: Counts
    continued: bool
    finished: bool
    rows_now: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """Reads ``table`` through ``connection``; ``seen`` is told every page after it is done."""

    connection: Connection
    table: Table
    pace: Pace
    stop: Stop
    seen: Callable[[Page], None]
    clock_ms: Callable[[], EpochMillis]

    def run(self, topic: SessionTopic, bounds: Bounds, *, restart: bool, say: Callable[[str], None]) -> Result:
        """Write sessions. An unfinished backfill is continued with its own bounds, unless ``restart``.

        Raises:
            Transient: a dependency does not answer; the next run continues.
        """
        known = readings.load(self.connection, readings.BACKFILL)
        continued = known is not None and not known.finished and not restart
        if continued and known is not None:
            bounds = known.bounds
            say(f"continuing an unfinished backfill behind its row {known.counts.rows}; --restart begins anew")
        else:
            readings.begin(self.connection, readings.BACKFILL, bounds)
        before = known.counts.rows if continued and known is not None else 0
        began = time.monotonic()
        rows = before
        with shown(begun_with=before, about=self.table.about(self.connection, bounds)) as tell:
            while not self.stop.requested:
                page = send_page(
                    self.connection,
                    self.table,
                    topic,
                    readings.BACKFILL,
                    now_ms=self.clock_ms(),
                    limit=self.pace.page_rows,
                )
                if page is None:
                    break
                rows += page.counts.rows
                self._done(page)
                tell(rows)
        reading = readings.load(self.connection, readings.BACKFILL)
        return Result(
            bounds=bounds,
            counts=reading.counts if reading else Counts(),
            continued=continued,
            finished=reading is not None and reading.finished,
            rows_now=rows - before,
            seconds=time.monotonic() - began,
        )

    def rehearse(self, bounds: Bounds) -> Result:
        """Read everything and write nothing."""
        counts, finished = Counts(), False
        began = time.monotonic()

        with shown(begun_with=0, about=self.table.about(self.connection, bounds)) as tell:

            def seen(page: Page) -> bool:
                nonlocal counts, finished
                counts, finished = counts.plus(page.counts), page.finished
                self._done(page)
                tell(counts.rows)
                return not self.stop.requested

            look_through(self.connection, self.table, bounds, clock_ms=self.clock_ms, seen=seen)
        return Result(
            bounds=bounds,
            counts=counts,
            continued=False,
            finished=finished,
            rows_now=counts.rows,
            seconds=time.monotonic() - began,
        )

    def _done(self, page: Page) -> None:
        self.seen(page)
        self.pace.spent(page.counts.rows)
        self.stop.wait(self.pace.pause_seconds())
