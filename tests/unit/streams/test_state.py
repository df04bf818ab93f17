"""What the state remembers, over restarts, in any order, and what it refuses."""

from __future__ import annotations

import gc
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Undecodable
from schemas.events import Session
from schemas.records import Incoming
from schemas.topics import RAW, SESSIONS, WAITING
from streams.sessions import pack, unpack
from streams.state.database import Damaged, shared_cache
from streams.state.folder import Identity, StateRefused, claim
from streams.state.ingest import Ingest
from streams.state.keys import overtaken_key
from streams.state.store import Changes, Store
from streams.waiting import first_ticket, release_marker, waiting_record
from tests.unit.streams.builders import NOW, SESSION_CODEC, session


def in_topic(key: bytes | None, of: Session | bytes | None, offset: int) -> Incoming:
    value = SESSION_CODEC.encode(of) if isinstance(of, Session) else of
    return Incoming(topic=SESSIONS.name, partition=0, offset=offset, timestamp=NOW, key=key, value=value)


def take_in(store: Store, *records: Incoming) -> Ingest:
    ingest = Ingest(store, SESSION_CODEC.decode, now=NOW)
    ingest.take(records)
    store.write(ingest.changes, ingest.offsets, now=NOW)
    return ingest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partition-0"


def opened(path: Path) -> Store:
    gc.collect()
    return Store(path, shared_cache())


def test_a_session_is_found_under_its_key_with_all_that_the_join_needs(path: Path) -> None:
    store = opened(path)
    of = session("s-1", ym_uid="100", yclid="9", user_id="me", analytics_data='{"long": "json"}')
    take_in(store, in_topic(b"s:s-1", of, 0), in_topic(b"u:100", of, 1))
    by_session, unknown, by_visitor = store.sessions([b"s:s-1", b"s:s-2", b"u:100"])
    assert by_session == by_visitor == unpack(pack(of))
    assert by_session is not None
    assert (by_session.row_id, by_session.last_visit_at, by_session.analytics_data) == (
        of.row_id,
        of.last_visit_at,
        None,
    )
    assert unknown is None


def test_a_restart_goes_on_where_the_state_stopped(path: Path) -> None:
    store = opened(path)
    take_in(store, in_topic(b"s:s-1", session("s-1"), 41))
    store.flush()
    del store
    again = opened(path)
    assert again.next_offset(SESSIONS.name) == 42
    assert again.next_offset(WAITING.name) is None
    assert again.followed_at() == NOW
    assert again.sessions([b"s:s-1"]) != [None]


def test_what_a_crash_loses_it_loses_together_with_its_offset(path: Path) -> None:
    """The topic is the log, so losing both is fine, and losing only one would not be."""
    store = opened(path)
    take_in(store, in_topic(b"s:s-1", session("s-1"), 0))
    store.flush()
    take_in(store, in_topic(b"s:s-2", session("s-2"), 1))
    left_behind = path.with_name("as-a-kill-leaves-it")
    shutil.copytree(path, left_behind, ignore=shutil.ignore_patterns("LOCK"))
    again = opened(left_behind)
    assert again.next_offset(SESSIONS.name) == 1
    assert [found is None for found in again.sessions([b"s:s-1", b"s:s-2"])] == [False, True]


def test_a_tombstone_deletes(path: Path) -> None:
    store = opened(path)
    take_in(store, in_topic(b"s:s-1", session("s-1"), 0), in_topic(b"u:100", session("s-1"), 1))
    take_in(store, in_topic(b"s:s-1", None, 2), in_topic(b"u:100", None, 3))
    assert store.sessions([b"s:s-1", b"u:100"]) == [None, None]


def test_an_older_session_never_displaces_a_newer_one_of_the_same_visitor(path: Path) -> None:
    store = opened(path)
    newer, older = session("new", session_at=NOW), session("old", session_at=NOW - 1)
    take_in(store, in_topic(b"u:100", newer, 0))
    ingest = take_in(store, in_topic(b"u:100", older, 1))
    assert store.sessions([b"u:100"]) == [unpack(pack(newer))]
    assert ingest.overtaken
    assert store.overtaken() == [b"u:100"], "the newer one has to be put back behind it"


def test_the_newer_session_that_follows_in_the_topic_settles_the_debt(path: Path) -> None:
    store = opened(path)
    newer, older = session("new", session_at=NOW), session("old", session_at=NOW - 1)
    take_in(store, in_topic(b"u:100", newer, 0), in_topic(b"u:100", older, 1), in_topic(b"u:100", newer, 2))
    assert store.overtaken() == []
    assert store.sessions([b"u:100"]) == [unpack(pack(newer))]


def test_under_its_own_key_the_last_record_of_a_session_stands(path: Path) -> None:
    """As in the compacted topic: a state that was rebuilt and one that followed must be equal."""
    store = opened(path)
    take_in(store, in_topic(b"s:s-1", session(last_visit_at=NOW), 0), in_topic(b"s:s-1", session(last_visit_at=5), 1))
    found = store.sessions([b"s:s-1"])[0]
    assert found is not None
    assert found.last_visit_at == 5


@pytest.mark.parametrize(
    ("key", "value", "error_class"),
    [
        (b"s:s-1", b"not avro", b"undecodable"),
        (b"s:s-1", b"\x00\x00\x00\x00\x07\x02", b"undecodable"),
        (b"w\x00\x00\x00\x00\x00\x00\x00\x01", SESSION_CODEC.encode(session()), b"undecodable"),
        (None, SESSION_CODEC.encode(session()), b"undecodable"),
    ],
)
def test_a_poisonous_record_becomes_a_dead_letter_and_is_passed(
    path: Path, key: bytes | None, value: bytes, error_class: bytes
) -> None:
    store = opened(path)
    ingest = take_in(store, in_topic(key, value, 5), in_topic(b"s:s-2", session("s-2"), 6))
    (letter,) = ingest.letters
    assert (letter.topic, letter.key, letter.value) == (SESSIONS.dead_letters, key, value)
    assert ("dlq.error.class", error_class) in letter.headers
    assert store.next_offset(SESSIONS.name) == 7
    assert store.sessions([b"s:s-2"]) != [None]


def test_a_registry_that_is_down_is_no_reason_to_refuse_anything(path: Path) -> None:
    class Down(Exception):
        """As a Transient is."""

    def decode(_: bytes | None) -> Session:
        raise Down

    with pytest.raises(Down):
        Ingest(opened(path), decode, now=NOW).take([in_topic(b"s:s-1", b"x", 0)])


class Memory(dict[bytes, bytes]):
    """A store without RocksDB."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def apply(self, changes: Changes) -> None:
        for key, value in changes.items():
            if value is None:
                self.pop(key, None)
            else:
                self[key] = value


visits = st.lists(
    st.builds(
        session,
        session_id=st.sampled_from(["a", "b", "c"]),
        session_at=st.integers(0, 3),
        last_visit_at=st.integers(0, 3),
    ),
    max_size=8,
)


@given(visits, st.randoms(use_true_random=False), st.integers(1, 8))
def test_the_visitors_last_session_does_not_depend_on_the_order_of_arrival_nor_on_repeats(
    arriving: list[Session], shuffle: random.Random, size: int
) -> None:
    once, otherwise = Memory(), Memory()
    other_order = arriving + arriving[:3]
    shuffle.shuffle(other_order)
    for memory, order in ((once, arriving), (otherwise, other_order)):
        records = [in_topic(b"u:1", each, offset) for offset, each in enumerate(order)]
        for start in range(0, len(records), size):
            ingest = Ingest(memory, SESSION_CODEC.decode, now=NOW)
            ingest.take(records[start : start + size])
            memory.apply(ingest.changes)
    assert once.get(b"u:1") == otherwise.get(b"u:1")
    if arriving:
        latest = unpack(once[b"u:1"])
        assert latest.session_at == max(each.session_at for each in arriving)
        for memory, order in ((once, arriving), (otherwise, other_order)):
            last_in_topic = unpack(pack(order[-1]))
            assert (overtaken_key(b"u:1") in memory) == (last_in_topic != latest)


IDENTITY = Identity(partitions=8, topic_ids={SESSIONS.name: "one", WAITING.name: "two"})


def test_a_restarted_worker_finds_its_state_and_a_second_worker_gets_its_own(tmp_path: Path) -> None:
    first = claim(tmp_path, IDENTITY)
    second = claim(tmp_path, IDENTITY)
    assert first.path != second.path
    first.release()
    again = claim(tmp_path, IDENTITY)
    assert again.path == first.path
    again.release()
    second.release()


@pytest.mark.parametrize(
    ("found", "problem"),
    [({"partitions": 4}, "built from 4 partitions, the topics have 8"), ({"version": 0}, "has version 0")],
)
def test_a_state_of_another_shape_is_refused_with_the_remedy(
    tmp_path: Path, found: dict[str, int], problem: str
) -> None:
    folder = claim(tmp_path, IDENTITY)
    named = folder.path / "identity.json"
    named.write_text(json.dumps({**json.loads(named.read_text()), **found}))
    folder.release()
    with pytest.raises(StateRefused, match=problem) as refused:
        claim(tmp_path, IDENTITY)
    assert "Delete this folder" in str(refused.value)


def test_a_state_of_topics_that_are_no_more_is_built_anew(tmp_path: Path) -> None:
    folder = claim(tmp_path, IDENTITY)
    folder.partition(0).mkdir()
    folder.release()
    again = claim(tmp_path, Identity(partitions=8, topic_ids={SESSIONS.name: "other", WAITING.name: "two"}))
    assert not again.partition(0).exists()
    again.release()


@pytest.mark.parametrize("left", ["", '{"version": 2, "part', "[]"], ids=["empty", "half", "something-else"])
def test_a_state_that_a_crash_left_without_a_readable_identity_is_built_anew(tmp_path: Path, left: str) -> None:
    """A full disk, or a kill in the middle of a write, must not need a person."""
    folder = claim(tmp_path, IDENTITY)
    folder.partition(0).mkdir()
    (folder.path / "identity.json").write_text(left)
    folder.release()
    again = claim(tmp_path, IDENTITY)
    assert not again.partition(0).exists()
    again.release()
    claim(tmp_path, IDENTITY).release()


def _truncated(pattern: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        for file in path.glob(pattern):
            file.write_bytes(file.read_bytes()[:20])

    return harm


def _without(pattern: str) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        for file in path.glob(pattern):
            file.unlink()

    return harm


def _one_bad_block(path: Path) -> None:
    for file in path.glob("*.sst"):
        content = bytearray(file.read_bytes())
        content[100:120] = bytes(20 * [255])
        file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [_truncated("*.sst"), _without("*.sst"), _truncated("MANIFEST*"), _without("MANIFEST*"), _without("CURRENT")],
    ids=["half-written-table", "lost-table", "half-written-manifest", "lost-manifest", "lost-current"],
)
def test_a_database_that_was_left_half_written_says_that_it_is_damaged(
    path: Path, harm: Callable[[Path], None]
) -> None:
    store = opened(path)
    store.write({b"s:1": b"x"}, {SESSIONS.name: 1}, now=NOW)
    store.flush()
    del store
    harm(path)
    with pytest.raises(Damaged):
        opened(path)


def test_a_bad_block_that_is_found_later_ends_the_process_and_the_next_one_rebuilds(path: Path) -> None:
    store = opened(path)
    store.write({f"s:{number}".encode(): bytes(90) for number in range(2000)}, {SESSIONS.name: 1}, now=NOW)
    store.flush()
    del store
    _one_bad_block(path)
    with pytest.raises(Damaged):
        opened(path).read([f"s:{number}".encode() for number in range(2000)])
    with pytest.raises(Damaged):
        opened(path)


def test_undecodable_reasons_do_not_quote_the_record(path: Path) -> None:
    with pytest.raises(Undecodable) as error:
        SESSION_CODEC.decode(b"secret")
    assert "secret" not in str(error.value)


def test_nobody_but_an_event_itself_ends_its_wait(path: Path) -> None:
    """A record that names the place of another's waiting record would lose that one's event."""
    store = opened(path)
    raw = Incoming(topic=RAW.name, partition=0, offset=1, timestamp=NOW, key=b"s:1", value=b"v")
    put = waiting_record(raw, first_ticket(raw, now=NOW, due=NOW + 1))
    waiting = Incoming(
        topic=WAITING.name, partition=0, offset=5, timestamp=NOW, key=put.key, value=put.value, headers=put.headers
    )
    take_in(store, waiting)
    for key in (b"s:2", None, b""):
        take_in(store, replace(waiting, offset=6, key=key, value=None, headers=(("waiting.released", b"5"),)))
        assert store.room().waiting == 1

    marker = release_marker(waiting)
    take_in(store, replace(waiting, offset=7, key=marker.key, value=None, headers=marker.headers))

    assert store.room().waiting == 0
