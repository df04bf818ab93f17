"""What is said about the waiting room: how many, since when, until when."""

from __future__ import annotations

import gc
from pathlib import Path

from schemas.records import Incoming
from streams.state.database import shared_cache
from streams.state.ingest import Ingest
from streams.state.store import Store, WaitingRoom
from streams.waiting import release_marker
from tests.unit.streams.builders import NOW, SESSION_CODEC, Clock, Known, as_read, event, joining, raw_record


def take_in(store: Store, *records: Incoming) -> None:
    ingest = Ingest(store, SESSION_CODEC.decode, now=NOW)
    ingest.take(records)
    store.write(ingest.changes, ingest.offsets, now=NOW)


def test_the_waiting_room_counts_an_entry_once_however_many_forget_it(tmp_path: Path) -> None:
    """The worker that releases an entry removes it, and then reads in the topic that it was released."""
    store = Store(tmp_path / "db", shared_cache())
    raw = [raw_record(event(session_id=f"s-{number}"), offset=number) for number in range(3)]
    clock = Clock()
    waiting = [as_read(record, offset, 0) for offset, record in enumerate(joining(clock).run(raw, Known()))]
    clock.now += 5
    waiting += [as_read(joining(clock).run([raw_record(event(ym_uid="1"), offset=3)], Known())[0], 3, 0)]
    take_in(store, *waiting)
    assert store.room() == WaitingRoom(waiting=4, since=NOW, due=NOW + 10_000)
    store.remove([due for due, _ in store.due(NOW + 10_000, 2)])
    assert store.room() == WaitingRoom(waiting=2, since=NOW, due=NOW + 10_000)
    take_in(store, *(as_read(release_marker(of), 4 + of.offset, 0) for of in waiting[:3]))
    assert store.room() == WaitingRoom(waiting=1, since=NOW + 5, due=NOW + 10_005)
    store.flush()
    del store
    gc.collect()  # closes it
    assert Store(tmp_path / "db", shared_cache()).room() == WaitingRoom(waiting=1, since=NOW + 5, due=NOW + 10_005)


def test_a_time_without_its_record_is_not_due_for_ever(tmp_path: Path) -> None:
    """A topic that has lost records gives their offsets anew, and then one record has two times."""
    store = Store(tmp_path / "db", shared_cache())
    clock = Clock()
    (waiting,) = joining(clock).run([raw_record(event(session_id="s-1"), offset=0)], Known())
    clock.now += 5
    (another,) = joining(clock).run([raw_record(event(session_id="s-2"), offset=1)], Known())
    take_in(store, as_read(waiting, 7, 0))
    take_in(store, as_read(another, 7, 0))
    assert len(store.due(NOW + 20_000, 1)) == 1
    store.remove([due for due, _ in store.due(NOW + 20_000, 1)])
    assert store.due(NOW + 20_000, 1) == []
    assert store.room() == WaitingRoom()
