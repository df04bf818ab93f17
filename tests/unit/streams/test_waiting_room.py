"""What waits, until when, and what becomes of it: the join and a real store, with the waiting topic in between."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import RawEvent
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, WAITING
from streams.join import Join
from streams.state import entries
from streams.state.database import shared_cache
from streams.state.ingest import Ingest
from streams.state.store import Store, WaitingRoom
from tests.unit.streams.builders import (
    NOW,
    PATIENT,
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


class Room:
    """A waiting room: a real store, fed with what the join wrote."""

    def __init__(self, path: Path, join: Join, clock: Clock) -> None:
        self.store = Store(path, shared_cache())
        self.join = join
        self.clock = clock
        self.offset = 0
        self.elsewhere: list[Outgoing] = []

    def deliver(self, records: Sequence[Outgoing]) -> None:
        """What goes to the waiting topic comes back to the store; the rest is kept in ``elsewhere``."""
        for record in records:
            if record.topic != WAITING.name:
                self.elsewhere.append(record)
                continue
            ingest = Ingest(self.store, SESSION_CODEC.decode, now=NOW)
            ingest.take([as_read(record, self.offset)])
            self.store.write(ingest.changes, ingest.offsets, now=NOW)
            self.offset += 1

    def release(self, known: Known) -> None:
        """Release what is due now."""
        found = self.store.due(self.clock(), 100)
        self.deliver(self.join.due([entries.unpack(packed) for _, packed in found], known))

    def run_out(self, known: Known) -> None:
        """Let time pass until nothing waits."""
        while (due := self.store.earliest_due()) is not None:
            self.clock.now = max(self.clock.now, due)
            self.release(known)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    clock = Clock()
    return Room(tmp_path / "db", joining(clock), clock)


def test_an_event_waits_untouched_and_is_resolved_when_its_session_is_there(room: Room) -> None:
    raw = raw_record(event(session_id="s-1"), offset=9)
    room.deliver(room.join.run([raw], Known()))
    waiting = entries.unpack(room.store.due(NOW + 10_000, 1)[0][1])
    assert (waiting.key, waiting.value, waiting.partition) == (raw.key, raw.value, raw.partition)
    room.clock.now = NOW + 9_999
    room.release(Known({b"s:s-1": session("s-1")}))
    assert room.elsewhere == [], "it is not due yet"
    room.clock.now = NOW + 10_000
    room.release(Known({b"s:s-1": session("s-1")}))
    result = conversion_in(room.elsewhere[0])
    assert (result.row_id, result.attempts, result.raw_offset) == ("row-of-s-1", 1, 9)
    assert room.store.earliest_due() is None


def test_a_session_that_never_comes_ends_as_a_replayable_letter_of_the_raw_record(room: Room) -> None:
    raw = raw_record(event(session_id="s-1"), offset=9)
    room.deliver(room.join.run([raw], Known()))
    room.run_out(Known())
    (letter,) = room.elsewhere
    assert (letter.topic, letter.key, letter.value) == (RAW.dead_letters, raw.key, raw.value)
    assert header(letter.headers, "dlq.error.class") == "session_not_found"
    assert (header(letter.headers, "dlq.original.topic"), header(letter.headers, "dlq.original.offset")) == (
        RAW.name,
        "9",
    )
    assert header(letter.headers, "dlq.attempts") == "3"
    assert letter.headers[:2] == raw.headers
    assert not [name for name, _ in letter.headers if name.startswith("waiting.")]
    assert room.clock.now == NOW + 310_000


def patiently(**ids: str) -> RawEvent:
    """An event of the webhook that waits for its sessions through all delays."""
    return event(webhook_id=PATIENT, **ids)


def test_an_unknown_session_is_asked_for_once_more_where_its_visitor_is_known(room: Room) -> None:
    of = patiently(session_id="s-1", ym_uid="100")
    room.deliver(room.join.run([raw_record(of, offset=9)], Known()))
    room.run_out(Known())
    (rekeyed,) = room.elsewhere
    assert (rekeyed.topic, rekeyed.key) == (RAW.name, visitor_key("100"))
    there = as_read(rekeyed, offset=77, partition=5)
    (record,) = room.join.run([there], Known({visitor_key("100"): session("s-9", ym_uid="100")}))
    result = conversion_in(record)
    assert (result.session_id, result.attempts, result.raw_partition, result.raw_offset) == ("s-9", 2, 3, 9)
    (record,) = room.join.run([there], Known())
    assert conversion_in(record).session_missing, "waiting is over: nothing waits twice"


def test_a_rekeyed_event_that_is_refused_becomes_the_letter_of_what_was_sent_first(room: Room) -> None:
    of = patiently(session_id="s-1", ym_uid="100")
    raw = raw_record(of, offset=9)
    room.deliver(room.join.run([raw], Known()))
    room.run_out(Known())
    forgetful = joining(hook=webhook(webhook_id="another"), patient="yet another")
    (letter,) = forgetful.run([as_read(room.elsewhere[0], offset=77, partition=5)], Known())
    assert (letter.key, letter.value) == (raw.key, raw.value)
    assert header(letter.headers, "dlq.original.offset") == "9"
    assert not [name for name, _ in letter.headers if name.startswith("waiting.")]


@pytest.mark.parametrize(
    "ids",
    [
        {"ym_uid": "100"},
        {"session_id": "s-1", "ym_uid": "100"},
        {"session_id": "s-1", "yclid": "9"},
        {"session_id": "s-1", "user_id": "me"},
        {"session_id": "s-1", "purchase_id": "p"},
        {"session_id": "s-1", "email_md5": "3c56ff8fef0f6c65b36b2d25720fe276"},
    ],
)
def test_what_metrika_can_place_goes_ahead_after_the_short_delays_and_its_session_follows(
    room: Room, ids: dict[str, str]
) -> None:
    raw = raw_record(event(**ids), offset=9)
    room.deliver(room.join.run([raw], Known()))
    room.clock.now = NOW + 10_000
    room.release(Known())
    ahead = conversion_in(room.elsewhere.pop())
    assert (ahead.session_missing, ahead.row_id, ahead.attempts) == (True, None, 1)
    (waiting,) = (entries.unpack(packed) for _, packed in room.store.due(NOW * 2, 9))
    assert (waiting.value, waiting.headers[:2]) == (raw.value, raw.headers)
    room.clock.now = NOW + 310_000
    room.release(Known({raw.key or b"": session("s-1", ym_uid="100")}))
    late = conversion_in(room.elsewhere.pop())
    assert (late.event_id, late.session_missing, late.row_id) == (ahead.event_id, False, "row-of-s-1")
    assert (late.attempts, late.raw_partition, late.raw_offset) == (2, 3, 9)
    assert (room.elsewhere, room.store.room()) == ([], WaitingRoom())


def test_a_session_alone_waits_through_all_delays_and_nothing_goes_ahead(room: Room) -> None:
    room.deliver(room.join.run([raw_record(event(session_id="s-1"))], Known()))
    room.clock.now = NOW + 10_000
    room.release(Known())
    assert room.elsewhere == []


def test_a_webhook_that_waits_long_sends_nothing_ahead(room: Room) -> None:
    room.deliver(room.join.run([raw_record(patiently(ym_uid="100"))], Known()))
    room.clock.now = NOW + 10_000
    room.release(Known())
    assert room.elsewhere == []
    room.run_out(Known())
    assert conversion_in(room.elsewhere[0]).session_missing


def test_what_went_ahead_leaves_the_room_without_a_word_when_its_session_never_comes(room: Room) -> None:
    room.deliver(room.join.run([raw_record(event(ym_uid="100"))], Known()))
    room.run_out(Known())
    (ahead,) = room.elsewhere
    assert conversion_in(ahead).session_missing
    assert room.store.room() == WaitingRoom()


def test_what_went_ahead_under_an_unknown_session_gets_its_visitors_last_one_in_the_end(room: Room) -> None:
    of = event(session_id="s-1", ym_uid="100")
    room.deliver(room.join.run([raw_record(of, offset=9)], Known()))
    room.run_out(Known())
    ahead, rekeyed = room.elsewhere
    assert conversion_in(ahead).session_missing
    there = as_read(rekeyed, offset=77, partition=5)
    (late,) = room.join.run([there], Known({visitor_key("100"): session("s-9", ym_uid="100")}))
    assert (conversion_in(late).row_id, conversion_in(late).raw_offset) == ("row-of-s-9", 9)
    assert room.join.run([there], Known()) == [], "it was converted already"


def test_what_went_ahead_is_never_refused_afterwards(room: Room) -> None:
    """It is stored, and perhaps uploaded: a letter would say that it is not."""
    room.deliver(room.join.run([raw_record(event(ym_uid="100"))], Known()))
    room.clock.now = NOW + 10_000
    room.release(Known())
    room.join = joining(room.clock, hook=webhook(webhook_id="another"))
    room.run_out(Known())
    (ahead,) = room.elsewhere
    assert ahead.topic == CONVERSIONS.name
    assert room.store.room() == WaitingRoom()


def test_a_conversion_that_goes_ahead_but_fits_no_topic_is_refused_once(room: Room) -> None:
    of = event(ym_uid="100", payload='{"text": "' + "x" * 3_200_000 + '"}')
    room.deliver(room.join.run([raw_record(of)], Known()))
    room.run_out(Known())
    (letter,) = room.elsewhere
    assert header(letter.headers, "dlq.error.class") == "event_invalid"


def test_the_waiting_room_is_the_same_after_a_restart_and_on_another_worker(room: Room, tmp_path: Path) -> None:
    """The topic alone is the log: replaying it anywhere leads to what waits now."""
    known = Known({session_key("s-0"): session("s-0")})
    raw = [raw_record(event(session_id=f"s-{number}"), offset=number) for number in range(5)]
    first_delays = in_waiting_topic(room.join.run(raw, Known()))
    log = first_delays + in_waiting_topic(room.join.due(first_delays[:2], known), begin=5)
    other = Store(tmp_path / "other", shared_cache())
    for store, size in ((room.store, 1), (other, len(log))):
        for start in range(0, len(log), size):
            ingest = Ingest(store, SESSION_CODEC.decode, now=NOW)
            ingest.take(log[start : start + size])
            store.write(ingest.changes, ingest.offsets, now=NOW)
    assert room.store.due(NOW * 2, 100) == other.due(NOW * 2, 100)
    # One was resolved, one waits for the second time, three wait for the first.
    assert other.room() == room.store.room() == WaitingRoom(waiting=4, since=NOW, due=NOW + 10_000)


def in_waiting_topic(written: Sequence[Outgoing], *, begin: int = 0) -> list[Incoming]:
    waiting = [record for record in written if record.topic == WAITING.name]
    return [as_read(record, offset=begin + number) for number, record in enumerate(waiting)]


def test_events_are_released_in_the_order_in_which_they_came(room: Room) -> None:
    order = [event(session_id="s-1", order_id=str(number)) for number in range(20)]
    room.deliver(room.join.run([raw_record(of, offset=n) for n, of in enumerate(order)], Known()))
    room.clock.now = NOW + 10_000
    room.release(Known({b"s:s-1": session("s-1")}))
    assert [conversion_in(record).order_id for record in room.elsewhere] == [of.order_id for of in order]


def test_a_poisonous_record_in_the_waiting_topic_is_refused_and_leaves_the_room(room: Room) -> None:
    (waiting,) = room.join.run([raw_record(event(session_id="s-1"))], Known())
    room.deliver([Outgoing(topic=WAITING.name, key=b"k", value=b"junk", headers=waiting.headers, partition=3)])
    room.clock.now = NOW + 10_000
    room.release(Known())
    (letter,) = room.elsewhere
    assert letter.topic == WAITING.dead_letters
    assert room.store.earliest_due() is None


def test_a_waiting_record_without_a_ticket_is_refused_when_it_is_read(tmp_path: Path) -> None:
    ingest = Ingest(Store(tmp_path / "db", shared_cache()), SESSION_CODEC.decode, now=NOW)
    record = Incoming(topic=WAITING.name, partition=0, offset=0, timestamp=0, key=b"k", value=b"v")
    ingest.take([record])
    assert [letter.topic for letter in ingest.letters] == [WAITING.dead_letters]
    assert ingest.changes == {}


reported = st.lists(
    st.builds(
        event, session_id=st.sampled_from(["1", "2"]), yclid=st.none() | st.just("9"), order_id=st.text(max_size=3)
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)  # each example opens two databases
@given(reported, st.sets(st.sampled_from(["1", "2"])), st.randoms(use_true_random=False))
def test_whether_sessions_come_before_or_while_events_wait_changes_no_row(
    tmp_path_factory: pytest.TempPathFactory, of: list[RawEvent], arriving: set[str], order: random.Random
) -> None:
    """Order of arrival: all sessions first, or each at some moment before the last delay is over."""
    all_known = Known({session_key(number): session(number) for number in arriving})
    outcomes = []
    for late in (False, True):
        clock = Clock()
        room = Room(tmp_path_factory.mktemp("room") / "db", joining(clock), clock)
        known = Known() if late else all_known
        for offset, each in enumerate(of):
            room.deliver(room.join.run([raw_record(each, offset=offset)], known))
            if late and order.random() < 0.3:
                known = all_known
        room.run_out(all_known)
        outcomes.append(sorted(_gist(record) for record in room.elsewhere))
    assert outcomes[0] == outcomes[1]


def _gist(record: Outgoing) -> tuple[str, ...]:
    if record.topic == CONVERSIONS.name:
        result = conversion_in(record)
        return "converted", str(result.raw_offset), str(result.row_id), str(result.session_missing)
    return "dead", str(header(record.headers, "dlq.original.offset")), str(header(record.headers, "dlq.error.class"))
