"""The Postgres sink: a batch is one transaction; what Postgres refuses is found by halving and becomes dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import stamina

from runtime import metrics
from runtime.logs import logger
from runtime.registry import Registry
from schemas.codec import Codec
from schemas.contracts import RESOLVED_CONVERSIONS, WEB_SESSIONS
from schemas.dead_letter import ErrorClass, Reason, Stage, replays_of
from schemas.events import Conversion, Session
from schemas.identity import VISITOR_PREFIX
from schemas.records import Incoming
from schemas.topics import SESSIONS
from sinks.contract import Item, Refused
from sinks.postgres.connection import BadData, Connection, Contention, PostgresUnavailable
from sinks.postgres.rows import PlacedConversion
from sinks.postgres.writer import Writer, Written

STAGE: Final = "postgres"

# Deadlocks and lock waits pass in milliseconds; after a few attempts the loop takes over, with longer pauses.
_CONTENTION_ATTEMPTS: Final = 5
# What the join writes: the event's id and its webhook's. A replay adds its own.
_OWN_HEADERS: Final = 2

Content = Conversion | Session
T = TypeVar("T")


class PostgresSink:
    """Stores conversions, and the sessions whose rows goalpost creates."""

    name = STAGE

    def __init__(
        self, connect: Callable[[], Connection], registry: Registry, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._connect = connect
        self._registry = registry
        self._clock = clock
        self._connection: Connection | None = None
        self._writer: Writer | None = None
        self._conversions: Codec[Conversion] | None = None
        self._sessions: Codec[Session] | None = None

    def open(self) -> None:
        """Reach Postgres and the registry.

        Raises:
            PostgresUnavailable, RegistryUnavailable: not now.
            Fatal: tables or schemas are not there.
        """
        self._codecs()
        self._with_writer(Writer.probe)

    def probe(self) -> None:
        """See whether Postgres still answers; the registry is asked only when a record names an unknown schema."""
        self._with_writer(Writer.probe)

    def decode(self, record: Incoming) -> Content | None:
        """Return the conversion, the session if goalpost has to create its row, or else ``None``.

        Raises:
            Undecodable: the bytes are no such record.
            RegistryUnavailable: its schema cannot be asked for now.
        """
        conversions, sessions = self._codecs()
        if record.topic != SESSIONS.name:
            return conversions.decode(record.value)
        # A visitor's record repeats its session's own one; an empty value removes a session from the join, not its row.
        if record.value is None or (record.key or b"").startswith(VISITOR_PREFIX.encode()):
            return None
        session = sessions.decode(record.value)
        return session if session.creates_row and session.analytics_data is not None else None

    def write(self, batch: Sequence[Item[Content]]) -> list[Refused]:
        """Write ``batch``; halve it where Postgres refuses the content, until each refused record stands alone.

        Raises:
            PostgresUnavailable, Contention: try again later; a repeat does no harm.
        """
        if not batch:
            return []
        try:
            return self._store(batch)
        except BadData as exc:
            if len(batch) == 1:
                return [Refused(record=batch[0].record, reason=_row_refused(exc))]
            middle = len(batch) // 2
            return self.write(batch[:middle]) + self.write(batch[middle:])

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._writer = None

    def _store(self, batch: Sequence[Item[Content]]) -> list[Refused]:
        conversions: list[PlacedConversion] = []
        sessions: list[Session] = []
        for item in batch:
            if isinstance(item.content, Session):
                sessions.append(item.content)
            else:
                place = item.record
                conversions.append(
                    PlacedConversion(
                        conversion=item.content,
                        partition=place.partition,
                        offset=place.offset,
                        is_replayed=len(place.headers) > _OWN_HEADERS and replays_of(place.headers) > 0,
                    )
                )
        for attempt in stamina.retry_context(
            on=Contention, attempts=_CONTENTION_ATTEMPTS, wait_initial=0.01, wait_max=0.5
        ):
            with attempt:
                written = self._with_writer(partial(Writer.write, conversions=conversions, sessions=sessions))
        self._report(written)
        asked = {(one.placed.partition, one.placed.offset): one.why for one in written.amended.asked}
        return [
            Refused(record=item.record, reason=_amount_changed(asked[item.record.partition, item.record.offset]))
            for item in (batch if asked else ())
            if isinstance(item.content, Conversion) and (item.record.partition, item.record.offset) in asked
        ]

    def _report(self, written: Written) -> None:
        now_ms = self._clock() * 1000
        age = metrics.AGE.labels(STAGE)
        for placed in written.stored:
            age.observe(max(0.0, now_ms - placed.conversion.received_at) / 1000)
        metrics.SENT.labels(STAGE, "webhook_conversions").inc(len(written.stored))
        metrics.SENT.labels(STAGE, "user_analytics").inc(written.sessions_written)
        metrics.ROWS_REPEATED.inc(written.repeated)
        metrics.GOALS_APPENDED.inc(written.goals_appended)
        metrics.SESSIONS_LATE.inc(written.amended.sessions)
        for webhook_id, decision in written.amended.amounts:
            metrics.AMOUNTS_CHANGED.labels(webhook_id, decision.value).inc()
        logger().debug(
            "batch.stored",
            stored=len(written.stored),
            repeated=written.repeated,
            goals=written.goals_appended,
            sessions=written.sessions_written,
        )

    def _codecs(self) -> tuple[Codec[Conversion], Codec[Session]]:
        if self._conversions is None or self._sessions is None:
            self._conversions = self._registry.codec(RESOLVED_CONVERSIONS)
            self._sessions = self._registry.codec(WEB_SESSIONS)
        return self._conversions, self._sessions

    def _with_writer(self, act: Callable[[Writer], T]) -> T:
        """Act through the connection; make one where there is none, and give it up after an outage."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            if self._writer is None:
                self._writer = Writer(self._connection)
            return act(self._writer)
        except PostgresUnavailable:
            self.close()
            raise


def _amount_changed(why: str) -> Reason:
    return Reason(error_class=ErrorClass.AMOUNT_CHANGED, stage=Stage.WRITE, message=why, effects_done="row")


def _row_refused(error: BadData) -> Reason:
    return Reason(
        error_class=ErrorClass.ROW_REFUSED,
        stage=Stage.WRITE,
        message=f"Postgres refuses the row ({error.cause}); correct the cause, then replay this letter",
        exception=type(error.__cause__ or error).__name__,
    )
