"""Kafka's client as the publisher sees it, with every answer in the test's hand."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

Report = Callable[[KafkaError | None, Any], None]


def failure(code: int) -> KafkaError:
    """Return an error as the client reports it."""
    return KafkaError(code)


class HeldClient:
    """Holds every record until the test lets it go; while ``answering``, everything is acknowledged in order."""

    def __init__(self, *, answering: bool = False) -> None:
        self.answering = answering
        self.written: list[bytes] = []
        self.refusing: set[bytes] = set()
        self.limit = 10**9
        self._held: deque[tuple[bytes, Report]] = deque()
        self._reports: queue.SimpleQueue[tuple[Report, KafkaError | None]] = queue.SimpleQueue()

    @property
    def holds(self) -> int:
        """How many records are neither acknowledged nor refused."""
        return len(self._held)

    def produce(self, _topic: str, *, value: bytes, on_delivery: Report, **_record: object) -> None:
        """Take one record."""
        if len(self._held) >= self.limit:
            raise BufferError
        self._held.append((value, on_delivery))
        if self.answering:
            self.answer()

    def answer(self) -> None:
        """Kafka is (back) there: acknowledge what is held, and from now on at once."""
        self.answering = True
        while self._held:
            value, report = self._held.popleft()
            if value in self.refusing:
                self._reports.put((report, failure(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
            else:
                self.written.append(value)
                self._reports.put((report, None))

    def poll(self, seconds: float) -> None:
        """Report what is decided."""
        try:
            report, error = self._reports.get(timeout=seconds)
        except queue.Empty:
            return
        report(error, None)
        while not self._reports.empty():
            report, error = self._reports.get()
            report(error, None)

    def purge(self, *, in_queue: bool, in_flight: bool) -> None:
        """Report everything that is held as not sent."""
        assert in_queue
        assert in_flight
        while self._held:
            _, report = self._held.popleft()
            self._reports.put((report, failure(KafkaError._PURGE_QUEUE)))

    def flush(self, _seconds: float) -> int:
        """Report what is decided already."""
        self.poll(0)
        return len(self._held)
