"""Kafka from an event loop: a request goes on when all in-sync replicas have its records.

One thread polls the client. Its callbacks only append to a list, and each poll wakes the loop once, however many
deliveries it reports: measured, waking per record costs half of the throughput.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from runtime.failures import Transient
from runtime.lifecycle import Heartbeat
from schemas.records import Outgoing
from schemas.topics import RECORD_LIMIT_BYTES

_POLL_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 1.0
# The rest is for the headers of waiting records and dead letters.
_RECORD_BYTES: Final = RECORD_LIMIT_BYTES * 3 // 4


class NotAcknowledged(Transient):
    """Kafka did not confirm the records in time. Some may be stored now or later: a repeat is a duplicate of those."""


class TooLarge(ValueError):
    """A record would be larger than its topic takes: nothing of the request was sent, nor would a repeat be."""

    def __init__(self) -> None:
        super().__init__("what has to be stored of this request is larger than a record can be; send less at once")


def check_sizes(records: Sequence[Outgoing]) -> None:
    """See whether every record fits into its topic, before the first is sent.

    Raises:
        TooLarge: one does not. A body within its limit can do that: parsing it writes some values at greater length.
    """
    if any(record.value is not None and len(record.value) > _RECORD_BYTES for record in records):
        raise TooLarge


class Publisher(Protocol):
    """What an endpoint needs of Kafka."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when every record is acknowledged by all in-sync replicas.

        Raises:
            NotAcknowledged: at least one is not.
        """


class _Delivery:
    """The records of one request that are not reported on yet; called by the client for each of them."""

    __slots__ = ("_left", "_reports", "outcome")

    def __init__(
        self, reports: list[tuple[_Delivery, KafkaError | None]], outcome: asyncio.Future[str | None], records: int
    ) -> None:
        self._reports = reports
        self.outcome = outcome
        self._left = records

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        """In the polling thread."""
        self._reports.append((self, error))

    def settle(self, error: KafkaError | None) -> None:
        """In the loop."""
        self._left -= 1
        if error is not None:
            self.end(error.name())
        elif self._left == 0:
            self.end(None)

    def end(self, error: str | None) -> None:
        """Let the request go on, with what went wrong."""
        if not self.outcome.done():
            self.outcome.set_result(error)


class KafkaPublisher:
    """A :class:`Publisher`; made inside the running loop, and closed before the loop ends."""

    def __init__(self, client: Producer, *, timeout_seconds: float, heartbeat: Heartbeat) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._reports: list[tuple[_Delivery, KafkaError | None]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._thread.start()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """As :meth:`Publisher.publish`, waiting no longer than the timeout."""
        delivery = _Delivery(self._reports, self._loop.create_future(), len(records))
        try:
            for record in records:
                self._client.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=delivery,
                )
        except BufferError as exc:
            raise NotAcknowledged("the queue to Kafka is full") from exc
        except KafkaException as exc:
            raise NotAcknowledged(f"Kafka's client refuses a record ({exc.args[0].name()})") from exc
        timeout = self._loop.call_later(self._timeout_seconds, delivery.end, "TIMED_OUT")
        try:
            error = await delivery.outcome
        finally:
            timeout.cancel()
        if error is not None:
            raise NotAcknowledged(f"Kafka did not acknowledge ({error})")

    async def obstacle(self) -> str | None:
        """Return what stands between this process and Kafka now, or ``None``."""
        try:
            await asyncio.to_thread(self._client.list_topics, timeout=_PROBE_SECONDS)
        except KafkaException as exc:
            return f"no answer from the broker ({exc.args[0].name()})"
        return None

    async def close(self, seconds: float) -> int:
        """Send what is still queued, for at most ``seconds``. Returns the number of records that were not sent."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join)
        return await asyncio.to_thread(self._client.flush, seconds)

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._client.poll(_POLL_SECONDS)
            self._heartbeat.beat()
            if self._reports:
                reports = self._reports[:]
                del self._reports[: len(reports)]
                self._loop.call_soon_threadsafe(self._settle, reports)

    @staticmethod
    def _settle(reports: list[tuple[_Delivery, KafkaError | None]]) -> None:
        for delivery, error in reports:
            delivery.settle(error)
