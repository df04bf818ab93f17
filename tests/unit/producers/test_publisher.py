"""The publisher's bookkeeping against a client that answers, and a broker that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from confluent_kafka import KafkaError, KafkaException

from producers.publisher import KafkaPublisher, NotAcknowledged
from runtime.attention import RENEW_AFTER_SECONDS
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


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_client_that_is_left_without_an_answer_is_replaced_and_its_records_are_told() -> None:
    clock = Time()
    silent, good = HeldClient(), HeldClient(answering=True)
    clients = [silent, good]
    made = KafkaPublisher(
        lambda: clients.pop(0),  # type: ignore[arg-type, return-value]  # fakes
        heartbeat=Heartbeat(),
        answering_seconds=lambda: clock.now,
        clock=clock,
    )
    try:
        lost = made.send([record(b"1")])
        clock.now = RENEW_AFTER_SECONDS - 1
        made.look_after()
        assert clients == [good]
        clock.now = RENEW_AFTER_SECONDS + 1
        assert made.idle_seconds() == clock.now
        made.look_after()
        assert clients == []
        assert await lost.outcome == "_PURGE_QUEUE"
        assert await made.send([record(b"2")]).outcome is None
        assert made.idle_seconds() == 0
    finally:
        await made.close(0.1)


async def test_while_kafka_answers_nobody_its_clients_are_not_to_blame() -> None:
    clock = Time()
    clients = [HeldClient()]
    made = KafkaPublisher(
        lambda: clients.pop(0),  # type: ignore[arg-type, return-value]  # a fake
        heartbeat=Heartbeat(),
        answering_seconds=lambda: 0.0,
        clock=clock,
    )
    try:
        made.send([record(b"1")])
        clock.now = 10_000
        assert made.idle_seconds() == 0
        made.look_after()
    finally:
        await made.close(0.1)


async def test_with_nothing_to_send_there_is_no_silence() -> None:
    clock, waiting = Time(), False
    made = KafkaPublisher(
        lambda: HeldClient(answering=True),  # type: ignore[arg-type, return-value]  # a fake
        heartbeat=Heartbeat(),
        waiting=lambda: waiting,
        answering_seconds=lambda: 10_000,
        clock=clock,
    )
    try:
        clock.now = 1000
        assert made.idle_seconds() == 0
        waiting = True  # a spool that does not empty
        clock.now = 1400
        assert made.idle_seconds() == 400
    finally:
        await made.close(0.1)
