"""The loop of ``goalpost sessions follow``: first what has changed, then a page of what was there before.

A dependency that is down makes it wait and say so; nothing is forgotten before Kafka has acknowledged it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from goalpost.sessions import readings
from goalpost.sessions.changes import send_changes, waiting
from goalpost.sessions.counts import NAMED_ROWS, Counts
from goalpost.sessions.pace import Pace
from goalpost.sessions.pages import send_page, slow_pages
from goalpost.sessions.publishing import SessionTopic
from goalpost.sessions.recording import ensure_recording
from goalpost.sessions.table import Table, table_of
from runtime import metrics
from runtime.failures import Transient
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import logger, seldom
from schemas.topics import SESSIONS
from sinks.postgres.connection import Connection, PostgresUnavailable

STAGE: Final = "session_follow"

# How soon it is noticed that somebody has taken the triggers off, or changed the table.
_LOOK_SECONDS: Final = 10.0
_REPORT_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 5.0


class Follower:
    """Follows ``user_analytics`` until it is asked to stop. All methods but ``obstacles`` belong to one thread."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        topic: SessionTopic,
        *,
        pace: Pace,
        poll_seconds: float,
        stop: Stop,
        heartbeat: Heartbeat,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._topic = topic
        self._pace = pace
        self._poll_seconds = poll_seconds
        self._stop = stop
        self._heartbeat = heartbeat
        self._clock = clock
        self._monotonic = monotonic
        self._connection: Connection | None = None
        self._table: Table | None = None
        self._looked_at = self._reported_at = -_LOOK_SECONDS
        self._all_read = False
        self._read = Counts()
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._waiting_for: dict[str, str] = {"start": "the table has not been looked at yet"}

    def obstacles(self) -> Mapping[str, str]:
        """Return what it waits for; empty means that it can work."""
        return dict(self._waiting_for)

    def run(self) -> None:
        """Follow until a stop is requested.

        Raises:
            Fatal: a person has to act.
        """
        try:
            while not self._stop.requested:
                self._heartbeat.beat()
                metrics.PROGRESS.labels(STAGE).set(self._clock())
                try:
                    pause = self._round()
                except Transient as exc:
                    pause = self._hindered(exc)
                else:
                    self._unhindered()
                if pause > 0:
                    self._stop.wait(pause)
        finally:
            self._disconnect()

    def _round(self) -> float:
        """Do what there is to do and return how long to rest."""
        if self._connection is None:
            self._connection = self._connect()
            self._looked_at = -_LOOK_SECONDS
        table = self._looked(self._connection)
        more = self._follow(self._connection, table)
        if not self._all_read and self._pace.pause_seconds() == 0:
            self._read_on(self._connection, table)
        self._measure(self._connection)
        if more:
            return 0.0
        return self._poll_seconds if self._all_read else min(self._poll_seconds, self._pace.pause_seconds())

    def _looked(self, connection: Connection) -> Table:
        """Look now and then whether the table is what it was, and changes have been recorded all the time."""
        if self._table is None or self._monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._table = table_of(connection)
            if ensure_recording(connection, self._table):
                logger().info("follow.recording_began", next="every row is read once; changes come first")
                self._all_read, self._read = False, Counts()
                if (advice := slow_pages(connection, self._table)) is not None:
                    logger().warning("reading.slow", advice=advice)
            self._looked_at = self._monotonic()
        return self._table

    def _follow(self, connection: Connection, table: Table) -> bool:
        began = self._monotonic()
        taken = send_changes(connection, table, self._topic, now_ms=self._now_ms())
        if taken.changes:
            metrics.SECONDS.labels(STAGE).observe(self._monotonic() - began)
            logger().debug("changes.sent", changes=taken.changes, sessions=taken.counts.sessions, gone=taken.removed)
        metrics.RECEIVED.labels(STAGE).inc(taken.changes)
        self._count(taken.counts, taken.removed, taken.unusable)
        return taken.more

    def _read_on(self, connection: Connection, table: Table) -> None:
        page = send_page(
            connection, table, self._topic, readings.FOLLOW, now_ms=self._now_ms(), limit=self._pace.page_rows
        )
        if page is not None:
            self._pace.spent(page.counts.rows)
            self._read = self._read.plus(page.counts)
            metrics.RECEIVED.labels(STAGE).inc(page.counts.rows)
            self._count(page.counts, 0, page.unusable)
        if page is None or page.finished:
            self._all_read = True
            if page is not None:
                logger().info("reading.finished", rows=self._read.rows, sessions=self._read.sessions)

    def _count(self, counts: Counts, removed: int, unusable: tuple[tuple[str, str], ...]) -> None:
        metrics.SENT.labels(STAGE, SESSIONS.name).inc(counts.records + removed)
        metrics.SESSION_ROWS_UNUSABLE.inc(len(unusable))
        for why, rows in Counter(why for _, why in unusable).items():
            ids = [row_id for row_id, reason in unusable if reason == why][:NAMED_ROWS]
            logger().warning("rows.unusable", reason=why, rows=rows, first_ids=ids)

    def _measure(self, connection: Connection) -> None:
        changes, since = waiting(connection)
        metrics.SESSION_CHANGES_WAITING.set(changes)
        metrics.SESSION_CHANGES_OLDEST.set(since)
        if not self._all_read and self._monotonic() - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = self._monotonic()
            logger().info("reading.went_on", rows=self._read.rows, changes_waiting=changes)

    def _hindered(self, reason: Transient) -> float:
        dependency = type(reason).__name__
        metrics.RETRIED.labels(STAGE, dependency).inc()
        seldom("dependency.unavailable", dependency=dependency, error=str(reason))
        self._waiting_for = {dependency: str(reason)}
        if isinstance(reason, PostgresUnavailable):
            self._disconnect()
        pause = self._pause_seconds
        self._pause_seconds = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return pause

    def _unhindered(self) -> None:
        if self._waiting_for:
            logger().info("dependencies.answered")
        self._waiting_for = {}
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._table = None

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
