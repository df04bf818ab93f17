"""Kafka from an event loop: a delivery ends when all in-sync replicas have its records.

One thread polls the client. Its callbacks only append to a list, and each poll wakes the loop once, however many
deliveries it reports: measured, waking per record costs half of the throughput.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from runtime.attention import RENEW_AFTER_SECONDS
from runtime.failures import Transient
from runtime.lifecycle import Heartbeat
from runtime.logs import logger
from runtime.metrics import CLIENTS_RENEWED
from schemas.records import Outgoing
from schemas.topics import RECORD_LIMIT_BYTES

_POLL_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 1.0
_PURGE_SECONDS: Final = 5.0
# Each client that is left without an answer either has twice the time.
_DOUBLINGS: Final = 5
# The rest is for the headers of waiting records and dead letters.
_RECORD_BYTES: Final = RECORD_LIMIT_BYTES * 3 // 4


class NotAcknowledged(Transient):
    """Neither Kafka nor the spool has the records for certain. Some may be stored later: a repeat doubles those."""


class TooLarge(ValueError):
    """A record would be larger than its topic takes: nothing of the request was sent, nor would a repeat be."""

    def __init__(self, message: str | None = None) -> None:
        whole = "what has to be stored of this request is larger than a record can be; send less at once"
        super().__init__(message or whole)


def check_sizes(records: Sequence[Outgoing]) -> None:
    """See whether every record fits into its topic, before the first is sent.

    Raises:
        TooLarge: one does not. A body within its limit can do that: parsing it writes some values at greater length.
    """
    for record in records:
        if record.value is not None and len(record.value) > _RECORD_BYTES:
            raise TooLarge


class Publisher(Protocol):
    """What an endpoint needs to keep its promise."""

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when every record is safe: in all in-sync replicas, or on the disk of this machine.

        Raises:
            NotAcknowledged: at least one is not.
        """

    def offer(self, record: Outgoing) -> None:
        """Send a record that nobody is promised; it may be dropped."""


class Delivery:
    """Records on their way, called by the client for each of them. ``outcome`` is the first error's name, or ``None``.

    ``outcome`` may be set to end the wait for it; what is reported after that goes to ``then``.
    """

    __slots__ = ("_left", "_reports", "_then", "error", "outcome", "reported")

    def __init__(
        self, reports: list[tuple[Delivery, KafkaError | None]], outcome: asyncio.Future[str | None], records: int
    ) -> None:
        self._reports = reports
        self._left = records
        self._then: Callable[[str | None], None] | None = None
        self.outcome = outcome
        self.reported = False
        self.error: str | None = None

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        """In the polling thread."""
        self._reports.append((self, error))

    def settle(self, error: KafkaError | None) -> None:
        """In the loop."""
        self._left -= 1
        if error is not None and self.error is None:
            self.error = error.name()
        if self._left == 0:
            self.reported = True
            if not self.outcome.done():
                self.outcome.set_result(self.error)
            if self._then is not None:
                self._then(self.error)

    def then(self, action: Callable[[str | None], None]) -> None:
        """Call ``action`` with the first error's name or ``None`` as soon as every record is reported on."""
        if self.reported:
            action(self.error)
        else:
            self._then = action


class KafkaPublisher:
    """Hands records to Kafka's client; made inside the running loop, and closed before the loop ends."""

    def __init__(
        self,
        connect: Callable[[], Producer],
        *,
        heartbeat: Heartbeat,
        waiting: Callable[[], bool] = lambda: False,
        answering_seconds: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``waiting`` says whether there is more to send than was handed over, ``answering_seconds`` for how long Kafka
        has been answering others.
        """
        self._connect = connect
        self._client = connect()
        self._retired: list[Producer] = []
        self._heartbeat = heartbeat
        self._waiting = waiting
        self._answering_seconds = answering_seconds
        self._clock = clock
        self._outstanding = 0
        self._failed = False
        # Since when nothing was acknowledged although there was something to send, and since when with this client.
        self._fine_at = self._connected_at = clock()
        self._in_vain = 0
        self._loop = asyncio.get_running_loop()
        self._reports: list[tuple[Delivery, KafkaError | None]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._thread.start()

    def send(self, records: Sequence[Outgoing]) -> Delivery:
        """Queue ``records``; those of one partition arrive in the order in which they were queued.

        Raises:
            NotAcknowledged: the queue is full, or the client refuses one. Those before it may arrive all the same.
        """
        delivery = Delivery(self._reports, self._loop.create_future(), len(records))
        produce = self._client.produce
        try:
            for record in records:
                produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=delivery,
                )
                self._outstanding += 1
        except BufferError as exc:
            raise NotAcknowledged("the queue to Kafka is full") from exc
        except KafkaException as exc:
            raise NotAcknowledged(f"Kafka's client refuses a record ({exc.args[0].name()})") from exc
        return delivery

    def idle_seconds(self) -> float:
        """For how long Kafka has acknowledged nothing, although it answers others and there is something to send."""
        if not (self._outstanding or self._failed or self._waiting()):
            self._fine_at = self._clock()
        return min(self._clock() - self._fine_at, self._answering_seconds())

    def look_after(self) -> None:
        """Go on with another client if this one is silent: what it holds is reported as not sent, by and by."""
        allowed = RENEW_AFTER_SECONDS * 2.0 ** min(self._in_vain, _DOUBLINGS)
        if min(self.idle_seconds(), self._clock() - self._connected_at) > allowed:
            CLIENTS_RENEWED.labels("requests").inc()
            logger().warning("client.renewed", client="requests", why=f"{self._outstanding} records without an answer")
            self._retired.append(self._client)
            self._client = self._connect()
            self._connected_at = self._clock()
            self._failed = False
            self._in_vain += 1

    async def close(self, seconds: float) -> int:
        """Send what is still queued, for at most ``seconds``. Returns the number of records that were not sent."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join)
        for client in self._retired:
            await asyncio.to_thread(_purge, client)
        unsent = await asyncio.to_thread(self._client.flush, seconds)
        self._settle(self._reports)
        return unsent

    def _poll(self) -> None:
        looked_at = self._clock()
        while not self._closing.is_set():
            self._client.poll(_POLL_SECONDS)
            self._heartbeat.beat()
            while self._retired:
                _purge(self._retired.pop())
            if self._reports:
                reports = self._reports[:]
                del self._reports[: len(reports)]
                self._loop.call_soon_threadsafe(self._settle, reports)
            if self._clock() - looked_at > _LOOK_SECONDS:
                looked_at = self._clock()
                self._loop.call_soon_threadsafe(self.look_after)

    def _settle(self, reports: list[tuple[Delivery, KafkaError | None]]) -> None:
        acknowledged = 0
        for delivery, error in reports:
            acknowledged += error is None
            delivery.settle(error)
        self._outstanding -= len(reports)
        if acknowledged:
            self._fine_at = self._clock()
            self._in_vain = 0
        if reports:
            self._failed = reports[-1][1] is not None


def _purge(client: Producer) -> None:
    """Have a client report everything that it holds as not sent."""
    client.purge(in_queue=True, in_flight=True)
    client.flush(_PURGE_SECONDS)
