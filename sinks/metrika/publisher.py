"""Tells other teams: outbox -> Kafka -> acknowledged -> forgotten. At least once, in order, whatever crashes.

Runs beside the uploads and never holds them up: while Kafka or the registry is down, news waits in Postgres.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
from confluent_kafka import KafkaException
from psycopg import Connection

from runtime.failures import Fatal, Transient
from runtime.kafka import Sender
from runtime.lifecycle import Stop
from runtime.logs import logger, seldom
from runtime.metrics import SENT
from schemas.codec import Codec
from schemas.events import Conversion, EpochMillis, Outcome
from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing, header
from sinks.metrika.originals import Originals
from sinks.metrika.outcomes import FAILED, dead_letter, outcome_record, rebuilt
from sinks.metrika.tables import outbox
from sinks.metrika.tables.outbox import News

_BATCH: Final = 500
_IDLE_SECONDS: Final = 1.0  # news of another process of this sink wakes nobody here
_TROUBLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Kafka and the registry, as this publisher needs them."""

    outcomes: Codec[Outcome]
    conversions: Codec[Conversion]
    sender: Sender
    originals: Originals


class Publisher:
    """Empties the outbox. One process publishes at a time, so that the news of a conversion stays in order."""

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        broker: Callable[[], Broker],
        now_ms: Callable[[], EpochMillis],
    ) -> None:
        self._connect = connect
        self._make_broker = broker
        self._broker: Broker | None = None
        self._now_ms = now_ms
        self._stop = Stop()  # its own: outcomes of the last rounds come after the process was asked to stop
        self._wake = threading.Event()
        self.obstacle = ""

    def wake(self) -> None:
        """Say that there may be news."""
        self._wake.set()

    def finish(self) -> None:
        """Publish what is there and end."""
        self._stop.request()
        self._wake.set()

    def run(self) -> None:
        """Publish until the stop, and what is there then. For a thread of its own."""
        while not self._stop.requested:
            try:
                with self._connect() as connection:
                    self._serve(connection)
            except (psycopg.OperationalError, KafkaException, Transient, Fatal) as exc:
                self._report(exc)
                self._stop.wait(_TROUBLE_SECONDS)

    def publish(self, connection: Connection) -> int:
        """Publish the oldest news and return how many there were."""
        self._wake.clear()
        pending = outbox.read(connection, limit=_BATCH)
        if pending:
            if self._broker is None:
                self._broker = self._make_broker()
            records = [record for news in pending for record in self._records(news, self._broker)]
            self._broker.sender.send(records)
            outbox.delete(connection, pending)
            for record in records:
                SENT.labels("metrika", record.topic).inc()
        self.obstacle = ""
        return len(pending)

    def _serve(self, connection: Connection) -> None:
        while not outbox.hold(connection):
            self.obstacle = ""  # another process publishes; what stood in this one's way before is over
            if self._stop.wait(_IDLE_SECONDS):
                return
        while True:
            stopping = self._stop.requested
            if self.publish(connection):
                continue
            if stopping:
                return
            self._wake.wait(_IDLE_SECONDS)

    def _records(self, news: News, broker: Broker) -> Iterator[Outgoing]:
        if news.conversion is None:
            logger().warning("outcome.dropped", event_id=news.event_id, reason="its conversion has been erased")
            return
        yield outcome_record(news, news.conversion, broker.outcomes)
        if news.outcome == FAILED:
            original = self._original(news, broker) or rebuilt(news, news.conversion, broker.conversions)
            yield dead_letter(news, original, now_ms=self._now_ms())

    def _original(self, news: News, broker: Broker) -> Incoming | None:
        if news.conversion_partition is None or news.conversion_offset is None:
            return None
        found = broker.originals.at(news.conversion_partition, news.conversion_offset)
        # After the topic was made anew, another conversion stands at that offset.
        return found if found is not None and header(found.headers, EVENT_ID_HEADER) == news.event_id else None

    def _report(self, error: Exception) -> None:
        self._broker = None  # a producer that failed for good stays failed
        self.obstacle = f"{type(error).__name__}: {error}".splitlines()[0]
        seldom("outcomes.waiting", dependency=type(error).__name__, reason=self.obstacle)
