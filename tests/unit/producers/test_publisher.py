"""The publisher against a broker that is not there, and its bookkeeping against a client that answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from producers.publisher import KafkaPublisher, NotAcknowledged
from runtime.lifecycle import Heartbeat
from schemas.records import Outgoing

RECORD = Outgoing(topic="t", key=b"k", value=b"v", headers=(("h", b"x"),))

Report = Callable[[KafkaError | None, Any], None]


class AnsweringClient:
    """Reports each delivery in the next poll; ``answers`` are taken in order, then all is well."""

    def __init__(self, *answers: KafkaError | Exception | None) -> None:
        self._answers = list(answers)
        self._reports: list[tuple[Report, KafkaError | None]] = []
        self._queued = threading.Semaphore(0)
        self.flushed = False

    def produce(self, _topic: str, *, on_delivery: Report, **_record: object) -> None:
        """Queue one delivery."""
        answer = self._answers.pop(0) if self._answers else None
        if isinstance(answer, Exception):
            raise answer
        self._reports.append((on_delivery, answer))
        self._queued.release()

    def poll(self, seconds: float) -> None:
        """Report what is queued."""
        if self._queued.acquire(timeout=seconds):
            reports, self._reports = self._reports, []
            for report, error in reports:
                report(error, None)

    def flush(self, _seconds: float) -> int:
        """Remember that it was asked."""
        self.flushed = True
        return len(self._reports)


@asynccontextmanager
async def publisher(client: object, *, timeout_seconds: float = 5) -> AsyncIterator[KafkaPublisher]:
    made = KafkaPublisher(client, timeout_seconds=timeout_seconds, heartbeat=Heartbeat())  # type: ignore[arg-type]  # a fake
    try:
        yield made
    finally:
        await made.close(0.1)


async def test_many_requests_at_once_each_get_their_own_answer() -> None:
    refused = KafkaError(KafkaError._MSG_TIMED_OUT)
    async with publisher(AnsweringClient(None, refused, None)) as made:
        answers = await asyncio.gather(*(made.publish([RECORD]) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [type(None), NotAcknowledged, type(None)]
        await asyncio.gather(*(made.publish([RECORD] * 3) for _ in range(200)))


async def test_one_unacknowledged_record_fails_the_whole_request() -> None:
    async with publisher(AnsweringClient(None, None, KafkaError(KafkaError._MSG_TIMED_OUT))) as made:
        with pytest.raises(NotAcknowledged, match="MSG_TIMED_OUT"):
            await made.publish([RECORD] * 3)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BufferError("queue full"), "queue to Kafka is full"),
        (KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), "MSG_SIZE_TOO_LARGE"),
    ],
)
async def test_a_record_that_cannot_even_be_queued_fails_at_once(error: Exception, says: str) -> None:
    async with publisher(AnsweringClient(None, error)) as made:
        with pytest.raises(NotAcknowledged, match=says):
            await made.publish([RECORD, RECORD])
        await made.publish([RECORD])  # the report of the first record comes late and hurts nobody


async def test_closing_sends_what_is_queued() -> None:
    client = AnsweringClient()
    async with publisher(client) as made:
        await made.publish([RECORD])
    assert client.flushed


async def test_a_broker_that_is_not_there_is_noticed_in_time() -> None:
    nowhere = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "message.timeout.ms": 10_000})
    async with publisher(nowhere, timeout_seconds=0.2) as made:
        began = time.monotonic()
        with pytest.raises(NotAcknowledged, match="TIMED_OUT"):
            await made.publish([RECORD])
        assert time.monotonic() - began < 5
        assert "no answer from the broker" in (await made.obstacle() or "")
