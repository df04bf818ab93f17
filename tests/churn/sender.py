"""Writes a round's traffic in time, and remembers what Kafka has acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, Message

from runtime import kafka
from schemas.identity import row_id_for
from schemas.records import Outgoing
from tests.churn.accounting import Sent
from tests.churn.traffic import Arrival, Report, Visit
from tests.integration.join_world import World

# Longer than a broker is away.
_DELIVERY_SECONDS: Final = 90.0
_POISON: Final = b"\x00 no Avro"

_Delivered = Callable[[KafkaError | None, Message], None]


class Sender(threading.Thread):
    """Sends ``arrivals`` when they are due. ``sent`` and ``refused`` are complete when the thread has ended."""

    def __init__(self, world: World, arrivals: Sequence[Arrival]) -> None:
        super().__init__(name="traffic", daemon=True)
        self.sent: list[Sent] = []
        self.refused = 0
        self._world = world
        self._arrivals = arrivals
        self._known: set[bytes | None] = set()
        self._producer = kafka.producer(world.bootstrap_servers, client_id="churn", delivery_seconds=_DELIVERY_SECONDS)

    def run(self) -> None:
        """Send everything and wait for the acknowledgements."""
        began = time.monotonic()
        for at, what in self._arrivals:
            while (early := began + at - time.monotonic()) > 0:
                self._producer.poll(early)
            if isinstance(what, Visit):
                self._visit(what)
            else:
                self._report(what)
            self._producer.poll(0)
        self._producer.flush()

    def _visit(self, visit: Visit) -> None:
        for record in self._world.records_of(self._world.session(visit.session_id, ym_uid=visit.ym_uid)):
            self._produce(record, partial(self._visited, record.key))

    def _report(self, report: Report) -> None:
        event = self._world.event(event_id=report.event_id, session_id=report.session_id, ym_uid=report.ym_uid)
        record = self._world.record_of(event)
        if report.poison:
            record = replace(record, value=_POISON)
        first = bool(report.sessions) and record.key in self._known
        self._produce(record, partial(self._reported, report, first))

    def _produce(self, record: Outgoing, delivered: _Delivered) -> None:
        self._producer.produce(
            record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            on_delivery=delivered,
        )

    def _visited(self, key: bytes | None, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self._known.add(key)

    def _reported(self, report: Report, first: bool, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.refused += 1
            return
        self.sent.append(
            Sent(
                event_id=report.event_id,
                place=(message.partition() or 0, message.offset() or 0),
                rows=frozenset(row_id_for(session_id) for session_id in report.sessions),
                session_was_first=first,
            )
        )
