"""Hundreds of records of every kind that Kafka takes, on a real stack: every process lives, every command answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition

from goalpost.cli import main
from goalpost.cluster import records
from producers.fetching.__main__ import GROUP as FETCH_GROUP
from producers.raw_events import unfetched_record
from runtime import kafka
from runtime.registry import Registry
from runtime.vault import generate_key
from sandbox.stack import Addresses
from schemas.codec import frame
from schemas.contracts import CONTRACTS, UNFETCHED_EVENTS
from schemas.records import Headers, header
from schemas.topics import (
    CONVERSIONS,
    DEAD_LETTERS,
    JOIN_APP,
    POSTGRES_SINK_GROUP,
    QUARANTINE,
    RAW,
    REJECTED,
    REPLAYS,
    SESSIONS,
    UNFETCHED,
    WAITING,
    WEBHOOKS,
    topic_named,
)
from tests import hostile
from tests.integration.join_world import World, eventually, working
from tests.stack import running_stack

SECONDS: Final = 90.0
_MEGABYTES: Final = 3 * 1000 * 1000
RAW_LETTERS: Final = topic_named(RAW.dead_letters)
_READ: Final = (RAW, SESSIONS, WAITING, CONVERSIONS, UNFETCHED, WEBHOOKS)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A stack of its own: what is written here would stand in the way of other tests."""
    with running_stack(tmp_path_factory.mktemp("hostile")) as addresses:
        yield addresses


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of ours and its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def lives(self) -> bool:
        """Whether it is still the process that was started."""
        return self.popen.poll() is None


@contextmanager
def _running(folder: Path, environment: dict[str, str], *modules: str) -> Iterator[list[Process]]:
    processes: list[Process] = []
    try:
        for module in modules:
            log = folder / f"{module}.log"
            with log.open("wb") as written:
                popen = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=written)
            processes.append(Process(name=module, popen=popen, log=log))
        yield processes
    finally:
        for process in processes:
            process.popen.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.popen.wait(30)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait(30)


def _values(registry: Registry, topic: str) -> list[bytes | None]:
    """Values for a topic: of nobody's making, of our schema's id, of foreign schemas, of none."""
    ours = next(registry.codec(contract).schema_id for contract in CONTRACTS if contract.topic.name == topic)
    itself = json.dumps(
        {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"], "default": None}]}
    )
    nulls = json.dumps(
        {"type": "record", "name": "M", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    )
    foreign = [registry.register(f"test-{uuid.uuid4()}", text) for text in (itself, nulls)]
    return [
        *hostile.VALUES[:8],
        *(frame(ours, pattern * _MEGABYTES) for pattern in (b"\xff", b"\0")),
        *(frame(schema_id, b"\2" * 1_000_000) for schema_id in foreign),
        frame(foreign[1], b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f\0"),
        frame(2**32 - 1, b"x"),
        frame(4242, b"x"),
    ]


def _header_sets() -> list[Headers]:
    forged = (("dlq.original.topic", b"crm.events.raw"), ("dlq.attempts", b"9" * 5000), ("event_id", b"forged"))
    everywhere = [tuple((name, text) for name in hostile.NAMES) for text in (None, b"9" * 5000, b"\xff\xfe", b"-1")]
    doubled = tuple((name, text) for name in hostile.NAMES for text in (b"1", "\u0663".encode()))
    return [forged, *everywhere, doubled, tuple((f"x{number}", b"") for number in range(20_000))]


def _write_all(stack: Addresses) -> int:
    registry = Registry(stack.schema_registry_url)
    client = Producer(
        {
            "bootstrap.servers": stack.kafka_bootstrap_servers,
            "message.max.bytes": 200_000_000,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "batch.num.messages": 1,
        }
    )
    failures: list[str] = []
    written = 0

    def write(topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), **at: Any) -> None:
        nonlocal written
        written += 1
        client.produce(
            topic,
            key=key,
            value=value,
            headers=list(headers),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
            **at,
        )
        client.flush(60)

    for topic in _READ:
        for value in _values(registry, topic.name):
            if value is not None or topic is not SESSIONS:
                write(topic.name, b"s:poison", value)
        for headers in _header_sets():
            write(topic.name, b"s:poison", b"not avro", headers)
    for topic in (RAW, CONVERSIONS):  # batches that are small while they are compressed
        write(topic.name, b"s:poison", b"\0" * 60_000_000)
    for topic in (*DEAD_LETTERS, REJECTED, QUARANTINE, REPLAYS):
        for headers in _header_sets():
            write(topic.name, b"run:1", b'{"run_id": []}', headers)
        for value in hostile.VALUES:
            write(topic.name, b"k", value, timestamp=1)
        write(topic.name, None, b"[" * 1_000_000)
    assert client.flush(60) == 0
    assert failures == []
    odd = [topic.name for topic in (*_READ, *DEAD_LETTERS, REJECTED, QUARANTINE, REPLAYS)]
    subprocess.run([sys.executable, "-m", "tests.odd_header", stack.kafka_bootstrap_servers, *odd], check=True)
    return written + len(odd)


def _is_read(servers: str, group: str, topic: str) -> bool:
    """Whether a group has committed all but the last record, which may wait for a portal."""
    return _lag(servers, group, topic) <= 1


def _lag(servers: str, group: str, topic: str) -> int:
    client = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    with closing(client):
        places = [TopicPartition(topic, one) for one in kafka.partitions_of(client, topic)]
        committed = {place.partition: max(place.offset, 0) for place in client.committed(places, timeout=10)}
        ends = kafka.end_offsets(client, topic, list(committed))
        return sum(end - committed[partition] for partition, end in ends.items())


def test_no_record_ends_or_hangs_a_process_or_a_command(stack: Addresses, tmp_path: Path) -> None:
    servers = stack.kafka_bootstrap_servers
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GOALPOST_")},
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": stack.database_url,
        "GOALPOST_SECRET_KEY": generate_key(),
        "GOALPOST_POSTGRES_SINK_PORT": "0",
        "GOALPOST_FETCH_PORT": "0",
    }
    world = World(servers, stack.schema_registry_url)
    assert _write_all(stack) > 400
    # Events of every partition, behind everything else.
    events = [world.event(ym_uid=str(1_790_000_000_000_000_000 + number), session_id=None) for number in range(40)]
    world.report(*events)
    note = world.event(order_id="410")
    world.sender.send([unfetched_record(note, Registry(stack.schema_registry_url).codec(UNFETCHED_EVENTS))])

    with (
        _running(tmp_path, environment, "sinks.postgres", "producers.fetching") as others,
        working(world, tmp_path / "state") as worker,
    ):
        wanted = {event.event_id for event in events}
        eventually(
            "the conversions of good events behind bad ones",
            lambda: {header(one.headers, "event_id") for one in world.records(CONVERSIONS.name, wanted)} == wanted,
            seconds=SECONDS,
        )
        for group, topic in ((JOIN_APP, RAW), (POSTGRES_SINK_GROUP, CONVERSIONS), (POSTGRES_SINK_GROUP, SESSIONS)):
            read = partial(_is_read, servers, group, topic.name)
            eventually(f"{group} at the end of {topic.name}", read, SECONDS)
        eventually("the notes were read", partial(_is_read, servers, FETCH_GROUP, UNFETCHED.name), SECONDS)
        assert worker.process.poll() is None
        for process in others:
            assert process.lives(), process.log.read_text()[-3000:]

    letters = list(records(servers, [RAW.dead_letters]))
    assert {header(one.headers, "dlq.attempts") for one in letters if header(one.headers, "dlq.stage") == "decode"} >= {
        "1"
    }
    assert any(header(one.headers, "dlq.cut") == "value" for one in letters)
    _every_command_answers(environment)


def _every_command_answers(environment: dict[str, str]) -> None:
    commands = [
        *(["topics", "read", topic.name] for topic in (*_READ, RAW_LETTERS, REJECTED, QUARANTINE, REPLAYS)),
        *(["topics", "check"], ["dlq", "ls"], ["dlq", "ls", "--json"], ["dlq", "runs"], ["dlq", "runs", "--json"]),
        *(["dlq", "show", f"{RAW_LETTERS.name}:0:{offset}", "--reveal"] for offset in range(0, 40, 9)),
        *(["dlq", "show", f"{REJECTED.name}:0:{offset}", "--reveal", "--json"] for offset in range(18, 34, 4)),
        *(["dlq", "show", f"{RAW_LETTERS.name}:0:{'9' * 5000}"], ["dlq", "show", f"{RAW_LETTERS.name}:\u0663:1"]),
        *(["dlq", "replay"], ["dlq", "replay", "--json", "--discarded"], ["dlq", "replay", "--set", "goal_name=x"]),
        ["dlq", "replay", "--execute", "--stop-after", "100000", "--topic", UNFETCHED.dead_letters],
        *(["dlq", "discard", "--reason", "poison", *flags] for flags in ([], ["--execute"])),
        *(["quarantine", "ls"], ["quarantine", "ls", "--json"], ["quarantine", "retry", "--execute"]),
        *(["trace", "forged"], ["trace", "410", "--json"], ["ledger", "--json"]),
        *(["erase", "--ym-uid", "1", "--reason", "test"], ["sessions", "backfill"]),
        *(["admin", "webhook", "list"], ["admin", "webhook", "publish"], ["doctor"], ["doctor", "--json"]),
    ]
    for command in commands:
        found = CliRunner().invoke(main, command, env=environment)
        problem = found.exception
        assert problem is None or isinstance(problem, SystemExit), (command, repr(problem), found.output[-500:])
        assert found.exit_code in (0, 1, 2), (command, found.output[-500:])
        assert "Traceback" not in found.output, command
