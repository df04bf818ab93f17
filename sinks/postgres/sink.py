"""The Postgres sink: a batch is one transaction; what Postgres refuses is found in it and becomes dead letters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import stamina

from runtime import metrics
from runtime.failures import Transient
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
from sinks.postgres.sieve import Tried, in_questions
from sinks.postgres.writer import Writer, Written

STAGE: Final = "postgres"

# Deadlocks and lock waits pass in milliseconds; after a few attempts the loop takes over, with longer pauses.
_CONTENTION_ATTEMPTS: Final = 5
# What the join writes: the event's id and its webhook's. A replay adds its own.
_OWN_HEADERS: Final = 2

Content = Conversion | Session
T = TypeVar("T")


class Interrupted(Transient):
    """The process was asked to stop before it had found all that Postgres refuses; the batch is read again."""


def _nothing() -> None:
    """What there is to do between two attempts where nobody says otherwise."""


class PostgresSink:
    """Stores conversions, and the sessions whose rows goalpost creates."""

    name = STAGE

    def __init__(
        self,
        connect: Callable[[], Connection],
        registry: Registry,
        *,
        clock: Callable[[], float] = time.time,
        between: Callable[[], None] = _nothing,
    ) -> None:
        """``between`` is called between two transactions of one batch; it may raise :class:`Interrupted`."""
        self._connect = connect
        self._registry = registry
        self._clock = clock
        self._between = between
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
        """Write ``batch``. Where Postgres refuses the content, find what it refuses and write the rest.

        Raises:
            PostgresUnavailable, Contention, Interrupted: try again later; a repeat does no harm.
        """
        try:
            return self._store(batch)
        except BadData as exc:
            if len(batch) == 1:
                return [_refused(batch[0], exc.cause, type(exc.__cause__ or exc).__name__)]
            refused = [one for part in in_questions(len(batch)) for one in self._sieved(batch[part])]
            bad = {id(one.record) for one in refused}
            return refused + self._narrowed([item for item in batch if id(item.record) not in bad])

    def _sieved(self, batch: Sequence[Item[Content]]) -> list[Refused]:
        """Ask which records are refused; nothing is written."""
        self._between()
        tried = [_tried(item) for item in batch]
        try:
            causes = self._with_writer(lambda writer: writer.refusals(tried))
        except BadData:  # something that does not even reach the server: halving finds it
            return []
        return [_refused(batch[index], cause.text, cause.exception) for index, cause in causes.items()]

    def _narrowed(self, batch: Sequence[Item[Content]]) -> list[Refused]:
        """Write ``batch``, by sender and then by halves, until each refused record stands alone.

        Two transactions for each refused record: for what the records do only together.
        """
        if not batch:
            return []
        self._between()
        try:
            return self._store(batch)
        except BadData as exc:
            if len(batch) == 1:
                return [_refused(batch[0], exc.cause, type(exc.__cause__ or exc).__name__)]
            return [one for part in _parts(batch) for one in self._narrowed(part)]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._writer = None

    def _store(self, batch: Sequence[Item[Content]]) -> list[Refused]:
        if not batch:
            return []
        tried = [_tried(item) for item in batch]
        conversions = [one for one in tried if isinstance(one, PlacedConversion)]
        sessions = [one for one in tried if isinstance(one, Session)]
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


def _tried(item: Item[Content]) -> Tried:
    if isinstance(item.content, Session):
        return item.content
    place = item.record
    return PlacedConversion(
        conversion=item.content,
        partition=place.partition,
        offset=place.offset,
        is_replayed=len(place.headers) > _OWN_HEADERS and replays_of(place.headers) > 0,
    )


def _parts(batch: Sequence[Item[Content]]) -> list[Sequence[Item[Content]]]:
    """Return ``batch`` by sender, so that the others need not wait until one's records are told apart; else halves."""
    by_sender: dict[str, list[Item[Content]]] = {}
    for item in batch:
        sender = item.content.webhook_id if isinstance(item.content, Conversion) else ""
        by_sender.setdefault(sender, []).append(item)
    if len(by_sender) > 1:
        return sorted(by_sender.values(), key=len)
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


def _amount_changed(why: str) -> Reason:
    return Reason(error_class=ErrorClass.AMOUNT_CHANGED, stage=Stage.WRITE, message=why, effects_done="row")


def _refused(item: Item[Content], cause: str, exception: str) -> Refused:
    reason = Reason(
        error_class=ErrorClass.ROW_REFUSED,
        stage=Stage.WRITE,
        message=f"Postgres refuses the row ({cause}); correct the cause, then replay this letter",
        exception=exception,
    )
    return Refused(record=item.record, reason=reason)
