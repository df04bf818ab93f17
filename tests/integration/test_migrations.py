"""Migrations on an empty database, on one like Supabase's, and on one that the seed's own SQL has filled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from sandbox.stack import Addresses
from sinks.postgres.indexes import INDEXES
from sinks.postgres.migrate import (
    ChangedMigration,
    Migration,
    MigrationFailed,
    UnknownMigration,
    migrate,
    migrations,
)
from tests.sink_material import fresh_database

SEED_COLUMNS = {
    "yandex_accounts": {
        "id": "uuid!",
        "user_id": "uuid!",
        "yandex_uid": "text!",
        "access_token": "text!",
        "refresh_token": "text",
        "token_expires_at": "timestamp with time zone",
        "created_at": "timestamp with time zone",
    },
    "metrika_counters": {
        "id": "uuid!",
        "account_id": "uuid!",
        "counter_id": "integer!",
        "name": "text",
        "created_at": "timestamp with time zone",
    },
    "offline_webhooks": {
        "id": "uuid!",
        "counter_id": "uuid!",
        "url": "text!",
        "secret": "text",
        "created_at": "timestamp with time zone",
    },
    "webhook_conversions": {
        "id": "uuid!",
        "webhook_id": "uuid!",
        "counter_id": "uuid!",
        "payload": "jsonb!",
        "status": "text!",
        "metrika_upload_id": "text",
        "error_message": "text",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
    },
    "user_analytics": {
        "id": "uuid!",
        "session_id": "text",
        "analytics_data": "jsonb",
        "timestamp": "timestamp with time zone",
    },
}
OUR_TABLES = (
    "yandex_accounts",
    "metrika_counters",
    "offline_webhooks",
    "webhook_conversions",
    "metrika_uploads",
    "conversion_events",
    "outcome_outbox",
    "analytics_row_versions",
    "session_readings",
    "user_analytics_changes",
    "metrika_request_days",
    "metrika_request_pace",
    "metrika_goals",
    "conversion_amounts",
    "goalpost_migrations",
)
# What Supabase gives its public roles by default, and an auth.users with columns of its own.
SUPABASE = (
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'anon') THEN CREATE ROLE anon; END IF; END $$",
    "GRANT USAGE ON SCHEMA public TO anon",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon",
    "CREATE SCHEMA auth",
    "CREATE TABLE auth.users (id uuid PRIMARY KEY, aud varchar(255) NOT NULL, email varchar(255), phone text)",
)
SEED_WITH_ROWS = """
CREATE TABLE yandex_accounts (id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id),
    yandex_uid TEXT NOT NULL, access_token TEXT NOT NULL, refresh_token TEXT, token_expires_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE metrika_counters (id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id UUID NOT NULL REFERENCES yandex_accounts(id), counter_id INT NOT NULL, name TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE offline_webhooks (id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    counter_id UUID NOT NULL REFERENCES metrika_counters(id), url TEXT NOT NULL, secret TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW());
CREATE TABLE webhook_conversions (id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id UUID NOT NULL REFERENCES offline_webhooks(id), counter_id UUID NOT NULL REFERENCES metrika_counters(id),
    payload JSONB NOT NULL, status TEXT NOT NULL DEFAULT 'pending', metrika_upload_id TEXT, error_message TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(), updated_at TIMESTAMPTZ DEFAULT NOW());
WITH person AS (INSERT INTO auth.users (id, aud) VALUES (gen_random_uuid(), 'authenticated') RETURNING id),
account AS (INSERT INTO yandex_accounts (user_id, yandex_uid, access_token)
            SELECT id, '1', 'clear' FROM person RETURNING id),
counter AS (INSERT INTO metrika_counters (account_id, counter_id) SELECT id, 7 FROM account RETURNING id),
webhook AS (INSERT INTO offline_webhooks (counter_id, url) SELECT id, 'u' FROM counter RETURNING id, counter_id)
INSERT INTO webhook_conversions (webhook_id, counter_id, payload, status)
SELECT id, counter_id, '{"old": true}', status
FROM webhook, unnest(ARRAY['pending', 'sent', 'error', 'retrying']) AS status;
"""


@pytest.fixture
def empty(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url, migrated=False) as url:
        yield url


def columns(url: str, table: str) -> dict[str, str]:
    """Column to type, with an exclamation mark where NULL is refused."""
    query = """
        SELECT column_name, data_type || CASE is_nullable WHEN 'NO' THEN '!' ELSE '' END
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
    """
    with psycopg.connect(url) as connection:
        return {str(name): str(kind) for name, kind in connection.execute(query, (table,))}


def asked(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def test_an_empty_database_gets_the_seeds_tables(empty: str) -> None:
    told: list[str] = []
    done = migrate(empty, told.append)
    assert [one.version for one in done] == [one.version for one in migrations()]
    applied = [f"applied {one.version}_{one.name}" for one in migrations()]
    assert told == applied + [
        f"built {index.name} on user_analytics: it {index.purpose}"
        for index in INDEXES
        if index.table == "user_analytics"
    ]
    for table, expected in SEED_COLUMNS.items():
        found = columns(empty, table)
        assert {name: found.get(name) for name in expected} == expected
    assert columns(empty, "user_analytics").keys() == SEED_COLUMNS["user_analytics"].keys()


def test_the_seeds_own_query_for_monitoring_works(empty: str) -> None:
    migrate(empty, lambda _: None)
    query = "SELECT * FROM webhook_conversions WHERE status = 'error' AND created_at > NOW() - INTERVAL '1 day'"
    assert asked(empty, query) == []


def test_a_second_run_applies_nothing(empty: str) -> None:
    migrate(empty, lambda _: None)
    assert migrate(empty, lambda _: None) == ()


def test_every_file_may_run_again(empty: str) -> None:
    """As when `supabase db push` ran the files before goalpost did."""
    migrate(empty, lambda _: None)
    before = asked(empty, "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2")
    asked(empty, "DELETE FROM goalpost_migrations RETURNING 1")
    assert len(migrate(empty, lambda _: None)) == len(migrations())
    after = asked(empty, "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY 1, 2")
    assert after == before


def test_two_at_once_apply_each_file_once(empty: str) -> None:
    applied: list[Migration] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            applied.extend(migrate(empty, lambda _: None))
        except BaseException as exc:  # noqa: BLE001 - reported to the test's own thread
            failed.append(exc)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert sorted(one.version for one in applied) == [one.version for one in migrations()]


def test_a_request_to_stop_leaves_nothing_in_the_server_that_waits_for_a_lock(empty: str) -> None:
    """The site's own statements would queue behind it."""
    migrate(empty, lambda _: None, migrations()[:1])
    waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = %s"
    name = conninfo.conninfo_to_dict(empty)["dbname"]
    with psycopg.connect(empty) as site, psycopg.connect(empty, autocommit=True) as observer:

        def until(count: int) -> None:
            deadline = time.monotonic() + 60
            while observer.execute(waiting, (name,)).fetchone() != (count,):
                assert time.monotonic() < deadline
                time.sleep(0.05)

        site.execute("LOCK TABLE webhook_conversions")
        command = (sys.executable, "-m", "goalpost", "migrate")
        with subprocess.Popen(command, env=os.environ | {"DATABASE_URL": empty}) as process:
            until(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 1
            until(0)
    assert migrate(empty, lambda _: None)


def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty: str) -> None:
    migrate(empty, lambda _: None)
    first, *others = migrations()
    changed = replace(first, sql=first.sql + "-- one more word\n")
    with pytest.raises(ChangedMigration, match=r"0001_seed_tables\.sql was changed after it was applied on 20"):
        migrate(empty, lambda _: None, (changed, *others))


def test_a_database_ahead_of_the_code_is_refused(empty: str) -> None:
    migrate(empty, lambda _: None)
    with pytest.raises(UnknownMigration, match=migrations()[-1].version):
        migrate(empty, lambda _: None, migrations()[:-1])


def test_a_file_that_fails_is_undone_as_a_whole(empty: str) -> None:
    broken = Migration(version="9999", name="broken", sql="CREATE TABLE half (id int); SELECT 1 FROM nowhere;")
    with pytest.raises(MigrationFailed, match=r'9999_broken.*"nowhere" does not exist'):
        migrate(empty, lambda _: None, (*migrations(), broken))
    assert asked(empty, "SELECT to_regclass('half')") == [(None,)]
    assert len(asked(empty, "SELECT version FROM goalpost_migrations")) == len(migrations())


@pytest.mark.parametrize("id_type", ["uuid", "bigint", "text"])
def test_a_site_with_tables_and_rows_keeps_them(stack: Addresses, id_type: str) -> None:
    key = "gen_random_uuid()" if id_type == "uuid" else "'7'"
    analytics = (
        f"CREATE TABLE user_analytics (id {id_type} PRIMARY KEY, session_id text, analytics_data jsonb, "
        "timestamp timestamptz, own int)"
    )
    row = f"INSERT INTO user_analytics (id, analytics_data, own) VALUES ({key}, '{{\"a\": 1}}', 5)"
    with fresh_database(stack.database_url, *SUPABASE, SEED_WITH_ROWS, analytics, row) as url:
        assert columns(url, "user_analytics").keys() == SEED_COLUMNS["user_analytics"].keys() | {"own"}
        assert asked(url, "SELECT analytics_data, own FROM user_analytics") == [({"a": 1}, 5)]
        assert asked(url, "SELECT relrowsecurity FROM pg_class WHERE relname = 'user_analytics'") == [(False,)]
        assert columns(url, "users") == {}
        kept = asked(url, "SELECT status, stage, payload FROM webhook_conversions ORDER BY status")
        assert kept == [(status, None, {"old": True}) for status in ("error", "pending", "retrying", "sent")]
        asked(url, "UPDATE webhook_conversions SET status = 'sent' WHERE status = 'pending' RETURNING 1")
        trail = asked(url, "SELECT status, stage, previous_stage FROM conversion_events")
        assert trail == [("sent", None, None)]


def test_every_table_of_ours_shows_no_row_without_a_policy(stack: Addresses) -> None:
    with fresh_database(stack.database_url, *SUPABASE) as url:
        protected = asked(url, "SELECT relname FROM pg_class WHERE relrowsecurity ORDER BY relname")
    # Made by goalpost here, so it is closed as well; a site's own table keeps its own rules.
    assert {name for (name,) in protected} == {*OUR_TABLES, "user_analytics"}


def test_every_change_of_a_conversion_leaves_a_trail_that_cannot_be_edited(stack: Addresses) -> None:
    with fresh_database(stack.database_url, *SUPABASE, SEED_WITH_ROWS) as url:
        named = conninfo.make_conninfo(url, application_name="a person")
        taken_in = (
            "UPDATE webhook_conversions SET stage = 'stored', status = 'pending' WHERE status {} 'sent' RETURNING 1"
        )
        asked(named, taken_in.format("<>"))
        with pytest.raises(psycopg.errors.RaiseException, match="another program has sent it"):
            asked(named, taken_in.format("="))
        given_up = "SET stage = 'failed', status = 'error', error_class = 'x' WHERE stage IS NOT NULL RETURNING 1"
        asked(named, f"UPDATE webhook_conversions {given_up}")
        asked(named, "UPDATE webhook_conversions SET updated_at = now() RETURNING 1")
        trail = asked(
            url, "SELECT actor, previous_stage, stage, status, error_class FROM conversion_events ORDER BY id"
        )
        assert trail[-3:] == [("a person", "stored", "failed", "error", "x")] * 3
        assert len(trail) == 6
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            asked(url, "UPDATE conversion_events SET actor = 'nobody'")
