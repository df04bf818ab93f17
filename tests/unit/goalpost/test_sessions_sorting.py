"""What becomes of a row of ``user_analytics``: the same as by POST /sessions/supabase, and never nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goalpost.sessions.counts import NAMED_ROWS, Counts, Unusable
from goalpost.sessions.sorting import removals, sorted_out
from goalpost.sessions.table import Bounds, Position, StoredRow, Table
from producers.intake import change
from schemas.contracts import WEB_SESSIONS
from schemas.events import Session

NOW_MS = 1_772_368_200_123
CODEC = WEB_SESSIONS.codec(schema_id=1, foreign_schema=lambda _: "")


def row(row_id: str = "7", *, own: bool = False, ids: object = None, **over: Any) -> StoredRow:
    record = {"id": row_id, "session_id": "s1", "timestamp": "2026-03-01T12:30:00.123+00:00"}
    return StoredRow(row_id=row_id, at="2026-03-01", record={**record, **over, "analytics_data": {"ids": ids}}, own=own)


def test_a_row_becomes_the_session_that_a_database_webhook_makes_of_it() -> None:
    stored = row(ids={"ym_uid": 1666707227246044402, "yclid": "5", "user_id": "u"})
    found = sorted_out([stored], received_at=NOW_MS)
    payload = {"table": "user_analytics", "type": "INSERT", "record": stored.record}
    assert found.sessions == (change(payload, received_at=NOW_MS),)
    assert found.sessions[0].creates_row is False
    assert [record.key for record in found.records(CODEC)] == [b"s:s1", b"u:1666707227246044402"]
    assert found.counts == Counts(rows=1, sessions=1)


def test_a_row_of_goalposts_own_is_left_out_and_counted() -> None:
    found = sorted_out([row(own=True)], received_at=NOW_MS)
    assert (found.sessions, found.counts) == ((), Counts(rows=1, own=1))


def test_a_visitor_that_is_none_costs_the_row_its_visitor_and_not_its_session() -> None:
    found = sorted_out([row(ids={"ym_uid": "undefined"}), row(ids="text"), row()], received_at=NOW_MS)
    assert [session.ym_uid for session in found.sessions] == [None, None, None]
    assert found.counts.without_visitor == 3
    assert found.counts.records == 3


@pytest.mark.parametrize(("ids", "with_visitor"), [({"ym_uid": "5"}, 1), ({"ym_uid": "x"}, 0), (None, 0), ([], 0)])
def test_an_unusable_row_is_named_with_the_reason_and_whether_it_knows_its_visitor(
    ids: object, with_visitor: int
) -> None:
    found = sorted_out([row("9", session_id=None, ids=ids)], received_at=NOW_MS)
    why = "the row has no session_id or no id"
    assert found.unusable == (("9", why),)
    assert found.counts.unusable == {why: Unusable(rows=1, with_visitor=with_visitor, ids=("9",))}


_VALUES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=300) | st.lists(st.none())


@given(st.lists(st.tuples(_VALUES, _VALUES, _VALUES, st.booleans()), max_size=6))
def test_whatever_a_row_holds_it_is_a_session_or_own_or_named(rows: list[tuple[object, object, object, bool]]) -> None:
    stored = [
        row(str(number), session_id=session_id, timestamp=at, ids={"ym_uid": ym_uid}, own=own)
        for number, (session_id, at, ym_uid, own) in enumerate(rows)
    ]
    found = sorted_out(stored, received_at=NOW_MS)
    counts = found.counts
    assert counts.rows == len(rows)
    assert counts.rows == len(found.sessions) + counts.own + len(found.unusable)
    assert counts.unusable_rows == len(found.unusable)


def test_a_session_is_removed_unless_another_row_has_it() -> None:
    gone = removals(["a", "b", "a", " "], present=frozenset({"b"}), received_at=NOW_MS)
    assert [(record.key, record.value) for record in gone] == [(b"s:a", None)]


def test_counts_add_up_and_name_only_the_first_rows_of_each_reason() -> None:
    total = Counts()
    for number in range(50):
        one = Counts(rows=1, unusable={"why": Unusable.one(str(number), visitor=number % 2 == 0)})
        total = total.plus(one)
    assert total.rows == 50
    assert total.unusable["why"].rows == 50
    assert total.unusable["why"].with_visitor == 25
    assert total.unusable["why"].ids == tuple(str(number) for number in range(NAMED_ROWS))


def test_counts_survive_being_stored() -> None:
    counts = Counts(rows=9, sessions=5, without_visitor=1, own=2, unusable={"why": Unusable.one("1", visitor=True)})
    assert Counts.from_json(counts.as_json()) == counts
    assert Counts.from_json({}) == Counts()


def test_a_reading_ends_behind_the_rows_without_a_timestamp_and_with_bounds_before_them() -> None:
    table = Table(types={})
    start = Position()
    full = [row("1"), row("2")]
    assert table.behind(full, Bounds(), start, limit=2) == Position(at="2026-03-01", row_id="2")
    assert table.behind(full[:1], Bounds(), start, limit=2) == Position(untimed=True)
    assert table.behind(full[:1], Bounds(since_ms=1), start, limit=2) is None
    assert table.behind([], Bounds(), Position(untimed=True), limit=2) is None


def test_sessions_are_those_of_the_rows_in_their_order() -> None:
    found = sorted_out([row(session_id="b"), row(session_id="a")], received_at=NOW_MS)
    assert all(isinstance(session, Session) for session in found.sessions)
    assert [session.session_id for session in found.sessions] == ["b", "a"]
