"""The Postgres sink on a bad line: answers that are lost, and a server that is there and says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from psycopg import conninfo

from runtime import postgres
from runtime.postgres import Answers
from schemas.events import Conversion
from tests.integration.test_postgres_sink import World, _each_goal_once, _site_rows, eventually, world
from tests.proxy import Proxy
from tests.sink_material import conversion

__all__ = ["world"]


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    given = conninfo.conninfo_to_dict(world.database)
    with Proxy((str(given["host"]), int(str(given["port"])))) as made:
        yield made


def through(proxy: Proxy, world: World) -> str:
    return conninfo.make_conninfo(world.database, port=proxy.port)


def done(world: World, events: Sequence[Conversion]) -> bool:
    return world.stored(events) == len(events) and world.lag() == 0


def test_whichever_answer_is_lost_every_conversion_and_goal_is_there_once(world: World, proxy: Proxy) -> None:
    """The answer to COMMIT above all: what the sink takes for failed is stored already."""
    rows = _site_rows(world, 5)
    events: list[Conversion] = []
    with world.sink(database_url=through(proxy, world)):
        for said in (b"COMMIT", b"INSERT INTO webhook_conversions", b"NOTIFY goalpost_stored", b"COMMIT"):
            lost = proxy.lose_answer_to(said)
            batch = [conversion(world.registered, row_id=row, session_missing=False) for row in rows]
            world.sender.send([world.record(event) for event in batch])
            events.extend(batch)
            eventually(lost.is_set, f"the answer to {said!r} is lost")
            eventually(lambda: done(world, events), "all is stored again")
    _each_goal_once(world, rows, events)


def test_a_server_that_stands_still_is_an_obstacle_and_the_sink_goes_on_by_itself(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_SILENCE_SECONDS", 0.2)
    answers = Answers(lambda: 1.0)
    rows = _site_rows(world, 5)
    events = [conversion(world.registered, row_id=row, session_missing=False) for row in rows]
    with world.sink(database_url=through(proxy, world), answers=answers) as loop:
        eventually(lambda: loop.obstacles() == {}, "it is ready")
        with proxy.standing_still():
            world.sender.send([world.record(event) for event in events])
            eventually(lambda: "no answer" in answers.obstacles().get("postgres", ""), "it owes an answer")
            eventually(lambda: "NoAnswer" in loop.obstacles().get("PostgresUnavailable", ""), "it is given up")
        eventually(lambda: done(world, events), "it goes on")
        eventually(lambda: loop.obstacles() == answers.obstacles() == {}, "and is ready again")
    _each_goal_once(world, rows, events)
