"""A silent client is closed and made anew, by the one way that all readers have."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from confluent_kafka import Consumer
from prometheus_client import REGISTRY

from runtime.attention import RENEW_AFTER_SECONDS, Attention, Sighting
from runtime.reading import Reading
from tests.unit.runtime.messages import Client, Message, end

PLACE = ("t", 0)


class World:
    """A topic with ``records``, and a reader whose clients are made by the test."""

    def __init__(self, *clients: Client, group: str | None = None) -> None:
        self.now = 0.0
        self.records = 0
        self.clients = list(clients)
        self.begun: list[Client] = []
        self.members: dict[str, frozenset[tuple[str, int]]] | None = None
        self.attention = Attention(self._sighting, group=group, clock=lambda: self.now)
        self.reading = Reading(
            lambda: cast(Consumer, self.clients.pop(0)),
            self._begin,
            attention=self.attention,
            name="test",
            clock=lambda: self.now,
        )

    def _sighting(self) -> Sighting:
        return Sighting(at=self.now, ends={PLACE: self.records}, members=self.members)

    def _begin(self, client: Consumer) -> None:
        self.begun.append(cast(Any, client))
        self.attention.owns([PLACE])

    def poll_for(self, seconds: float) -> list[Message]:
        found: list[Any] = []
        until = self.now + seconds
        while self.now < until:
            self.now += 1
            message = self.reading.poll(1.0)
            found += [] if message is None else [message]
        return found


def closed(client: Client) -> bool:
    """It is closed on a thread of its own, since a silent broker would keep whoever waits for that."""
    deadline = time.monotonic() + 10
    while not client.closed and time.monotonic() < deadline:
        time.sleep(0.001)
    return client.closed


def test_a_client_that_never_answers_is_replaced_and_the_next_one_reads_on() -> None:
    silent, good = Client(), Client(Message(0), Message(1), end(2))
    world = World(silent, good)
    world.records = 2
    before = REGISTRY.get_sample_value("pipeline_clients_renewed_total", {"client": "test"}) or 0.0
    assert world.poll_for(RENEW_AFTER_SECONDS) == []
    assert world.begun == [silent]
    assert len(world.poll_for(6)) == 3
    assert world.begun == [silent, good]
    assert closed(silent)
    assert REGISTRY.get_sample_value("pipeline_clients_renewed_total", {"client": "test"}) == before + 1
    world.poll_for(1000)
    assert world.begun == [silent, good], "who has everything is left alone"


def test_a_client_that_is_at_the_end_is_left_alone_until_there_is_more() -> None:
    first, second = Client(end(0)), Client(Message(0), end(1))
    world = World(first, second)
    world.poll_for(500)
    assert world.begun == [first]
    world.records = 1
    world.poll_for(RENEW_AFTER_SECONDS + 4)
    assert world.begun == [first, second]


def test_a_member_that_kafka_does_not_know_joins_anew() -> None:
    lost, joined = Client(end(0)), Client(end(0))
    world = World(lost, joined, group="g")
    world.members = {joined.memberid(): frozenset({PLACE})}
    world.poll_for(RENEW_AFTER_SECONDS + 3)
    assert world.begun == [lost, joined]
    world.poll_for(500)
    assert world.begun == [lost, joined]


def test_an_owner_that_was_busy_has_not_asked_so_its_client_is_not_to_blame() -> None:
    client = Client()
    world = World(client)
    world.records = 5
    for _ in range(20):
        world.poll_for(1)
        world.now += RENEW_AFTER_SECONDS * 3
    assert world.begun == [client]


def test_what_an_old_client_calls_back_with_is_known() -> None:
    old, new = Client(), Client()
    world = World(old, new)
    assert world.reading.client is cast(Any, old)
    assert world.reading.is_current(cast(Any, old))
    world.reading.renew()
    assert not world.reading.is_current(cast(Any, old))
    assert world.reading.is_current(cast(Any, new))


def test_a_client_that_cannot_even_begin_is_let_go_and_tried_again_with_another() -> None:
    bad, good = Client(), Client()
    made = [bad, good]

    def begin(client: Consumer) -> None:
        if client is cast(Any, bad):
            raise ConnectionError

    reading = Reading(lambda: cast(Consumer, made.pop(0)), begin, attention=Attention(), name="test")
    with pytest.raises(ConnectionError):
        reading.poll(0.1)
    assert not reading.connected
    assert closed(bad)
    assert reading.poll(0.1) is None
    assert reading.is_current(cast(Any, good))
