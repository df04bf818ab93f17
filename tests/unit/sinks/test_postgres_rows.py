"""From conversions and sessions to rows, keys and goals."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.postgres.goals import goals_by_row, json_number
from sinks.postgres.rows import (
    STAGED,
    NewRow,
    SessionRow,
    each_once,
    new_rows,
    newest_of_each,
    row_key,
    session_row,
    staged_row,
)
from tests.sink_material import AT, conversion, placed, session


def test_the_copy_sends_what_the_temporary_table_takes() -> None:
    script = resources.files("sinks.postgres").joinpath("session.sql").read_text()
    table = script.split("CREATE TEMPORARY TABLE incoming_conversions (")[1].split(") ON COMMIT")[0]
    binary = {"TEXT": "text", "BOOLEAN": "bool", "TIMESTAMP WITH TIME ZONE": "int8", "INT": "int4", "BIGINT": "int8"}
    declared = [(name, binary[kind]) for name, kind in re.findall(r"^ +(\w+) ([A-Z ]+?),?$", table, re.MULTILINE)]
    assert list(STAGED) == declared


def test_a_row_has_a_value_for_every_column() -> None:
    (place,) = placed(conversion(order_id="deal 9"))
    row = dict(zip((name for name, _ in STAGED), staged_row(place, goal_appended=True), strict=True))
    assert row["order_id"] == "deal 9"
    assert row["goal_appended"] is True
    # Microseconds since 2000-01-01, which is 946684800 s after 1970-01-01.
    assert row["occurred_at"] == (AT - 946_684_800_000) * 1000


def test_of_two_records_of_one_conversion_the_first_counts_and_ids_are_sorted() -> None:
    low, high = conversion(event_id="0a"), conversion(event_id="0b")
    batch = placed(high, low, low, high)
    assert each_once(batch) == [batch[1], batch[0]]


@pytest.mark.parametrize(
    ("id_type", "given_id", "key"),
    [
        ("uuid", "7B0E5A52-3A35-4D37-9A7E-0F6B7A4F2A11", "7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11"),
        ("uuid", "12", None),
        ("uuid", "", None),
        ("bigint", " 12 ", "12"),
        ("bigint", "9223372036854775807", "9223372036854775807"),
        ("bigint", "9223372036854775808", None),
        ("integer", "2147483648", None),
        ("smallint", "-32768", "-32768"),
        ("bigint", "7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11", None),
        ("text", " as it is ", " as it is "),
        ("text", None, None),
    ],
)
def test_an_id_is_written_as_postgres_writes_it_or_names_no_row(
    id_type: str, given_id: str | None, key: str | None
) -> None:
    assert row_key(id_type, given_id) == key


@given(st.decimals(min_value=-(10**14), max_value=10**14, places=4))
def test_a_value_is_a_json_number_without_needless_zeros(value: Decimal) -> None:
    text = json_number(value)
    assert Decimal(text) == value
    assert json.loads(text) is not None
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))


def test_goals_of_a_row_are_in_the_order_in_which_they_happened() -> None:
    late, early = conversion(occurred_at=AT + 1, event_id="0a"), conversion(occurred_at=AT, event_id="0b")
    twin = conversion(occurred_at=AT, event_id="0c")
    found = json.loads(goals_by_row([("row", late), ("other", late), ("row", twin), ("row", early)]))
    assert [goal["event_id"] for goal in found["row"]] == ["0b", "0c", "0a"]
    assert found["other"] == [
        {
            "goal": "payment_success",
            "timestamp": "2025-11-22T05:40:00.124Z",
            "value": 5000,
            "source": "crm_offline",
            "event_id": "0a",
        }
    ]


records = st.builds(
    lambda data, visit, received: session_row(
        session("row", data, last_visit_at=AT + visit, received_at=AT + received), "row"
    ),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 2),
)


@given(st.lists(records, min_size=1))
def test_the_newest_record_is_the_same_in_every_order(rows: list[SessionRow]) -> None:
    (newest,) = newest_of_each(rows)
    assert newest_of_each(rows[::-1]) == [newest]
    assert max((row.last_visit_at, row.received_at) for row in rows) == (newest.last_visit_at, newest.received_at)


def test_rows_are_created_once_for_sessions_and_for_conversions_that_came_first() -> None:
    early = conversion(session_id="a", session_at=AT)
    beacon = session_row(session("two", session_id="b"), "two")
    found = new_rows([("three", early), ("one", early), ("two", early)], [beacon], present=frozenset({"three"}))
    assert found == [
        NewRow(row_id="one", session_id="a", session_at=AT),
        NewRow(row_id="two", session_id="b", session_at=AT),
    ]
