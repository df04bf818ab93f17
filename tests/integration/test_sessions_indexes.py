"""The indexes on the site's own table: built beside its writers, again after a failure, by one migrator at a time."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from sandbox.stack import Addresses
from sinks.postgres.indexes import INDEXES as ALL_INDEXES
from sinks.postgres.indexes import build_missing
from sinks.postgres.migrate import migrate
from tests.sink_material import fresh_database

# Those on the table that the site has; in these tests there are no others yet.
INDEXES = [index for index in ALL_INDEXES if index.table == "user_analytics"]
NAMES = [index.name for index in INDEXES]
SITE = """
CREATE TABLE user_analytics (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), session_id text, analytics_data jsonb,
                             "timestamp" timestamptz DEFAULT now());
INSERT INTO user_analytics (session_id, analytics_data)
SELECT n, jsonb_build_object('ids', jsonb_build_object('ym_uid', n::text)) FROM generate_series(1, 20000) AS n;
"""
INSERT = "INSERT INTO user_analytics (session_id, analytics_data) VALUES ('new', '{}')"


@pytest.fixture
def url(stack: Addresses) -> Iterator[str]:
    """A database with the site's table, and nothing of goalpost's."""
    with fresh_database(stack.database_url, SITE, migrated=False) as address:
        yield address


def asked(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def valid(url: str) -> dict[str, bool]:
    query = """SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
               WHERE indrelid = 'user_analytics'::regclass AND NOT indisprimary"""
    return dict(asked(url, query))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def old_transaction(url: str) -> Iterator[None]:
    """Somebody's open transaction that has seen the table: what the building of an index has to wait for."""
    with psycopg.connect(url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM user_analytics")
        yield


def building(url: str) -> bool:
    """Whether an index is half-built and waits for the old transaction."""
    return asked(url, "SELECT phase FROM pg_stat_progress_create_index") == [("waiting for old snapshots",)]


def in_background(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - reported to the test's own thread
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


def test_the_site_writes_on_while_an_index_is_being_built(url: str) -> None:
    told: list[str] = []
    with old_transaction(url):
        builder, failures = in_background(lambda: build_missing(url, told.append))
        until(lambda: building(url))
        with psycopg.connect(url, autocommit=True) as writer:
            writer.execute("SET lock_timeout = '1s'")
            for _ in range(50):
                writer.execute(INSERT)
            writer.execute("UPDATE user_analytics SET analytics_data = '{}' WHERE session_id = 'new'")
            writer.execute("DELETE FROM user_analytics WHERE session_id = '1'")
        # How many are left is Postgres' affair: a look of `building` may have had a snapshot, too, when it counted.
        until(lambda: any(re.search(r"waiting for old snapshots, [1-9]\d* left", line) for line in told))
    builder.join(60)
    assert failures == []
    assert valid(url) == dict.fromkeys(NAMES, True)
    assert [line for line in told if line.startswith("built")] == [
        f"built {index.name} on user_analytics: it {index.purpose}" for index in INDEXES
    ]


def test_the_index_finds_a_visitors_sessions_as_the_seed_names_them(url: str) -> None:
    migrate(url, lambda _: None)
    asked(url, "ANALYZE user_analytics")
    query = "SELECT * FROM user_analytics WHERE analytics_data->'ids'->>'ym_uid' = '77' ORDER BY timestamp DESC LIMIT 1"
    plan = "\n".join(line for (line,) in asked(url, "EXPLAIN " + query))
    assert "idx_user_analytics_ym_uid" in plan


def test_an_index_that_was_left_half_built_is_built_again(url: str) -> None:
    with old_transaction(url), psycopg.connect(url, autocommit=True) as failing:
        failing.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            failing.execute(INDEXES[0].statement)
    assert valid(url) == {NAMES[0]: False}
    told: list[str] = []
    build_missing(url, told.append)
    assert told[0] == f"{NAMES[0]} was left half-built; it is built again"
    assert valid(url) == dict.fromkeys(NAMES, True)
    build_missing(url, told.append)
    assert len(told) == 1 + len(INDEXES)


def test_two_migrators_at_once_build_each_index_once(url: str) -> None:
    told: list[str] = []
    with old_transaction(url):
        first, failures = in_background(lambda: migrate(url, told.append))
        until(lambda: building(url))
        second, others = in_background(lambda: migrate(url, told.append))
        until(lambda: "another `goalpost migrate` is building indexes; waiting for it" in told)
    first.join(60)
    second.join(60)
    assert failures + others == []
    assert valid(url) == dict.fromkeys(NAMES, True)
    assert sum(line.startswith("built") for line in told) == len(INDEXES)


def test_an_index_of_the_sites_own_that_serves_as_well_is_enough(url: str) -> None:
    asked(url, "CREATE INDEX own ON user_analytics (session_id, id)")
    asked(url, "CREATE INDEX visitor ON user_analytics ((analytics_data -> 'ids' ->> 'ym_uid'))")
    build_missing(url, lambda _: None)
    assert valid(url).keys() == {"own", "visitor", "idx_user_analytics_timestamp"}


def test_however_long_a_value_is_the_site_can_write_it(url: str) -> None:
    junk = "SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 500)"
    migrate(url, lambda _: None)
    asked(url, f"INSERT INTO user_analytics (session_id) {junk}")
    long = f"jsonb_build_object('ids', jsonb_build_object('ym_uid', ({junk})))"
    asked(url, f"INSERT INTO user_analytics (analytics_data) SELECT {long}")
    assert valid(url) == dict.fromkeys(NAMES, True)


def test_an_index_that_cannot_be_built_stops_nothing(url: str) -> None:
    asked(url, "ALTER TABLE user_analytics ALTER COLUMN analytics_data TYPE text")
    told: list[str] = []
    migrate(url, told.append)
    assert valid(url) == {name: True for name in NAMES if name != "idx_user_analytics_ym_uid"}
    (failed,) = [line for line in told if "was not built" in line]
    assert "operator does not exist" in failed
    assert failed.endswith(INDEXES[0].statement.as_string(None))
