"""Kafka goes and comes back under the publisher: nothing is lost, and nothing is doubled while the process lives."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from producers import spool_publisher
from producers.publisher import KafkaPublisher, NotAcknowledged
from producers.spool import Spool
from producers.spool_publisher import SpoolPublisher
from producers.spool_writer import SpoolWriter
from runtime.failures import Fatal
from runtime.lifecycle import Heartbeat
from schemas.records import Outgoing
from tests.unit.producers.clients import HeldClient
from tests.unit.producers.parts import until

TIMEOUT_SECONDS = 0.1
PLENTY = 10**8


def record(number: int) -> Outgoing:
    return Outgoing(topic="t", key=b"k", value=f"{number:05d}".encode(), headers=(("h", b"\x00\xff"), ("none", None)))


def values(*numbers: int) -> list[bytes]:
    return [f"{number:05d}".encode() for number in numbers]


class Door:
    """A publisher on a folder, and what became of it."""

    def __init__(self, client: HeldClient, folder: Path, max_bytes: int = PLENTY) -> None:
        self.client = client
        self.failures: list[BaseException] = []
        kafka = KafkaPublisher(lambda: client, heartbeat=Heartbeat())  # type: ignore[arg-type, return-value]  # a fake
        self.spool = SpoolWriter(Spool(folder), max_bytes=max_bytes, clock_ms=lambda: time.time_ns() // 1_000_000)
        self.publisher = SpoolPublisher(
            kafka, self.spool, timeout_seconds=TIMEOUT_SECONDS, on_failure=self.failures.append
        )

    async def publish(self, *numbers: int) -> None:
        await asyncio.gather(*(self.publisher.publish([record(number)]) for number in numbers))

    async def empty(self) -> None:
        await until(lambda: not self.spool.records and not self.publisher.diverting)


@asynccontextmanager
async def door(client: HeldClient, folder: Path, max_bytes: int = PLENTY) -> AsyncIterator[Door]:
    made = Door(client, folder, max_bytes)
    try:
        yield made
    finally:
        await made.publisher.close(1)
    assert made.failures == []


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_publisher, "_PAUSE_SECONDS", 0.05)


async def test_while_kafka_answers_nothing_touches_the_spool(tmp_path: Path) -> None:
    client = HeldClient(answering=True)
    async with door(client, tmp_path) as made:
        await made.publish(*range(200))
        assert (sorted(client.written), made.spool.size) == (values(*range(200)), 0)


async def test_what_was_late_is_safe_and_not_sent_twice_when_kafka_comes_back(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path) as made:
        began = time.monotonic()
        await made.publish(1, 2, 3)
        assert TIMEOUT_SECONDS <= time.monotonic() - began < 1
        assert (made.spool.records, client.holds) == (3, 3)
        client.answer()
        await made.empty()
        assert client.written == values(1, 2, 3)


async def test_once_kafka_is_known_to_be_gone_answers_come_from_the_disk_at_once(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path) as made:
        await made.publish(0)
        began = time.monotonic()
        for number in range(1, 51):
            await made.publish(number)
        assert (time.monotonic() - began) / 50 < TIMEOUT_SECONDS / 2
        # Nothing but the first record waits in the client's memory, however long the outage is.
        assert (made.spool.records, client.holds) == (51, 1)


async def test_the_order_survives_the_outage_and_the_requests_after_it(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path) as made:
        for number in range(5):
            await made.publish(number)
        client.answer()
        for number in range(5, 400):
            await made.publish(number)
        await made.empty()
        for number in range(400, 420):
            await made.publish(number)
        assert client.written == values(*range(420))


async def test_requests_that_never_pause_do_not_keep_the_spool_from_emptying(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path) as made:
        await made.publish(*range(3000))
        client.answer()

        async def one_after_the_other(first: int) -> int:
            number = first
            while made.publisher.diverting:
                await made.publish(number)
                number += 1
            return number - first

        sent = await asyncio.gather(*(one_after_the_other(10_000 * place) for place in range(1, 9)))
        await made.empty()
        assert len(client.written) == len(set(client.written)) == 3000 + sum(sent)


async def test_a_new_process_sends_what_a_dead_one_left(tmp_path: Path) -> None:
    async with door(HeldClient(), tmp_path) as made:
        await made.publish(1, 2)
        await made.publisher.publish([record(3), record(4)])
    client = HeldClient(answering=True)
    async with door(client, tmp_path) as made:
        await made.empty()
        assert client.written == values(1, 2, 3, 4)
    async with door(HeldClient(), tmp_path) as made:
        assert made.spool.records == 0


async def test_records_come_back_from_the_disk_byte_for_byte(tmp_path: Path) -> None:
    written = [record(1), Outgoing(topic="gone", key=b"s:1", value=None), Outgoing(topic="t", key=None, value=b"")]
    spool = Spool(tmp_path)
    spool.write(written, [], now=5)
    found = spool.after(0, records=10, size=PLENTY)
    assert [kept.record for kept in found] == written
    assert [kept.place for kept in found] == [1, 2, 3]
    totals = spool.totals()
    assert (totals.records, totals.size, totals.oldest_at) == (3, sum(kept.size for kept in found), 5)
    spool.close()


async def test_a_full_spool_refuses_and_what_was_accepted_arrives(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path, max_bytes=500) as made:
        answers = await asyncio.gather(
            *(made.publisher.publish([record(number)]) for number in range(20)), return_exceptions=True
        )
        accepted = [number for number, answer in enumerate(answers) if answer is None]
        assert 1 <= len(accepted) < 20
        assert all(isinstance(answer, NotAcknowledged) for answer in answers if answer is not None)
        client.answer()
        await made.empty()
        assert set(values(*accepted)) <= set(client.written)
        await made.publish(50)
        assert client.written[-1:] == values(50)


async def test_a_refused_record_is_kept_and_tried_again_and_holds_up_nobody(tmp_path: Path) -> None:
    client = HeldClient(answering=True)
    client.refusing = set(values(2))
    async with door(client, tmp_path) as made:
        await made.publish(1, 2, 3)
        await until(lambda: not made.publisher.diverting)
        await made.publish(4)
        assert (sorted(client.written), made.spool.records) == (values(1, 3, 4), 1)
        client.refusing = set()
        await made.empty()
        assert sorted(client.written) == values(1, 2, 3, 4)


async def test_a_full_queue_to_kafka_is_no_reason_to_refuse(tmp_path: Path) -> None:
    client = HeldClient()
    client.limit = 3
    async with door(client, tmp_path) as made:
        await made.publish(*range(10))
        assert (made.spool.records, client.holds) == (10, 3)
        client.limit = PLENTY
        client.answer()
        await made.empty()
        assert sorted(client.written) == values(*range(10))


async def test_a_disk_that_fails_is_a_503_and_not_an_accepted_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, **_named: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    client = HeldClient()
    async with door(client, tmp_path) as made:
        monkeypatch.setattr(Spool, "write", full)
        with pytest.raises(NotAcknowledged, match="cannot be written"):
            await made.publish(1)
        assert made.spool.records == 0
        monkeypatch.undo()


async def test_on_a_full_disk_nothing_is_sent_twice_and_it_is_begun_anew_when_all_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, **_named: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("producers.spool_writer._PAUSE_SECONDS", 0.05)
    client = HeldClient()
    async with door(client, tmp_path) as made:
        await made.publish(1, 2, 3)
        monkeypatch.setattr(Spool, "write", full)
        client.answer()
        await made.empty()
        assert (made.spool.records, made.spool.full) == (0, True)
        await until(lambda: not made.spool.full)
        monkeypatch.undo()
        assert client.written == values(1, 2, 3)
    assert Spool(tmp_path).totals().records == 0


def _put_aside(folder: Path) -> bytes:
    (aside,) = folder.glob("spool.sqlite.damaged-*")
    return aside.read_bytes()


def _overwrite(file: bytes) -> bytes:
    return file[:-20_000] + b"\xa5" * 12_000 + file[-8_000:]


@pytest.mark.parametrize("damage", [lambda _: b"no database", lambda file: file[: len(file) // 2], _overwrite])
async def test_a_damaged_spool_is_put_aside_and_what_can_be_read_of_it_is_sent(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    spool = Spool(tmp_path)
    spool.write([record(number) for number in range(3000)], [], now=0)
    spool.close()
    file = tmp_path / "spool.sqlite"
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    client = HeldClient(answering=True)
    async with door(client, tmp_path) as made:
        await made.empty()
        await made.publish(9999)
    assert client.written[-1:] == values(9999)
    assert set(client.written) <= {*values(*range(3000)), *values(9999)}
    assert client.written == sorted(client.written)
    assert (len(client.written) > 1000) == damaged.startswith(b"SQLite")
    assert _put_aside(tmp_path).startswith(damaged)


async def test_an_offer_is_dropped_while_kafka_is_gone(tmp_path: Path) -> None:
    client = HeldClient()
    async with door(client, tmp_path) as made:
        made.publisher.offer(record(1))
        await made.publish(2)
        made.publisher.offer(record(3))
        assert (client.holds, made.spool.records) == (2, 1)


def test_two_processes_do_not_share_a_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.spool._LOCK_SECONDS", 0.05)
    first = Spool(tmp_path)
    with pytest.raises(Fatal, match="GOALPOST_SPOOL_DIR"):
        Spool(tmp_path)
    first.close()
    Spool(tmp_path).close()
