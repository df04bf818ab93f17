"""A session that comes while an event waits for it is noticed at once, and takes nothing from what it does not help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from schemas.events import RawEvent, Session
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming, Outgoing
from schemas.topics import CONVERSIONS, SESSIONS, WAITING
from streams.join import Join
from streams.releases import Releases
from streams.state import store as store_module
from streams.state.database import shared_cache
from streams.state.ingest import Ingest
from streams.state.store import Store, WaitingRoom
from streams.waiting import release_marker
from tests.unit.streams.builders import (
    NOW,
    SESSION_CODEC,
    Clock,
    Known,
    as_read,
    conversion_in,
    event,
    joining,
    raw_record,
    session,
    webhook,
)


class Partition:
    """One partition's store, with a join that writes nowhere but here."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.join: Join = joining(self.clock)
        self.written: list[Outgoing] = []
        self._offset = 0

    def ready(self) -> frozenset[int]:
        return frozenset({3})

    def stores(self) -> dict[int, Store]:
        return {3: self.store}

    def submit(self, decide: Callable[[], Sequence[Outgoing]]) -> Future[None]:
        self.written += decide()
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def wait(self, *events: RawEvent) -> list[Incoming]:
        """Let events wait; returns their records."""
        raw = [raw_record(of, offset=number) for number, of in enumerate(events)]
        records = [record for record in self.join.run(raw, Known()) if record.topic == WAITING.name]
        return [self.take_in(record) for record in records]

    def take_in(self, record: Outgoing) -> Incoming:
        read = as_read(record, self._offset)
        self._offset += 1
        ingest = Ingest(self.store, SESSION_CODEC.decode, now=NOW)
        ingest.take([read])
        self.store.write(ingest.changes, ingest.offsets, now=NOW)
        self.said = self.store.sessions_came(ingest.arrived)
        return read

    def visit(self, of: Session, key: bytes) -> None:
        self.take_in(Outgoing(topic=SESSIONS.name, key=key, value=SESSION_CODEC.encode(of)))

    async def release(self) -> None:
        releases = Releases(rooms=self, join=self.join, submit=self.submit, clock=self.clock)
        await releases.release_arrived(self.store)

    def converted(self) -> list[str | None]:
        return [conversion_in(record).order_id for record in self.written if record.topic == CONVERSIONS.name]


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    return Partition(Store(tmp_path / "db", shared_cache()))


@pytest.mark.parametrize("key", [session_key("s-1"), session_key("s-1\x00"), session_key("я"), visitor_key("7")])
async def test_what_waits_for_a_session_is_released_when_it_comes(partition: Partition, key: bytes) -> None:
    name = key[2:].decode()
    ids = {"ym_uid": name} if key.startswith(b"u:") else {"session_id": name}
    partition.wait(event(order_id="1", **ids), event(order_id="2", session_id="another"), event(order_id="3", **ids))
    partition.visit(session(name), key)
    assert partition.said
    await partition.release()
    assert partition.converted() == ["1", "3"]
    assert partition.store.room().waiting == 1
    await partition.release()
    assert partition.converted() == ["1", "3"]


async def test_a_session_whose_name_begins_like_another_releases_only_its_own(partition: Partition) -> None:
    names = ["1", "10", "100", "", "1\x00\x00\x00\x00\x00\x00\x00\x00"]
    partition.wait(*(event(session_id=name, order_id=name) for name in names[:3]))
    partition.visit(session("1"), session_key("1"))
    await partition.release()
    assert partition.converted() == ["1"]


async def test_any_key_of_a_session_is_looked_up(partition: Partition) -> None:
    """Whoever may write the topic may write any bytes behind s:."""
    partition.wait(event(session_id="s-1", order_id="1"))
    for key in (b"s:\xff", b"s:\xff\xff", b"s:", b"u:\xff\x00"):
        partition.visit(session("x"), key)
        assert not partition.said
    await partition.release()
    assert partition.written == []


async def test_a_session_does_not_help_an_event_of_an_unknown_webhook_nor_take_its_delays(partition: Partition) -> None:
    partition.join = joining(partition.clock, hook=webhook(webhook_id="another"))
    partition.wait(event(session_id="s-1"))
    before = partition.store.room()
    for _ in range(5):
        partition.visit(session("s-1"), session_key("s-1"))
        await partition.release()
    assert partition.written == []
    assert partition.store.room() == before
    partition.join = joining(partition.clock)
    partition.visit(session("s-1"), session_key("s-1"))
    await partition.release()
    assert len(partition.converted()) == 1


async def test_nothing_is_looked_for_where_nothing_waits(partition: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition.store, "_scan", None)
    partition.visit(session("s-1"), session_key("s-1"))
    assert not partition.said


@pytest.mark.parametrize("how", ["due", "arrived", "marker"])
async def test_what_has_left_the_room_is_looked_for_no_longer(partition: Partition, how: str) -> None:
    (waiting,) = partition.wait(event(session_id="s-1"))
    if how == "due":
        partition.store.remove([key for key, _ in partition.store.due(NOW + 10_000, 9)])
    elif how == "arrived":
        partition.visit(session("s-1"), session_key("s-1"))
        await partition.release()
    else:
        partition.take_in(release_marker(waiting))
    assert partition.store.room() == WaitingRoom()
    partition.wait(event(session_id="s-2"))
    partition.visit(session("s-1"), session_key("s-1"))
    assert not partition.said


async def test_of_very_many_that_wait_for_one_session_the_rest_is_released_when_it_is_due(
    partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MOST_ARRIVED", 70)
    partition.wait(*(event(session_id="s-1", order_id=str(number)) for number in range(100)))
    partition.visit(session("s-1"), session_key("s-1"))
    await partition.release()
    assert len(partition.converted()) == 70
    assert partition.store.room().waiting == 30
