"""What the Postgres sink writes, on a real server."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql

from sandbox.stack import Addresses
from sinks.postgres import statements
from sinks.postgres.connection import BadData, Connection, Contention
from sinks.postgres.writer import Writer
from tests.sink_material import (
    AT,
    Registered,
    analytics_row,
    conversion,
    fresh_database,
    goals,
    opened,
    placed,
    register_webhook,
    session,
)


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with opened(database) as connection:
        yield connection


@pytest.fixture
def registered(connection: Connection) -> Registered:
    return register_webhook(connection)


@pytest.fixture
def writer(connection: Connection) -> Writer:
    return Writer(connection)


def site_row(connection: Connection, data: Any, row_id: str | None = None) -> str:
    """A row that the site itself has written."""
    key = row_id or str(uuid.uuid4())
    connection.execute(
        "INSERT INTO user_analytics (id, session_id, analytics_data) VALUES (%s, 'its own', %s)",
        (key, None if data is None else json.dumps(data)),
    )
    return key


def test_a_conversion_becomes_a_row_with_every_column(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    event = conversion(
        registered,
        session_id="a session",
        session_missing=False,
        row_id=str(uuid.uuid4()),
        client_id="1763790000123456789",
        yclid="18446744073709551615",
        user_id="user 7",
        purchase_id="purchase 8",
        email_md5="3c56ff8fef0f6c65b36b2d25720fe276",
        phone_md5="f09f2c3d48f31e2a802944ade2e5aec5",
        notes="currency RUR was read as RUB",
        price=Decimal("1999.9000"),
        currency="RUB",
        order_id="deal 9",
        attempts=2,
        payload='{"сделка": "оплачена"}',
    )
    [place] = placed(event)
    written = writer.write([place])
    assert [one.conversion for one in written.stored] == [event]
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        row = cursor.execute("SELECT * FROM webhook_conversions WHERE id = %s", (event.event_id,)).fetchone()
    assert row is not None
    at = datetime(2025, 11, 22, 5, 40, 0, 123_000, tzinfo=UTC)
    assert abs(row.pop("created_at") - row.pop("updated_at")).total_seconds() == 0
    assert row == {
        "id": uuid.UUID(event.event_id),
        "webhook_id": uuid.UUID(event.webhook_id),
        "counter_id": uuid.UUID(event.counter_id),
        "payload": {"сделка": "оплачена"},
        "status": "pending",
        "stage": "stored",
        "metrika_upload_id": None,
        "error_message": None,
        "error_class": None,
        "order_id": "deal 9",
        "external_source": "generic",
        "session_id": "a session",
        "session_missing": False,
        "analytics_row_id": event.row_id,
        "client_id": "1763790000123456789",
        "yclid": "18446744073709551615",
        "user_id": "user 7",
        "purchase_id": "purchase 8",
        "target": "payment_success",
        "price": Decimal("1999.9000"),
        "currency": "RUB",
        "occurred_at": at,
        "received_at": at,
        "resolved_at": at,
        "deadline_at": at,
        "goal_rule": "payload",
        "rules_changed_at": at,
        "attempts": 2,
        "goal_appended": False,
        "raw_partition": 3,
        "raw_offset": 7,
        "conversion_partition": place.partition,
        "conversion_offset": place.offset,
        "upload": None,
        "upload_line": None,
        "upload_second": None,
        "creates_row": False,
        "session_at": None,
        "email_md5": "3c56ff8fef0f6c65b36b2d25720fe276",
        "phone_md5": "f09f2c3d48f31e2a802944ade2e5aec5",
        "anonymised_at": None,
        "notes": "currency RUR was read as RUB",
        "corrects": None,
    }


def test_the_goal_is_appended_and_what_the_site_wrote_stays(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    own = {"goal": "scroll", "value": 1.50}
    row_id = site_row(
        connection,
        {"ids": {"ym_uid": "17"}, "target_actions": {"clicks": 3, "yandex_goals_triggered": [own]}},
    )
    event = conversion(registered, row_id=row_id)
    written = writer.write(placed(event))
    assert written.goals_appended == 1
    row = analytics_row(connection, row_id)
    assert row is not None
    appended = {
        "goal": "payment_success",
        "timestamp": "2025-11-22T05:40:00.123Z",
        "value": 5000,
        "source": "crm_offline",
        "event_id": event.event_id,
    }
    assert row["session_id"] == "its own"
    assert row["analytics_data"] == {
        "ids": {"ym_uid": "17"},
        "target_actions": {"clicks": 3, "yandex_goals_triggered": [own, appended], "conversion_flag": True},
    }
    found = connection.execute(
        "SELECT goal_appended, analytics_row_id FROM webhook_conversions WHERE id = %s", (event.event_id,)
    ).fetchone()
    assert found == (True, row_id)


@pytest.mark.parametrize(
    ("value", "written"),
    [("5000.0000", "5000"), ("0.0000", "0"), ("0.5000", "0.5"), ("99999999999999.9999", "99999999999999.9999")],
)
def test_a_value_is_a_plain_json_number(
    writer: Writer, connection: Connection, registered: Registered, value: str, written: str
) -> None:
    row_id = site_row(connection, {})
    writer.write(placed(conversion(registered, row_id=row_id, price=Decimal(value))))
    found = connection.execute(
        "SELECT analytics_data #>> '{target_actions,yandex_goals_triggered,0,value}' FROM user_analytics WHERE id = %s",
        (row_id,),
    ).fetchone()
    assert found == (written,)


def test_a_repeated_conversion_changes_nothing(writer: Writer, connection: Connection, registered: Registered) -> None:
    row_id = site_row(connection, {})
    event = conversion(registered, row_id=row_id)
    writer.write(placed(event, event))
    again = writer.write(placed(event, event))
    assert (again.stored, again.repeated, again.goals_appended) == ((), 2, 0)
    assert [goal["event_id"] for goal in goals(connection, row_id)] == [event.event_id]


def test_goals_of_one_row_in_one_batch_stand_in_the_order_in_which_they_happened(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    row_id = site_row(connection, {})
    events = [conversion(registered, row_id=row_id, occurred_at=AT + shift) for shift in (2000, 0, 1000, 1000)]
    writer.write(placed(*events))
    expected = sorted(events, key=lambda one: (one.occurred_at, one.event_id))
    assert [goal["event_id"] for goal in goals(connection, row_id)] == [one.event_id for one in expected]


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (None, {}),
        ([1, 2], {"analytics_data_before": [1, 2]}),
        ("text", {"analytics_data_before": "text"}),
        ({"target_actions": None}, {}),
        ({"a": 1, "target_actions": "many"}, {"a": 1, "target_actions_before": "many"}),
        ({"target_actions": [7]}, {"target_actions_before": [7]}),
    ],
)
def test_content_of_an_unexpected_type_is_kept_beside_the_goal(
    writer: Writer, connection: Connection, registered: Registered, data: Any, kept: dict[str, Any]
) -> None:
    row_id = site_row(connection, data)
    event = conversion(registered, row_id=row_id)
    writer.write(placed(event))
    row = analytics_row(connection, row_id)
    assert row is not None
    found = dict(row["analytics_data"])
    assert found.pop("target_actions")["yandex_goals_triggered"][0]["event_id"] == event.event_id
    assert found == kept


def test_a_goal_list_of_an_unexpected_type_is_kept_beside_the_new_list(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    row_id = site_row(connection, {"target_actions": {"yandex_goals_triggered": {"old": True}}})
    writer.write(placed(conversion(registered, row_id=row_id)))
    row = analytics_row(connection, row_id)
    assert row is not None
    actions = row["analytics_data"]["target_actions"]
    assert actions["yandex_goals_triggered_before"] == {"old": True}
    assert len(actions["yandex_goals_triggered"]) == 1


def test_numbers_that_no_float_holds_survive_an_append(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    row_id = site_row(connection, None)
    connection.execute(
        "UPDATE user_analytics SET analytics_data = '{\"n\": 12345678901234567890.123456789}' WHERE id = %s", (row_id,)
    )
    writer.write(placed(conversion(registered, row_id=row_id)))
    found = connection.execute("SELECT analytics_data ->> 'n' FROM user_analytics WHERE id = %s", (row_id,)).fetchone()
    assert found == ("12345678901234567890.123456789",)


@pytest.mark.parametrize("row_id", [str(uuid.UUID(int=404)), "no uuid at all", None])
def test_a_conversion_whose_row_has_gone_is_stored_without_a_goal(
    writer: Writer, connection: Connection, registered: Registered, row_id: str | None
) -> None:
    event = conversion(registered, row_id=row_id)
    written = writer.write(placed(event))
    assert (len(written.stored), written.goals_appended) == (1, 0)
    found = connection.execute(
        "SELECT goal_appended, analytics_row_id FROM webhook_conversions WHERE id = %s", (event.event_id,)
    ).fetchone()
    assert found == (False, row_id)


def test_a_repeat_never_brings_back_a_row_that_was_deleted(
    writer: Writer, connection: Connection, registered: Registered
) -> None:
    row_id = str(uuid.uuid4())
    event = conversion(registered, row_id=row_id, creates_row=True, session_id="s", session_at=AT)
    writer.write(placed(event))
    connection.execute("DELETE FROM user_analytics WHERE id = %s", (row_id,))
    writer.write(placed(event))
    assert analytics_row(connection, row_id) is None


def test_what_is_refused_leaves_nothing_behind(writer: Writer, connection: Connection, registered: Registered) -> None:
    row_id = site_row(connection, {"as": "it was"})
    good, unknown = conversion(registered, row_id=row_id), conversion()
    with pytest.raises(BadData, match=r"webhook_conversions_.*_fkey") as refused:
        writer.write(placed(good, unknown), [session(str(uuid.uuid4()))])
    assert unknown.webhook_id not in str(refused.value)
    row = analytics_row(connection, row_id)
    assert row is not None
    assert row["analytics_data"] == {"as": "it was"}
    writer.write(placed(good))
    assert len(goals(connection, row_id)) == 1


@pytest.mark.parametrize(
    "poison",
    [
        {"event_id": "no uuid"},
        {"payload": "no json"},
        {"payload": '{"nul": "\\u0000"}'},
        {"target": "nul \x00"},
        {"order_id": "\ud800"},
        {"occurred_at": 2**62},
        {"occurred_at": 2**63 - 1},
        {"price": Decimal(10) ** 15},
        {"order_id": "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(9000))},
        # Would be stored, and then stop every upload of its counter: they go into an index when a file is made.
        {"target": "g" * 3000},
        {"client_id": "1" * 3000},
    ],
)
def test_poison_is_bad_data_and_the_connection_goes_on(
    writer: Writer, registered: Registered, poison: dict[str, Any]
) -> None:
    with pytest.raises(BadData):
        writer.write(placed(conversion(registered, **poison)))
    assert len(writer.write(placed(conversion(registered))).stored) == 1


def test_a_waiting_transaction_is_contention(
    writer: Writer, connection: Connection, registered: Registered, database: str
) -> None:
    row_id = site_row(connection, {})
    connection.execute("SET lock_timeout = '100ms'")
    with psycopg.connect(database) as site:
        site.execute("UPDATE user_analytics SET session_id = 'being changed' WHERE id = %s", (row_id,))
        with pytest.raises(Contention):
            writer.write(placed(conversion(registered, row_id=row_id)))


def test_two_sinks_and_the_site_lose_no_goal_and_never_block_each_other(
    connection: Connection, registered: Registered, database: str
) -> None:
    """Rows in opposite orders, and the site's updates of the same rows in between."""
    rows = [site_row(connection, {"visits": 0}) for _ in range(20)]
    batches = 25
    failed: list[Exception] = []

    def sink(order: int) -> None:
        try:
            with opened(database) as own:
                writer = Writer(own)
                for _ in range(batches):
                    writer.write(placed(*(conversion(registered, row_id=row) for row in rows[::order])))
        except Exception as exc:  # noqa: BLE001 - reported to the test's own thread
            failed.append(exc)

    def site() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            for number in range(batches * 4):
                own.execute(
                    "UPDATE user_analytics SET analytics_data = jsonb_set(analytics_data, '{visits}', %s) "
                    "WHERE id = %s",
                    (str(number), rows[number % len(rows)]),
                )

    threads = [threading.Thread(target=sink, args=(1,)), threading.Thread(target=sink, args=(-1,))]
    threads.append(threading.Thread(target=site))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert [len(goals(connection, row)) for row in rows] == [2 * batches] * len(rows)


def test_listeners_are_told_once_per_batch_with_new_rows(writer: Writer, registered: Registered, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN goalpost_stored")
        events = placed(*(conversion(registered) for _ in range(3)))
        writer.write(events)
        writer.write(events)
        heard = list(listener.notifies(timeout=2, stop_after=1)) + list(listener.notifies(timeout=0.2))
    assert [notice.channel for notice in heard] == ["goalpost_stored"]


@pytest.mark.parametrize(
    ("id_type", "row_ids"),
    [
        ("uuid", ["7B0E5A52-3A35-4D37-9A7E-0F6B7A4F2A11", "7b0e5a523a354d379a7e0f6b7a4f2a12"]),
        ("bigint", ["9007199254740993", "+12"]),
        ("bigint GENERATED ALWAYS AS IDENTITY", ["4", "5"]),
        ("integer", ["4", "2147483647"]),
        ("text", ["s:any text ' \x1f,{}", "Иван"]),
        ("varchar(64)", ["4", "x"]),
    ],
)
@pytest.mark.parametrize("data_type", ["jsonb", "json"])
def test_rows_are_found_whatever_the_type_of_their_id(
    stack: Addresses, id_type: str, data_type: str, row_ids: list[str]
) -> None:
    table = (
        f"CREATE TABLE user_analytics (id {id_type} PRIMARY KEY, session_id varchar(200), "
        f"analytics_data {data_type}, timestamp timestamp, extra int DEFAULT 7)"
    )
    with fresh_database(stack.database_url, table) as url, opened(url) as connection:
        registered, writer = register_webhook(connection), Writer(connection)
        override = "OVERRIDING SYSTEM VALUE"
        for row_id in row_ids:
            connection.execute(
                f"INSERT INTO user_analytics (id, analytics_data) {override} VALUES (%s, '{{}}')", (row_id,)
            )
        written = writer.write(placed(*(conversion(registered, row_id=row_id) for row_id in row_ids)))
        assert written.goals_appended == len(row_ids)
        assert all(len(found) == 1 for found in _goal_lists(connection))


def _goal_lists(connection: Connection) -> list[Any]:
    query = "SELECT analytics_data -> 'target_actions' -> 'yandex_goals_triggered' FROM user_analytics"
    return [found for (found,) in connection.execute(query)]


@pytest.mark.parametrize("id_type", ["uuid", "varchar(64)"])
def test_rows_are_looked_up_through_the_primary_key(stack: Addresses, id_type: str) -> None:
    table = (
        f"CREATE TABLE user_analytics (id {id_type} PRIMARY KEY, session_id text, analytics_data json, timestamp date)"
    )
    fill = "INSERT INTO user_analytics (id) SELECT md5(n::text)::uuid FROM generate_series(1, 100000) AS n"
    with (
        fresh_database(stack.database_url, table, fill, "ANALYZE user_analytics") as url,
        opened(url) as connection,
    ):
        Writer(connection)
        types = {str(name): str(kind) for name, kind in connection.execute(statements.COLUMN_TYPES)}
        fitted = statements.analytics_statements(types)
        keys = [str(key) for (key,) in connection.execute("SELECT id FROM user_analytics LIMIT 50")]
        plans = [
            _plan(connection, fitted.lock_rows, json.dumps(keys)),
            _plan(connection, fitted.append_goals, json.dumps({key: [] for key in keys})),
        ]
    for plan in plans:
        assert "Seq Scan on user_analytics" not in plan
        assert "user_analytics_pkey" in plan


def _plan(connection: Connection, statement: sql.Composed, parameter: object) -> str:
    lines = connection.execute(sql.SQL("EXPLAIN ") + statement, (parameter,))
    return "\n".join(str(line) for (line,) in lines)
