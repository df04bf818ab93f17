"""Waiting events are let go when they are due, in order, and not before their outcome is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from schemas.records import Outgoing
from schemas.topics import WAITING
from streams.releases import Releases
from streams.state.database import shared_cache
from streams.state.ingest import Ingest
from streams.state.store import Store
from tests.unit.streams.builders import (
    NOW,
    RAW_CODEC,
    SESSION_CODEC,
    Clock,
    Known,
    as_read,
    event,
    joining,
    raw_record,
)


class Rooms:
    """One partition whose state may not be ready."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_ready = True
        self.looks = 0

    def ready(self) -> frozenset[int]:
        self.looks += 1
        return frozenset({3}) if self.is_ready else frozenset()

    def stores(self) -> dict[int, Store]:
        return {3: self.store}


class Kafka:
    """Writes what is submitted, or holds it until told."""

    def __init__(self) -> None:
        self.written: list[Outgoing] = []
        self.held: list[tuple[Callable[[], Sequence[Outgoing]], Future[None]]] = []
        self.hold = False

    def submit(self, decide: Callable[[], Sequence[Outgoing]]) -> Future[None]:
        done: Future[None] = Future()
        self.held.append((decide, done))
        if not self.hold:
            self.carry_out()
        return done

    def carry_out(self) -> None:
        for decide, done in self.held:
            self.written += decide()
            done.set_result(None)
        self.held.clear()


def waiting_since(store: Store, *orders: str) -> None:
    raw = [raw_record(event(session_id="s-1", yclid="1", order_id=order)) for order in orders]
    records = [as_read(record, offset) for offset, record in enumerate(joining().run(raw, Known()))]
    ingest = Ingest(store, SESSION_CODEC.decode, now=NOW)
    ingest.take(records)
    store.write(ingest.changes, ingest.offsets, now=NOW)


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    return Rooms(Store(tmp_path / "db", shared_cache()))


def releasing(rooms: Rooms, kafka: Kafka, clock: Clock) -> Releases:
    return Releases(rooms=rooms, join=joining(clock), submit=kafka.submit, clock=clock)


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - what is looked at has no event of its own
            await asyncio.sleep(0.001)


async def test_nothing_is_released_before_it_is_due_nor_forgotten_before_it_is_written(rooms: Rooms) -> None:
    waiting_since(rooms.store, "1", "2")
    kafka, clock = Kafka(), Clock()
    kafka.hold = True
    releases = releasing(rooms, kafka, clock)
    await releases.release(rooms.store)
    assert kafka.held == []
    clock.now = NOW + 10_000
    releasing_now = asyncio.create_task(releases.release(rooms.store))
    await until(lambda: kafka.held)
    assert rooms.store.room().waiting == 2, "a crash now would still find them"
    kafka.carry_out()
    await releasing_now
    assert rooms.store.room().waiting == 0
    again = [record for record in kafka.written if record.topic == WAITING.name and record.value is not None]
    assert len(again) == 2, "the session is still unknown, so both go into the next delay"


async def test_it_sleeps_until_something_is_due_and_wakes_when_something_changes(rooms: Rooms) -> None:
    kafka, clock = Kafka(), Clock()
    releases = releasing(rooms, kafka, clock)
    running = asyncio.create_task(releases.run())
    try:
        await until(lambda: rooms.looks == 1)
        await asyncio.sleep(0.05)
        assert rooms.looks == 1, "nothing waits, so it does not look again"
        waiting_since(rooms.store, "1")
        clock.now = NOW + 10_000
        releases.nudge()
        await until(lambda: kafka.written)
    finally:
        running.cancel()


async def test_a_partition_that_is_not_ours_or_not_caught_up_releases_nothing(rooms: Rooms) -> None:
    waiting_since(rooms.store, "1")
    kafka, clock = Kafka(), Clock()
    clock.now = NOW + 10_000
    rooms.is_ready = False
    releases = releasing(rooms, kafka, clock)
    running = asyncio.create_task(releases.run())
    try:
        await until(lambda: rooms.looks)
        assert kafka.written == []
        rooms.is_ready = True
        releases.nudge()
        await until(lambda: kafka.written)
    finally:
        running.cancel()


async def test_a_failed_delivery_ends_the_releases_and_keeps_the_event(rooms: Rooms) -> None:
    waiting_since(rooms.store, "1")
    clock = Clock()
    clock.now = NOW + 10_000

    def refuse(_: Callable[[], Sequence[Outgoing]]) -> Future[None]:
        failed: Future[None] = Future()
        failed.set_exception(OSError("no broker"))
        return failed

    releases = Releases(rooms=rooms, join=joining(clock), submit=refuse, clock=clock)
    with pytest.raises(OSError, match="no broker"):
        await asyncio.wait_for(releases.run(), 10)
    assert rooms.store.room().waiting == 1


async def test_what_is_due_together_is_released_in_the_order_of_arrival(rooms: Rooms) -> None:
    orders = [str(number) for number in range(450)]
    waiting_since(rooms.store, *orders)
    kafka, clock = Kafka(), Clock()
    clock.now = NOW + 10_000
    await releasing(rooms, kafka, clock).release(rooms.store)
    again = [record.value for record in kafka.written if record.topic == WAITING.name and record.value is not None]
    assert [RAW_CODEC.decode(value).order_id for value in again] == orders
