"""The publisher's bookkeeping against a client that answers, and a broker that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from producers.publisher import KafkaPublisher, NotAcknowledged
from runtime.lifecycle import Heartbeat
from schemas.records import Outgoing
from tests.unit.producers.clients import HeldClient


def record(value: bytes) -> Outgoing:
    return Outgoing(topic="t", key=b"k", value=value, headers=(("h", b"x"),))


@asynccontextmanager
async def publisher(client: object) -> AsyncIterator[KafkaPublisher]:
    made = KafkaPublisher(lambda: client, heartbeat=Heartbeat())  # type: ignore[arg-type, return-value]  # a fake
    try:
        yield made
    finally:
        await made.close(0.1)


async def test_many_requests_at_once_each_get_their_own_answer() -> None:
    client = HeldClient()
    client.refusing = {b"2"}
    async with publisher(client) as made:
        deliveries = [made.send([record(value)]) for value in (b"1", b"2", b"3")]
        client.answer()
        errors = await asyncio.gather(*(delivery.outcome for delivery in deliveries))
        assert errors == [None, "TOPIC_AUTHORIZATION_FAILED", None]
        later = [made.send([record(b"4")] * 3) for _ in range(200)]
        assert await asyncio.gather(*(delivery.outcome for delivery in later)) == [None] * 200


async def test_one_unacknowledged_record_fails_the_whole_delivery() -> None:
    client = HeldClient()
    client.refusing = {b"3"}
    async with publisher(client) as made:
        delivery = made.send([record(b"1"), record(b"2"), record(b"3")])
        client.answer()
        assert await delivery.outcome == "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (BufferError("queue full"), "queue to Kafka is full"),
        (KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), "MSG_SIZE_TOO_LARGE"),
    ],
)
async def test_a_record_that_cannot_even_be_queued_fails_at_once(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: object, **_named: object) -> None:
        raise error

    client = HeldClient(answering=True)
    async with publisher(client) as made:
        with monkeypatch.context() as context:
            context.setattr(client, "produce", refuse)
            with pytest.raises(NotAcknowledged, match=says):
                made.send([record(b"1")])
        assert await made.send([record(b"2")]).outcome is None


async def test_what_is_decided_when_it_closes_is_still_reported() -> None:
    client = HeldClient()
    async with publisher(client) as made:
        delivery = made.send([record(b"1")])
        client.answer()
    assert await delivery.outcome is None


async def test_a_broker_that_is_not_there_is_noticed_in_time() -> None:
    nowhere = Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    async with publisher(nowhere) as made:
        assert "no answer from the broker" in (await made.obstacle() or "")
