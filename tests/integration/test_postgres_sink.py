"""The Postgres sink between a real Kafka and a real Postgres: crashes, outages, rebalances and poison."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, ConsumerGroupState, TopicPartition
from psycopg import conninfo, sql

from runtime import kafka
from runtime.breaker import Breaker, Limits
from runtime.lifecycle import Heartbeat, Stop
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RESOLVED_CONVERSIONS, WEB_SESSIONS
from schemas.events import Conversion, Session
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, POSTGRES_SINK_GROUP, SESSIONS
from sinks.consumer import SinkLoop
from sinks.postgres.connection import connect
from sinks.postgres.sink import Content, PostgresSink
from tests.sink_material import Registered, conversion, fresh_database, goals, opened, register_webhook, session

SECONDS = 60.0


@dataclass(kw_only=True)
class World:
    """A database of one's own behind the stack's Kafka, and a group that begins where the topics end now."""

    stack: Addresses
    database: str
    registered: Registered
    group: str = field(default_factory=lambda: f"test-{uuid.uuid4()}")

    def __post_init__(self) -> None:
        self.registry = Registry(self.stack.schema_registry_url)
        self.conversions = self.registry.codec(RESOLVED_CONVERSIONS)
        self.sessions = self.registry.codec(WEB_SESSIONS)
        self.sender = kafka.Sender(kafka.producer(self.stack.kafka_bootstrap_servers, client_id="test"))

    def begin_here(self) -> None:
        """Make the group start at the topics' ends: what other tests have written is none of its business."""
        client = kafka.consumer(self.stack.kafka_bootstrap_servers, group=self.group, client_id="test")
        ends = []
        for topic in (CONVERSIONS.name, SESSIONS.name):
            found = kafka.end_offsets(client, topic, kafka.partitions_of(client, topic))
            ends += [TopicPartition(topic, partition, offset) for partition, offset in found.items()]
        client.commit(offsets=ends, asynchronous=False)
        client.close()

    def record(self, event: Conversion, value: bytes | None = None) -> Outgoing:
        key = session_key(event.session_id or event.event_id)
        return Outgoing(topic=CONVERSIONS.name, key=key, value=value or self.conversions.encode(event))

    def beacons(self, one: Session) -> list[Outgoing]:
        """Both records of a session, as the front door writes them."""
        own = Outgoing(topic=SESSIONS.name, key=session_key(one.session_id), value=self.sessions.encode(one))
        return [own, Outgoing(topic=SESSIONS.name, key=visitor_key(one.session_id), value=b"not looked at")]

    @contextmanager
    def sink(self, batch_rows: int = 200, **connecting: Any) -> Iterator[SinkLoop[Content]]:
        """A sink in a thread of this process; ``connecting`` may name another way to the database, and its answers."""
        stop = Stop()
        servers = self.stack.kafka_bootstrap_servers
        loop = SinkLoop[Content](
            partial(kafka.consumer, servers, group=self.group, client_id="test", says_ends=True),
            PostgresSink(
                partial(connect, **{"database_url": self.database, "application_name": "test-sink", **connecting}),
                self.registry,
            ),
            self.sender,
            topics=(CONVERSIONS, SESSIONS),
            batch_rows=batch_rows,
            stop=stop,
            heartbeat=Heartbeat(),
            group=self.group,
            breaker=Breaker(Limits(run=500, share=0.8), time.monotonic),
        )
        failed: list[BaseException] = []
        thread = threading.Thread(target=_recorded, args=(loop.run, failed))
        thread.start()
        try:
            yield loop
        finally:
            stop.request()
            thread.join(SECONDS)
            assert not thread.is_alive()
            assert failed == []

    def stored(self, events: Sequence[Conversion]) -> int:
        return self._count("SELECT count(*) FROM webhook_conversions WHERE id = ANY(%s::text[]::uuid[])", events)

    def _count(self, query: str, events: Sequence[Conversion]) -> int:
        with psycopg.connect(self.database) as connection:
            row = connection.execute(query.encode(), ([event.event_id for event in events],)).fetchone()
            assert row is not None
            return int(row[0])

    def committed(self) -> dict[tuple[str, int], int]:
        client = kafka.consumer(self.stack.kafka_bootstrap_servers, group=self.group, client_id="test")
        try:
            places = [
                TopicPartition(topic, partition)
                for topic in (CONVERSIONS.name, SESSIONS.name)
                for partition in kafka.partitions_of(client, topic)
            ]
            return {(one.topic, one.partition): one.offset for one in client.committed(places)}
        finally:
            client.close()

    def lag(self) -> int:
        client = kafka.consumer(self.stack.kafka_bootstrap_servers, group=self.group, client_id="test")
        try:
            return sum(
                kafka.end_offsets(client, topic, [partition])[partition] - offset
                for (topic, partition), offset in self.committed().items()
            )
        finally:
            client.close()


def _recorded(run: Callable[[], None], failed: list[BaseException]) -> None:
    try:
        run()
    except BaseException as exc:  # noqa: BLE001 - reported to the test's own thread
        failed.append(exc)


@pytest.fixture
def world(stack: Addresses) -> Iterator[World]:
    with fresh_database(stack.database_url) as url:
        with opened(url) as connection:
            registered = register_webhook(connection)
        made = World(stack=stack, database=url, registered=registered)
        made.begin_here()
        yield made


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def letters(stack: Addresses, topic: str, wanted: Callable[[Incoming], bool], count: int) -> list[Incoming]:
    """The dead letters that are wanted, read from the beginning."""
    client: Consumer = kafka.consumer(stack.kafka_bootstrap_servers, group=f"test-{uuid.uuid4()}", client_id="test")
    client.assign([TopicPartition(topic, 0, 0)])
    found: list[Incoming] = []
    deadline = time.monotonic() + SECONDS
    while len(found) < count and time.monotonic() < deadline:
        message = client.poll(0.2)
        if message is not None and message.error() is None and wanted(kafka.incoming(message)):
            found.append(kafka.incoming(message))
    client.close()
    assert len(found) == count
    return found


def test_conversions_and_sessions_end_in_the_same_rows_whichever_comes_first(world: World) -> None:
    rows = [str(uuid.uuid4()) for _ in range(2)]
    beacons = [session(row, {"ids": {"ym_uid": "17"}}, session_id=f"s-{row}") for row in rows]
    events = [
        conversion(world.registered, row_id=row, creates_row=True, session_id=f"s-{row}", session_missing=False)
        for row in rows
    ]
    with world.sink():
        world.sender.send([*world.beacons(beacons[0]), world.record(events[1])])
        eventually(lambda: world.stored(events) == 1 and world.lag() == 0, "the first two records")
        world.sender.send([*world.beacons(beacons[1]), world.record(events[0])])
        eventually(lambda: world.lag() == 0, "the other two records")
    with opened(world.database) as connection:
        for row, event in zip(rows, events, strict=True):
            assert [goal["event_id"] for goal in goals(connection, row)] == [event.event_id]
            found = connection.execute(
                "SELECT session_id, analytics_data -> 'ids' ->> 'ym_uid' FROM user_analytics WHERE id = %s", (row,)
            ).fetchone()
            assert found == (f"s-{row}", "17")


def test_poison_becomes_dead_letters_and_everything_else_is_stored(world: World) -> None:
    good = [conversion(world.registered) for _ in range(50)]
    unknown = conversion()
    nul = conversion(world.registered, payload='{"nul": "\\u0000"}')
    garbage = conversion()
    beacon = session("no uuid", session_id=f"poison-{uuid.uuid4()}")
    records = [world.record(event) for event in [*good[:25], unknown, nul, *good[25:]]]
    records += [world.record(garbage, value=b"garbage"), *world.beacons(beacon)]
    keys = {session_key(one.event_id) for one in (unknown, nul, garbage)}
    with world.sink():
        world.sender.send(records)
        eventually(lambda: world.stored(good) == 50 and world.lag() == 0, "all good conversions, nothing left")
    refused = letters(world.stack, CONVERSIONS.dead_letters, lambda one: one.key in keys, 3)
    classes = {one.key: header(one.headers, "dlq.error.class") for one in refused}
    assert classes == {
        session_key(unknown.event_id): "row_refused",
        session_key(nul.event_id): "row_refused",
        session_key(garbage.event_id): "undecodable",
    }
    (letter,) = [one for one in refused if one.key == session_key(unknown.event_id)]
    assert letter.value == world.conversions.encode(unknown)
    assert "webhook_conversions_webhook_id_fkey" in str(header(letter.headers, "dlq.error.message"))
    (session_letter,) = letters(
        world.stack, SESSIONS.dead_letters, lambda one: one.key == session_key(beacon.session_id), 1
    )
    assert header(session_letter.headers, "dlq.error.class") == "row_refused"
    assert world.stored([unknown, nul]) == 0


def test_while_postgres_is_down_the_sink_stays_in_its_group_and_loses_nothing(world: World) -> None:
    events = [conversion(world.registered) for _ in range(300)]
    name = conninfo.conninfo_to_dict(world.database)["dbname"]
    with psycopg.connect(world.stack.database_url, autocommit=True) as server, world.sink() as loop:
        world.sender.send([world.record(event) for event in events[:100]])
        eventually(lambda: world.stored(events) == 100, "the first hundred")
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(str(name))))
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        world.sender.send([world.record(event) for event in events[100:]])
        eventually(lambda: "PostgresUnavailable" in loop.obstacles(), "the sink says what it waits for")
        member = _members(world)
        time.sleep(11)  # longer than session.timeout.ms: whoever does not poll is put out of the group
        assert _members(world) == member
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(str(name))))
        eventually(lambda: world.stored(events) == 300, "all conversions")
        eventually(lambda: world.lag() == 0 and loop.obstacles() == {}, "nothing left to wait for")


def _members(world: World) -> list[str]:
    admin = kafka.admin(world.stack.kafka_bootstrap_servers)
    described = admin.describe_consumer_groups([world.group])[world.group].result(10)
    assert described.state == ConsumerGroupState.STABLE
    return [member.member_id for member in described.members]


def test_workers_that_come_and_go_store_every_conversion_once(world: World) -> None:
    rows = _site_rows(world, 100)
    events = [conversion(world.registered, row_id=rows[n % 100], session_missing=False) for n in range(3000)]
    with world.sink(batch_rows=50):
        world.sender.send([world.record(event) for event in events[:1000]])
        with world.sink(batch_rows=50), world.sink(batch_rows=50):
            world.sender.send([world.record(event) for event in events[1000:2000]])
            eventually(lambda: world.stored(events) > 1200, "some of the second thousand")
        world.sender.send([world.record(event) for event in events[2000:]])
        eventually(lambda: world.stored(events) == 3000 and world.lag() == 0, "all conversions")
    _each_goal_once(world, rows, events)


def _site_rows(world: World, count: int) -> list[str]:
    rows = [str(uuid.uuid4()) for _ in range(count)]
    with psycopg.connect(world.database) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO user_analytics (id, analytics_data) VALUES (%s, '{}')", [(row,) for row in rows]
        )
    return rows


def _each_goal_once(world: World, rows: Sequence[str], events: Sequence[Conversion]) -> None:
    with opened(world.database) as connection:
        appended = [goal["event_id"] for row in rows for goal in goals(connection, row)]
    assert sorted(appended) == sorted(event.event_id for event in events)


def test_a_process_that_is_killed_again_and_again_stores_every_conversion_and_goal_once(world: World) -> None:
    world.group = POSTGRES_SINK_GROUP
    world.begin_here()
    rows = _site_rows(world, 100)
    events = [conversion(world.registered, row_id=rows[n % 100], session_missing=False) for n in range(6000)]
    world.sender.send([world.record(event) for event in events])
    for threshold in (1, 3000):
        with _process(world) as process:
            eventually(lambda at=threshold: world.stored(events) >= at, "some conversions")  # type: ignore[misc]  # a lambda's default has no type
            process.kill()
    with _process(world) as process:
        eventually(lambda: world.stored(events) == 6000 and world.lag() == 0, "all conversions")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    _each_goal_once(world, rows, events)


@contextmanager
def _process(world: World) -> Iterator[subprocess.Popen[bytes]]:
    environment: dict[str, Any] = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": world.stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": world.stack.schema_registry_url,
        "DATABASE_URL": world.database,
        "GOALPOST_POSTGRES_SINK_PORT": "0",
        "GOALPOST_BATCH_ROWS": "100",
    }
    process = subprocess.Popen([sys.executable, "-m", "sinks.postgres"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
