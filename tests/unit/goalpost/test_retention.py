"""What is too old goes; what could still be linked, repeated or found stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goalpost.retention.policy import LONGEST_TOPIC_DAYS, BadPolicy, Policy
from goalpost.retention.sessions import LastVisits, last_visits
from goalpost.retention.visitor import Visitor, find, traces
from schemas.contracts import WEB_SESSIONS
from schemas.events import Session
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming
from schemas.topics import RAW, SESSIONS
from tests.unit.schemas.examples import codec_of

CODEC = codec_of(WEB_SESSIONS)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY_MS = 86_400_000
NOW_MS = int(NOW.timestamp() * 1000)


def _record(key: bytes, value: bytes | None, *, topic: str = SESSIONS.name, at: int = NOW_MS) -> Incoming:
    return Incoming(topic=topic, partition=0, offset=0, timestamp=at, key=key, value=value, headers=())


def _session(session_id: str, *, ym_uid: str | None = None, last_visit_at: int = NOW_MS) -> list[Incoming]:
    session = Session(
        session_id=session_id,
        row_id=session_id,
        session_at=last_visit_at,
        last_visit_at=last_visit_at,
        received_at=last_visit_at,
        creates_row=False,
        ym_uid=ym_uid,
    )
    keys = [session_key(session_id), *([visitor_key(ym_uid)] if ym_uid else [])]
    return [_record(key, CODEC.encode(session)) for key in keys]


@pytest.fixture
def visits() -> Iterator[LastVisits]:
    with last_visits(CODEC) as empty:
        yield empty


def _removed(visits: LastVisits, cutoff: datetime = NOW) -> set[bytes | None]:
    return {record.key for batch in visits.removals(cutoff) for record in batch}


@pytest.mark.parametrize(
    ("ages", "named"),
    [
        ({"delete_after": LONGEST_TOPIC_DAYS}, "--delete-after"),
        ({"anonymise_after": 500}, "--anonymise-after"),
        ({"anonymise_after": 21}, "--anonymise-after"),
        ({"sessions_after": 21}, "--sessions-after"),
    ],
)
def test_ages_that_would_lose_or_double_something_are_refused(ages: dict[str, int], named: str) -> None:
    with pytest.raises(BadPolicy, match=named):
        Policy(**{"anonymise_after": 90, "delete_after": 400, "sessions_after": 90, **ages})


def test_a_session_without_a_visit_since_the_cutoff_goes_and_a_younger_one_stays(visits: LastVisits) -> None:
    visits.take(_session("old", ym_uid="1", last_visit_at=NOW_MS - 1) + _session("young", last_visit_at=NOW_MS))

    assert _removed(visits) == {session_key("old"), visitor_key("1")}
    assert visits.before(NOW) == 2


def test_a_visitor_who_came_back_stays(visits: LastVisits) -> None:
    visits.take(_session("first", ym_uid="1", last_visit_at=NOW_MS - DAY_MS))
    visits.take(_session("second", ym_uid="1", last_visit_at=NOW_MS))

    assert _removed(visits) == {session_key("first")}


def test_what_is_removed_already_or_cannot_be_read_is_left_alone(visits: LastVisits) -> None:
    visits.take(_session("gone", last_visit_at=0))
    visits.take([_record(session_key("gone"), None), _record(session_key("poison"), b"\x00\x00")])

    assert _removed(visits) == set()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(NOW_MS - 5, NOW_MS + 5)))))
def test_what_counts_is_the_last_record_of_a_key(told: list[tuple[str, int | None]]) -> None:
    last = dict(told)
    with last_visits(CODEC) as visits:
        for name, at in told:
            visits.take([_record(session_key(name), None)] if at is None else _session(name, last_visit_at=at))

        assert _removed(visits) == {session_key(name) for name, at in last.items() if at is not None and at < NOW_MS}


def _visitor(*, ym_uids: str = "", sessions: str = "") -> Visitor:
    return Visitor(ym_uids=frozenset(ym_uids), session_ids=frozenset(sessions))


def test_a_session_leads_to_its_visitor_and_to_all_of_the_visitors_sessions() -> None:
    topic = _session("a", ym_uid="1") + _session("b", ym_uid="1") + _session("c", ym_uid="2") + _session("d")

    by_session = find(lambda: topic, CODEC, _visitor(sessions="a"))
    by_visitor = find(lambda: topic, CODEC, _visitor(ym_uids="1"))

    assert by_session == by_visitor == _visitor(ym_uids="1", sessions="ab")
    assert {record.key for record in by_session.removals()} == {session_key("a"), session_key("b"), visitor_key("1")}


def test_a_session_that_nobody_knows_is_still_looked_for_everywhere() -> None:
    assert find(list, CODEC, _visitor(sessions="x")) == _visitor(sessions="x")


def test_the_report_counts_what_topics_hold_and_when_the_last_of_it_is_gone() -> None:
    visitor = Visitor(
        ym_uids=frozenset({"1744296311369635550"}), session_ids=frozenset({"s-1"}), written=frozenset({b"i@x.ru"})
    )
    held: dict[str, list[Any]] = {
        RAW.name: [
            _record(session_key("s-1"), b"x", topic=RAW.name, at=NOW_MS),
            _record(b"e:1", b"... 1744296311369635550 ...", topic=RAW.name, at=NOW_MS + 5),
            _record(b"e:2", b"another visitor", topic=RAW.name, at=NOW_MS + 9),
            _record(b"e:3", b"mail=I@X.ru", topic=RAW.name, at=NOW_MS + 4),
        ]
    }

    found = traces(lambda topic: held.get(topic, []), visitor)

    assert found.found == {RAW.name: 3}
    # A segment takes records for a week, and goes with its youngest.
    assert found.gone_by_ms == {RAW.name: NOW_MS + 5 + RAW.retention_ms + 8 * DAY_MS}


def test_the_visitors_dead_letters_are_those_that_are_so_beyond_doubt() -> None:
    visitor = Visitor(ym_uids=frozenset({"1744296311369635550"}), session_ids=frozenset({"7"}))
    letters = [
        _record(session_key("7"), b"", topic=RAW.dead_letters),
        replace(_record(b"k", b"_ym_uid=1744296311369635550", topic=RAW.dead_letters), offset=1),
        replace(_record(b"k", b"price=7", topic=RAW.dead_letters), offset=2),
    ]

    found = traces(lambda topic: letters if topic == RAW.dead_letters else [], visitor)

    assert found.found == {RAW.dead_letters: 3}
    assert sorted(found.letters) == [f"{RAW.dead_letters}:0:0", f"{RAW.dead_letters}:0:1"]
