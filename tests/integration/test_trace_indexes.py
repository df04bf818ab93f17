"""Whatever `goalpost trace` is asked for, Postgres finds it without reading a large table through."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
import pytest

from goalpost.lineage.question import question
from goalpost.lineage.stored import _AT_PLACE, _NAMED, MOST_EVENTS, stored_rows
from sandbox.stack import Addresses
from schemas.topics import CONVERSIONS, RAW
from sinks.postgres.indexes import INDEXES, build_missing, missing
from sinks.postgres.migrate import Migration, migrate, migrations
from tests.sink_material import fresh_database, opened, register_webhook

# With their payloads more than migration 0016 indexes by itself.
ROWS: Final = 150_000
OURS: Final = [index for index in INDEXES if index.table == "webhook_conversions"]
UPLOAD: Final = uuid.UUID(int=7)

# Rows as they come in a year: eight partitions side by side, one in three with a session, one in ten with a click.
FILL: Final = """
INSERT INTO webhook_conversions (id, webhook_id, status, stage, order_id, session_id, client_id, yclid, raw_partition,
    raw_offset, conversion_partition, conversion_offset, counter_id, target, price, payload, occurred_at, received_at)
SELECT md5(n::text)::uuid, %(webhook)s, 'sent', 'processed', 'order-' || n,
       CASE WHEN n %% 3 = 0 THEN 'session-' || n END, '17' || n, CASE WHEN n %% 10 = 0 THEN '99' || n END,
       n %% 8, n / 8, n %% 8, n / 8, %(counter)s, 'deal_won', 1,
       jsonb_build_object('text', repeat(md5(n::text), 8)), now(), now()
FROM generate_series(1, %(rows)s) AS n
"""


@pytest.fixture(scope="module")
def large(stack: Addresses) -> Iterator[str]:
    """A database with many conversions that were there before migration 0016."""
    with fresh_database(stack.database_url, migrated=False) as url:
        migrate(url, lambda _: None, _without_indexes())
        with opened(url) as connection:
            registered = register_webhook(connection)
            connection.execute("SET session_replication_role = replica")  # no audit trail of what never happened
            connection.execute(FILL, {"webhook": registered.webhook_id, "counter": registered.counter_id, "rows": ROWS})
        migrate(url, lambda _: None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE webhook_conversions")
        yield url


def _without_indexes() -> tuple[Migration, ...]:
    return tuple(one for one in migrations() if one.name != "trace_indexes")


def test_a_table_that_is_large_already_gets_its_indexes_while_it_is_written(large: str) -> None:
    with opened(large) as connection:
        assert missing(connection) == ()
        size = connection.execute("SELECT pg_relation_size('webhook_conversions')").fetchone()
    assert size is not None
    assert int(str(size[0])) > 64 * 1024 * 1024


def test_a_small_table_gets_them_from_the_migration_alone_as_the_supabase_cli_runs_it(stack: Addresses) -> None:
    with fresh_database(stack.database_url, migrated=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for migration in migrations():
                connection.execute(migration.sql.encode())
        with opened(url) as connection:
            assert [index.name for index in missing(connection) if index in OURS] == []


def test_what_is_missing_is_built_and_a_second_look_builds_nothing(stack: Addresses) -> None:
    with fresh_database(stack.database_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for index in OURS:
                connection.execute(f"DROP INDEX {index.name}".encode())
        told: list[str] = []
        build_missing(url, told.append)
        build_missing(url, told.append)

        assert told == [f"built {index.name} on webhook_conversions: it {index.purpose}" for index in OURS]


def test_no_way_to_ask_reads_the_table_through(large: str) -> None:
    asked = question("17500")
    named = {
        "ids": sorted(asked.event_ids([str(uuid.uuid4()) for _ in range(20)])),
        "orders": sorted(asked.orders),
        "text": asked.text,
        "identity": UPLOAD,
        "most": MOST_EVENTS + 1,
    }
    place = {"partition": 3, "offset": 500, "most": MOST_EVENTS + 1}
    with opened(large) as connection:
        connection.execute("SET enable_seqscan = off")

        def plan_of(query: str, given: Mapping[str, Any]) -> str:
            return "\n".join(str(line) for (line,) in connection.execute(f"EXPLAIN {query}".encode(), given))

        plans = {"named": plan_of(_NAMED, named)}
        plans |= {topic: plan_of(query, place) for topic, query in _AT_PLACE.items()}
    for name, plan in plans.items():
        assert "Seq Scan on webhook_conversions" not in plan, f"{name}:\n{plan}"
    (index,) = OURS
    assert all(index.name in plan for plan in plans.values())
    for column in ("session_id", "client_id", "yclid"):
        assert f"Index Cond: ({column} = " in plans["named"]


@pytest.mark.parametrize(
    "asked",
    [
        "order-3000",
        "session-3000",
        "173000",
        "993000",
        f"{RAW.name}:0:375",
        f"{CONVERSIONS.name}:0:375",
        "s:session-3000",
    ],
)
def test_each_way_to_ask_finds_the_row(large: str, asked: str) -> None:
    (row,) = stored_rows(large, question(asked))

    assert row.order_id == "order-3000"


def test_the_migration_and_the_builder_make_the_same_index(stack: Addresses) -> None:
    definitions = []
    for drop in (False, True):
        with fresh_database(stack.database_url) as url:
            with psycopg.connect(url, autocommit=True) as connection:
                if drop:
                    connection.execute("DROP INDEX idx_webhook_conversions_trace")
            build_missing(url, lambda _: None)
            with psycopg.connect(url, autocommit=True) as connection:
                definitions += connection.execute(
                    "SELECT pg_get_indexdef('idx_webhook_conversions_trace'::regclass)"
                ).fetchall()
    assert len(set(definitions)) == 1
