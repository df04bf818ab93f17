"""Conversions, sessions and databases for tests of the Postgres sink: valid by default, override what matters."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import psycopg
from psycopg import conninfo, sql

from schemas.events import Conversion, Session
from sinks.postgres.connection import Connection, connect
from sinks.postgres.migrate import migrate
from sinks.postgres.rows import PlacedConversion

AT: Final = 1_763_790_000_123  # 2025-11-22T05:40:00.123Z
_places = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The ids that a conversion has to name."""

    webhook_id: str
    counter_id: str


NOBODY: Final = Registered(webhook_id=str(uuid.UUID(int=1)), counter_id=str(uuid.UUID(int=2)))


def conversion(registered: Registered = NOBODY, **over: Any) -> Conversion:
    """A conversion without a session, with an id of its own."""
    values: dict[str, Any] = {
        "event_id": str(uuid.uuid4()),
        "webhook_id": registered.webhook_id,
        "counter_id": registered.counter_id,
        "metrika_counter_id": 12_345_678,
        "source": "generic",
        "received_at": AT,
        "occurred_at": AT,
        "resolved_at": AT,
        "session_missing": True,
        "creates_row": False,
        "target": "payment_success",
        "price": Decimal("5000.0000"),
        "deadline_at": AT,
        "payload": '{"goal_name": "payment_success"}',
        "goal_rule": "payload",
        "rules_changed_at": AT,
        "attempts": 0,
        "raw_partition": 3,
        "raw_offset": 7,
    }
    return Conversion(**{**values, **over})


def session(row_id: str, data: Any = None, **over: Any) -> Session:
    """A session whose row goalpost creates."""
    values: dict[str, Any] = {
        "session_id": f"session of {row_id}",
        "row_id": row_id,
        "session_at": AT,
        "last_visit_at": AT,
        "received_at": AT,
        "creates_row": True,
        "analytics_data": json.dumps({} if data is None else data),
    }
    return Session(**{**values, **over})


def placed(*conversions: Conversion) -> list[PlacedConversion]:
    """Conversions, each at a place of its own."""
    return [PlacedConversion(conversion=one, partition=0, offset=next(_places)) for one in conversions]


@contextmanager
def fresh_database(server_url: str, *before: str, migrated: bool = True) -> Iterator[str]:
    """The address of a database of one's own on a running server; ``before`` runs ahead of the migrations."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = conninfo.make_conninfo(server_url, dbname=name)
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in before:
                    connection.execute(statement)
            if migrated:
                migrate(url, lambda _: None)
            yield url
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def opened(database_url: str) -> Iterator[Connection]:
    """A connection as the sink makes it."""
    with connect(database_url, application_name="test") as connection:
        yield connection


def register_webhook(connection: Connection) -> Registered:
    """Write an account, a counter and a webhook."""
    row = connection.execute(
        """
        WITH person AS (INSERT INTO auth.users DEFAULT VALUES RETURNING id),
        account AS (INSERT INTO yandex_accounts (user_id, yandex_uid, access_token)
                    SELECT id, '1', 'sealed:' FROM person RETURNING id),
        counter AS (INSERT INTO metrika_counters (account_id, counter_id) SELECT id, 12345678 FROM account RETURNING id)
        INSERT INTO offline_webhooks (counter_id, url) SELECT id, 'http://127.0.0.1/' FROM counter
        RETURNING id::text, counter_id::text
        """
    ).fetchone()
    assert row is not None
    return Registered(webhook_id=str(row[0]), counter_id=str(row[1]))


def analytics_row(connection: Connection, row_id: str) -> Mapping[str, Any] | None:
    """A row of ``user_analytics`` as a dictionary, by its id as text."""
    row = connection.execute(
        "SELECT session_id, timestamp, analytics_data FROM user_analytics WHERE id::text = %s", (row_id,)
    ).fetchone()
    return None if row is None else dict(zip(("session_id", "timestamp", "analytics_data"), row, strict=True))


def goals(connection: Connection, row_id: str) -> list[Any]:
    """The goals of a row."""
    row = analytics_row(connection, row_id)
    assert row is not None
    listed = row["analytics_data"]["target_actions"]["yandex_goals_triggered"]
    assert isinstance(listed, list)
    return listed
