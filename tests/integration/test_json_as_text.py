"""A jsonb column that holds JSON as one text, as drivers leave it that encode twice: read, and left as it is."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from goalpost.sessions import readings
from goalpost.sessions.recording import ensure_recording
from goalpost.sessions.recording import recording as recording_of
from goalpost.sessions.table import table_of
from sandbox.stack import Addresses
from sinks.postgres.connection import Connection
from sinks.postgres.writer import Writer
from tests.integration.session_site import Site, site, without_receipt
from tests.sink_material import (
    AT,
    Registered,
    analytics_row,
    conversion,
    fresh_database,
    opened,
    placed,
    register_webhook,
    session,
)

YM_UID = "1744296311100000185"


def as_text(value: object, times: int = 1) -> object:
    for _ in range(times):
        value = json.dumps(value, ensure_ascii=False)
    return value


def from_text(value: Any) -> Any:
    while isinstance(value, str):
        value = json.loads(value)
    return value


def _goals(data: Any) -> list[Any]:
    listed = from_text(from_text(from_text(data)["target_actions"])["yandex_goals_triggered"])
    assert isinstance(listed, list)
    return listed


@pytest.fixture(scope="module")
def connection(stack: Addresses) -> Iterator[Connection]:
    with fresh_database(stack.database_url) as url, opened(url) as connection:
        yield connection


@pytest.fixture(scope="module")
def writer(connection: Connection) -> Writer:
    return Writer(connection)


@pytest.fixture(scope="module")
def registered(connection: Connection) -> Registered:
    return register_webhook(connection)


def row_of(connection: Connection, data: object) -> str:
    row_id = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO user_analytics (id, session_id, analytics_data) VALUES (%s, %s, %s::jsonb)",
        (row_id, row_id, json.dumps(data)),
    )
    return row_id


def data_of(connection: Connection, row_id: str) -> Any:
    row = analytics_row(connection, row_id)
    assert row is not None
    return row["analytics_data"]


def with_target(data: object, *, actions: int = 0, goals: int = 0) -> dict[str, Any]:
    """Analytics whose actions, or list of goals, are texts."""
    listed = as_text([{"goal": "of the site"}], goals)
    return {"ids": data, "target_actions": as_text({"yandex_goals_triggered": listed}, actions)}


SHAPES: dict[str, object] = {
    "the whole": as_text({"ids": {"ym_uid": YM_UID}, "страница": "/x"}),
    "the whole twice": as_text({"page": "/x"}, 2),
    "the actions": with_target({}, actions=1),
    "the list": with_target({}, goals=1),
    "all of them": as_text(with_target(as_text({}), actions=2, goals=1)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_goal_is_appended_inside_of_the_text_and_the_site_reads_its_row_as_before(
    writer: Writer, connection: Connection, registered: Registered, shape: str
) -> None:
    before = SHAPES[shape]
    row_id = row_of(connection, before)
    first, second = (conversion(registered, row_id=row_id) for _ in range(2))
    writer.write(placed(first))
    writer.write(placed(second, first))

    stored = data_of(connection, row_id)

    assert [goal.get("event_id") for goal in _goals(stored)][-2:] == [first.event_id, second.event_id]
    assert without_ours(stored) == without_ours(before)


def without_ours(data: Any) -> Any:
    """What a row holds besides our goals, with every text that holds JSON marked as one."""
    if isinstance(data, str):
        return ("text", without_ours(json.loads(data)))
    actions = data.get("target_actions")
    shapes = []
    while isinstance(actions, str):
        shapes.append("text")
        actions = json.loads(actions)
    listed = (actions or {}).get("yandex_goals_triggered", [])
    while isinstance(listed, str):
        shapes.append("list as text")
        listed = json.loads(listed)
    kept = [goal for goal in listed if "event_id" not in goal]
    return {**data, "target_actions": (shapes, kept)}


@pytest.mark.parametrize(
    "text", ["no JSON", '"a text in a text"', "[1, 2]", "5", "null", '{"broken": ', '{"nul": "\\u0000"}']
)
def test_a_text_that_holds_no_object_stays_beside_the_goal(
    writer: Writer, connection: Connection, registered: Registered, text: str
) -> None:
    row_id = row_of(connection, text)
    writer.write(placed(conversion(registered, row_id=row_id)))
    stored = data_of(connection, row_id)
    assert stored["analytics_data_before"] == text
    assert len(stored["target_actions"]["yandex_goals_triggered"]) == 1


def test_two_goals_at_once_and_one_after_the_other_leave_the_same_row(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    for before in SHAPES.values():
        rows = [row_of(connection, before) for _ in range(2)]
        both = [
            [conversion(registered, row_id=row, target=f"goal {n}", occurred_at=AT + n) for n in range(2)]
            for row in rows
        ]
        writer.write(placed(*both[0]))
        for one in both[1]:
            writer.write(placed(one))
        at_once, in_turn = (data_of(connection, row) for row in rows)
        assert [one["goal"] for one in _goals(at_once)] == [one["goal"] for one in _goals(in_turn)]


def test_a_session_that_comes_after_its_goals_keeps_them_and_drops_the_sites_copies(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    row_id = str(uuid.uuid4())
    event = conversion(registered, row_id=row_id, creates_row=True, session_id="s", session_at=0)
    writer.write(placed(event))
    connection.execute(
        "UPDATE user_analytics SET analytics_data = to_jsonb(analytics_data::text) WHERE id = %s", (row_id,)
    )
    copies = {"target_actions": as_text({"yandex_goals_triggered": as_text(_goals(data_of(connection, row_id)))})}
    writer.write([], [session(row_id, copies)])
    assert [goal["event_id"] for goal in _goals(data_of(connection, row_id))] == [event.event_id]


def test_sessions_of_such_rows_are_brought_with_their_ids(stack: Addresses, tmp_path: Path) -> None:
    for data_type in ("jsonb", "json"):
        with site(stack, tmp_path, data_type=data_type) as shop:
            shop.visits(3)
            shop.sql(
                "INSERT INTO user_analytics VALUES (gen_random_uuid(), %(session)s, %(data)s, now())",
                {"session": shop.session(4), "data": json.dumps(as_text({"ids": as_text({"ym_uid": YM_UID})}, 2))},
            )
            shop.sql(
                "INSERT INTO user_analytics VALUES (gen_random_uuid(), %(session)s, %(data)s, now())",
                {"session": shop.session(5), "data": json.dumps("no JSON at all")},
            )
            assert shop.backfill()["sessions"] == 5
            found = shop.topic()
            told = found[f"s:{shop.session(4)}"]
            assert told is not None
            assert told.ym_uid == YM_UID
            assert without_receipt(found) == shop.expected()


def _recorded(shop: Site) -> int:
    return len(shop.sql("DELETE FROM user_analytics_changes RETURNING id"))


def test_a_change_of_the_ids_inside_of_a_text_is_recorded(stack: Addresses, tmp_path: Path) -> None:
    with site(stack, tmp_path) as shop, opened(shop.url) as connection:
        ensure_recording(connection, table_of(connection))
        shop.visits(1)
        _recorded(shop)
        change = "UPDATE user_analytics SET analytics_data = %(data)s"
        for data, records in (
            (as_text({"ids": {"ym_uid": "1"}}), 1),
            (as_text({"ids": {"ym_uid": "2"}}), 1),
            ({"ids": {"ym_uid": "2"}, "page": 1}, 1),
            ({"ids": {"ym_uid": "2"}, "page": 2}, 0),
            (None, 1),
        ):
            shop.sql(change, {"data": None if data is None else json.dumps(data)})
            assert _recorded(shop) == records


def test_triggers_that_do_not_look_into_texts_are_made_anew_and_every_row_is_read_again(
    stack: Addresses, tmp_path: Path
) -> None:
    with site(stack, tmp_path) as shop, opened(shop.url) as connection:
        table = table_of(connection)
        assert ensure_recording(connection, table)
        known = recording_of(connection)
        assert not ensure_recording(connection, table)
        # As a version left them that knew nothing of texts.
        shop.sql("COMMENT ON TRIGGER goalpost_session_updates ON user_analytics IS NULL")
        assert recording_of(connection) is None
        assert ensure_recording(connection, table)
        reading = readings.load(connection, readings.FOLLOW)
        assert reading is not None
        assert reading.recording == recording_of(connection) != known
