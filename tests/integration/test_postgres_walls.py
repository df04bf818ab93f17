"""Walls of rows that Postgres refuses: one sender's become its dead letters while the others' conversions flow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from goalpost.cluster import records
from schemas.events import Conversion
from schemas.records import WEBHOOK_ID_HEADER, Outgoing, header
from schemas.topics import CONVERSIONS, POSTGRES_SINK_GROUP
from sinks.postgres.connection import connect
from sinks.postgres.sieve import CONDITIONS, Tried
from sinks.postgres.trouble import Trouble, trouble_of
from sinks.postgres.writer import Writer
from tests.integration.test_postgres_sink import World, _site_rows, eventually, world
from tests.sink_material import Registered, conversion, opened, placed, register_webhook, session

__all__ = ["world"]

WALL = 750  # more in a row than GOALPOST_REJECT_RUN
NO_ROW = "ALTER TABLE webhook_conversions ADD CONSTRAINT no_walls CHECK (target <> 'wall')"
# Of the site's own: it refuses a goal only when that is written into its row.
NO_GOAL = """
CREATE FUNCTION no_walls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.analytics_data::text LIKE '%"wall"%' THEN RAISE EXCEPTION 'no walls'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER no_walls BEFORE UPDATE ON user_analytics FOR EACH ROW EXECUTE FUNCTION no_walls();
"""


def _sent(world: World, events: Sequence[Conversion]) -> None:
    world.sender.send(
        Outgoing(
            topic=CONVERSIONS.name,
            key=event.event_id.encode(),
            value=world.conversions.encode(event),
            headers=(("event_id", event.event_id.encode()), (WEBHOOK_ID_HEADER, event.webhook_id.encode())),
        )
        for event in events
    )


def _wall(sender: Registered, *, rows: Sequence[str | None] = (None,), count: int = WALL) -> list[Conversion]:
    return [
        conversion(sender, target="wall", row_id=rows[n % len(rows)], session_missing=rows[0] is None)
        for n in range(count)
    ]


def _webhook(world: World) -> Registered:
    with opened(world.database) as connection:
        return register_webhook(connection)


def _execute(world: World, statement: str) -> None:
    with psycopg.connect(world.database, autocommit=True) as connection:
        connection.execute(statement.encode())


def _letters_of(world: World, sender: Registered) -> int:
    found = records(world.stack.kafka_bootstrap_servers, [CONVERSIONS.dead_letters])
    return sum(header(one.headers, WEBHOOK_ID_HEADER) == sender.webhook_id for one in found)


@contextmanager
def _process(world: World, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    world.group = POSTGRES_SINK_GROUP
    world.begin_here()
    environment: dict[str, Any] = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": world.stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": world.stack.schema_registry_url,
        "DATABASE_URL": world.database,
        "GOALPOST_POSTGRES_SINK_PORT": "0",
        **settings,
    }
    with log.open("ab") as errors:
        process = subprocess.Popen([sys.executable, "-m", "sinks.postgres"], env=environment, stderr=errors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("cause", [NO_ROW, NO_GOAL], ids=["its own rows", "the site's rows"])
def test_others_are_stored_within_seconds_while_the_wall_of_one_webhook_stands(
    world: World, tmp_path: Path, cause: str
) -> None:
    victim = _webhook(world)
    rows = _site_rows(world, 5) if cause is NO_GOAL else [None]
    _execute(world, cause)
    waits = []
    with _process(world, tmp_path / "log") as process:
        first = conversion(victim)
        _sent(world, [first])
        eventually(lambda: world.stored([first]) == 1, "the sink works")
        for _ in range(3):
            wall, theirs = _wall(world.registered, rows=rows), conversion(victim)
            _sent(world, [*wall[: WALL // 2], theirs, *wall[WALL // 2 :]])
            began = time.monotonic()
            eventually(lambda one=theirs: world.stored([one]) == 1, "the victim's conversion")  # type: ignore[misc]  # a lambda's default has no type
            waits.append(time.monotonic() - began)
        eventually(lambda: world.lag() == 0, "nothing is left")
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 0
    assert max(waits) < 5
    assert _letters_of(world, world.registered) == 3 * WALL
    assert _letters_of(world, victim) == 0
    assert "rejects.too_many" not in (tmp_path / "log").read_text()


def test_a_stop_is_obeyed_in_the_middle_of_a_wall_and_nothing_of_it_is_lost(world: World, tmp_path: Path) -> None:
    """Each try at the site's row takes a while, so that to tell four hundred apart would take most of a minute."""
    _execute(world, NO_GOAL.replace("RAISE EXCEPTION", "PERFORM pg_sleep(0.1); RAISE EXCEPTION"))
    wall = _wall(world.registered, rows=_site_rows(world, 1), count=400)
    with _process(world, tmp_path / "log") as process:
        _sent(world, wall)
        eventually(lambda: _asks(world), "the sink tells bad rows apart")
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 0
    assert world.lag() > 0
    _execute(world, "DROP TRIGGER no_walls ON user_analytics")
    with world.sink():
        eventually(lambda: world.lag() == 0, "the rest is written")
    assert world.stored(wall) + _letters_of(world, world.registered) == 400


def _asks(world: World) -> bool:
    query = """
        SELECT EXISTS (SELECT FROM pg_stat_activity
                       WHERE query LIKE '%pg_temp.refused_records($1%' AND pid <> pg_backend_pid())
    """
    with psycopg.connect(world.database) as connection:
        row = connection.execute(query).fetchone()
        return row is not None and bool(row[0])


def test_a_wall_across_webhooks_stops_the_stage_and_a_stop_is_obeyed_meanwhile(world: World, tmp_path: Path) -> None:
    other = _webhook(world)
    _execute(world, NO_ROW)
    with _process(world, tmp_path / "log", GOALPOST_BATCH_ROWS="5000") as process:
        first = conversion(other)
        _sent(world, [first])
        eventually(lambda: world.stored([first]) == 1, "the sink works")
        _sent(world, [one for pair in zip(_wall(world.registered), _wall(other), strict=True) for one in pair])
        eventually(lambda: "rejects.too_many" in (tmp_path / "log").read_text(), "the sink says that it stands")
        process.send_signal(signal.SIGTERM)
        assert process.wait(25) == 0
    assert world.lag() > 0


def test_refused_records_are_told_apart_from_the_others_in_one_question(world: World) -> None:
    _execute(world, NO_ROW)
    _execute(world, NO_GOAL)
    (row,) = _site_rows(world, 1)
    bad_goal = replace(conversion(world.registered, row_id=row), occurred_at=10**16)
    bad_site = session(str(uuid.uuid4()), {"name": "wall"})
    batch: list[Tried] = [
        *placed(*(conversion(world.registered, row_id=row) for _ in range(50))),
        *placed(conversion(world.registered)),
        session(str(uuid.uuid4())),
        *placed(conversion(), *_wall(world.registered, count=50), bad_goal),
        bad_site,
        session("no uuid"),
    ]
    with connect(world.database, application_name="test") as connection:
        found = Writer(connection).refusals(batch)
        assert connection.execute("SELECT count(*) FROM webhook_conversions").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM user_analytics").fetchone() == (1,)
    assert [found[index].text for index in sorted(found)] == [
        "ForeignKeyViolation 23503 webhook_conversions webhook_conversions_webhook_id_fkey",
        *["CheckViolation 23514 webhook_conversions no_walls"] * 50,
        "date value out of range",
        "RaiseException P0001",
        "the session's row id is no uuid, which user_analytics.id is",
    ]
    assert min(found) == 52


def test_the_question_covers_every_class_of_bad_data() -> None:
    classes = {psycopg.errors.lookup(code).sqlstate: code for code in ("21000", "22000", "23000", "44000", "54000")}
    assert all(trouble_of(code) is Trouble.BAD_DATA for code in [*classes, "P0001", "428C9"])
    assert len(CONDITIONS) == len(classes) + 3
