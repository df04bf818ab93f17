"""Laws of the join: whatever arrives when, and however often, every event comes to the same end, and in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import RawEvent, Session
from schemas.identity import session_key, visitor_key
from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, SESSIONS, WAITING
from streams.state import entries
from streams.state.database import shared_cache
from streams.state.ingest import Ingest
from streams.state.store import Store, WaitingRoom
from tests.unit.streams.builders import (
    NOW,
    PATIENT,
    POLICY,
    SESSION_CODEC,
    Clock,
    as_read,
    conversion_in,
    event,
    joining,
    raw_record,
    session,
)

LIMIT_MS = sum(POLICY.delays_ms)
SHORT_LIMIT_MS = sum(POLICY.delays_ms[: POLICY.short_delays])
assert 0 < SHORT_LIMIT_MS < LIMIT_MS

# Which ids the sender knows: a session, a session and a visitor, a visitor, or only a click.
NAMES = {
    "session": ("session_id",),
    "both": ("session_id", "ym_uid"),
    "visitor": ("ym_uid",),
    "click": ("yclid",),
    "session and purchase": ("session_id", "purchase_id"),
}
PLACED_BY_ITSELF = frozenset({"both", "visitor", "click", "session and purchase"})
Gist = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One event: which ids it names, when it is read (again), and when (if ever) its sessions arrive.

    ``own`` is the session that it may name, ``other`` another one of its visitor. Times are milliseconds after NOW.
    ``is_patient`` says that its webhook waits long.
    """

    names: str
    read_at: tuple[int, ...]
    own_at: tuple[int, ...]
    other_at: tuple[int, ...]
    is_patient: bool

    @property
    def limit_ms(self) -> int:
        """How long its conversion may take."""
        return SHORT_LIMIT_MS if self.names in PLACED_BY_ITSELF and not self.is_patient else LIMIT_MS


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Any event whose sessions come, if they come, before its waiting is over."""
    names = draw(st.sampled_from([*NAMES]))
    first = draw(st.integers(0, LIMIT_MS))
    arrivals = st.lists(st.integers(0, first + LIMIT_MS - 1), max_size=2).map(tuple)
    own, other = draw(arrivals), draw(arrivals)
    if names == "visitor":
        other = ()  # a visitor's last session is that of the moment, so here there is only one
    again = draw(st.lists(st.integers(first, 2 * LIMIT_MS), max_size=2))
    patient = draw(st.booleans())
    return Story(names=names, read_at=(first, *again), own_at=own, other_at=other, is_patient=patient)


class Partition:
    """One partition of the join over its topics: the waiting room in its state, and every end that was come to."""

    def __init__(self, store: Store, *, notices: bool) -> None:
        self.notices = notices
        self.clock = Clock()
        self.join = joining(self.clock)
        self.store = store
        self.touched: set[bytes] = set()
        self.ends: defaultdict[str, list[tuple[int, Gist]]] = defaultdict(list)
        self.delays: defaultdict[str, int] = defaultdict(int)
        self.offset = 0

    def read(self, record: Incoming) -> None:
        """A raw record is read."""
        self._deliver(self.join.run([record], self.store))

    def visit(self, of: Session) -> None:
        """Both records of a session are read; what waits for it is told, or has to wait for its time."""
        for key in (session_key(of.session_id), visitor_key(of.ym_uid or "")):
            self._ingest(Outgoing(topic=SESSIONS.name, key=key, value=SESSION_CODEC.encode(of)))
        if self.notices and (found := self.store.arrived(100)):
            done: set[int] = set()
            records = self.join.arrived([entries.unpack(packed) for _, packed in found], self.store, done)
            self._deliver(records)

    def pass_time(self, until: int) -> None:
        """Let what is due by then go, each at its moment."""
        while (due := self.store.earliest_due()) is not None and due <= until:
            self.clock.now = max(self.clock.now, due)
            found = self.store.due(self.clock.now, 100)
            self._deliver(self.join.due([entries.unpack(packed) for _, packed in found], self.store))
        self.clock.now = until

    def gists(self) -> dict[str, set[Gist]]:
        """What became of each event, whatever the number of times: with its session where that came in the end."""
        found = {event_id: {gist for _, gist in ends} for event_id, ends in self.ends.items()}
        return {event_id: {gist for gist in gists if AWAITED not in gist} or gists for event_id, gists in found.items()}

    def _deliver(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            event_id = header(record.headers, EVENT_ID_HEADER) or ""
            if record.topic == RAW.name:
                self.offset += 1
                self.read(as_read(record, self.offset))
            elif record.topic == WAITING.name:
                self.delays[event_id] += record.value is not None
                self._ingest(record)
            else:
                self.ends[event_id].append((self.clock.now, _gist(record)))

    def _ingest(self, record: Outgoing) -> None:
        self.offset += 1
        ingest = Ingest(self.store, SESSION_CODEC.decode, now=self.clock.now)
        ingest.take([as_read(record, self.offset)])
        self.touched |= set(ingest.changes)
        self.store.write(ingest.changes, ingest.offsets, now=self.clock.now)
        self.store.sessions_came(ingest.arrived)

    def forget(self) -> None:
        """Leave the state as empty as it was: opening another one for each example would take ten times as long."""
        self.store.write(dict.fromkeys(self.touched), {}, now=self.clock.now)
        assert self.store.arrived(100) == []


AWAITED = "without its session"


def _gist(record: Outgoing) -> Gist:
    if record.topic == CONVERSIONS.name:
        result = conversion_in(record)
        kept = replace(result, resolved_at=0, attempts=0, raw_offset=0)
        return "converted", repr(kept), AWAITED if result.session_missing else "joined"
    return "dead", str(header(record.headers, "dlq.error.class"))


def _event(number: int, story: Story) -> RawEvent:
    ids = {"session_id": f"own-{number}", "ym_uid": f"{number}", "yclid": f"{number}", "purchase_id": f"{number}"}
    named = {name: ids[name] for name in NAMES[story.names]}
    hook = {"webhook_id": PATIENT} if story.is_patient else {}
    return event(event_id=f"00000000-0000-4000-8000-{number:012d}", **named, **hook)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("laws") / "partition-0", shared_cache())


def _play(
    store: Store,
    told: Sequence[Story],
    *,
    sessions_first: bool = False,
    repeats: bool = False,
    notices: bool = False,
) -> Partition:
    """Let everything happen at its time; or all sessions first; or nothing twice; or sessions be noticed at once."""
    partition = Partition(store, notices=notices)
    happenings: list[tuple[int, Callable[[], None]]] = []
    for number, story in enumerate(told):
        raw = raw_record(_event(number, story), offset=number)
        for at in story.read_at if repeats else story.read_at[:1]:
            happenings.append((at, partial(partition.read, raw)))
        for session_id, times, begun in ((f"own-{number}", story.own_at, 2), (f"other-{number}", story.other_at, 1)):
            of = session(session_id, ym_uid=f"{number}", session_at=NOW - begun)
            for at in times if repeats else times[:1]:
                happenings.append((-1 if sessions_first else at, partial(partition.visit, of)))
    for at, happen in sorted(happenings, key=lambda each: each[0]):
        partition.pass_time(NOW + at)
        happen()
    partition.pass_time(NOW + 10 * LIMIT_MS)
    assert store.room() == WaitingRoom()
    partition.forget()
    return partition


told_stories = st.lists(stories(), min_size=1, max_size=5)


@given(told_stories)
def test_the_order_in_which_sessions_and_events_arrive_does_not_change_the_outcome(
    store: Store, told: list[Story]
) -> None:
    as_told = _play(store, told)
    in_order = _play(store, told, sessions_first=True)
    assert as_told.gists() == in_order.gists()
    for number, story in enumerate(told):
        _, *late = as_told.ends[_event(number, story).event_id]
        assert len(late) <= (story.limit_ms == SHORT_LIMIT_MS), "one end, and perhaps the session of what went ahead"
        assert all(gist[-1] == "joined" for _, gist in late)


@given(told_stories)
def test_whether_a_session_is_noticed_at_once_or_when_the_delay_is_over_changes_no_outcome(
    store: Store, told: list[Story]
) -> None:
    noticed = _play(store, told, repeats=True, notices=True)
    assert noticed.gists() == _play(store, told, repeats=True).gists()


@given(told_stories)
def test_what_is_read_again_comes_to_the_same_end(store: Store, told: list[Story]) -> None:
    assert _play(store, told, repeats=True).gists() == _play(store, told).gists()


@given(told_stories)
def test_nothing_waits_past_its_limit(store: Store, told: list[Story]) -> None:
    partition = _play(store, told, repeats=True)
    for number, story in enumerate(told):
        event_id = _event(number, story).event_id
        ends = sorted(moment - NOW for moment, _ in partition.ends[event_id])
        most = 2 if story.limit_ms < LIMIT_MS else 1
        assert len(story.read_at) <= len(ends) <= most * len(story.read_at)
        assert min(story.read_at) <= ends[0]
        assert ends[0] <= min(story.read_at) + story.limit_ms
        assert ends[-1] <= max(story.read_at) + LIMIT_MS
        assert partition.delays[event_id] <= len(POLICY.delays_ms) * len(story.read_at)


@given(told_stories)
def test_what_metrika_can_place_by_itself_is_converted_after_the_short_delays(store: Store, told: list[Story]) -> None:
    partition = _play(store, told)
    for number, story in enumerate(told):
        first, *_ = partition.ends[_event(number, story).event_id]
        assert first[0] - NOW <= story.read_at[0] + story.limit_ms
