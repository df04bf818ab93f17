"""Many letters: what a scan and a dry run take in time and memory. ``DLQ_SCALE_LETTERS=100000`` for more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runtime import kafka
from sandbox.stack import Addresses
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.records import Incoming, Outgoing
from schemas.topics import JOIN_APP, RAW
from tests.integration.offsets import finish

LETTERS = int(os.environ.get("DLQ_SCALE_LETTERS", "10000"))
# Buffers of the client and of SQLite fill up to their limits; a list of letters would be a kilobyte for each.
MOST_GROWTH_MB = 25
REASON = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.RESOLVE, message="no session", attempts=6)


@dataclass(frozen=True)
class Outcome:
    """What a command said, how long it took and how much memory it had at most."""

    output: str
    seconds: float
    megabytes: float


@pytest.fixture(scope="module", autouse=True)
def _not_the_joins_work(stack: Addresses) -> Iterator[None]:
    """What is replayed here is no event: a join that met so much of it would stop, and rightly."""
    yield
    finish(stack.kafka_bootstrap_servers, JOIN_APP, RAW)


@pytest.fixture
def environment(stack: Addresses) -> dict[str, str]:
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": stack.database_url,
    }


def _letters(webhook_id: str, count: int) -> Iterator[Outgoing]:
    for number in range(count):
        event_id = str(uuid.uuid4())
        record = Incoming(
            topic=RAW.name,
            partition=3,
            offset=number,
            timestamp=1,
            key=f"s:{event_id}".encode(),
            value=b"x" * 400,
            headers=(("event_id", event_id.encode()), ("webhook_id", webhook_id.encode())),
        )
        yield letter_for(record, REASON, topic=RAW.dead_letters, now_ms=1, letter_id=uuid.uuid4())


# Its own word for its memory: what wait4 says of a child includes what the parent had when it was made.
PROGRAM = """
import sys
from pathlib import Path
from goalpost.cli import main
try:
    main()
finally:
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(peak.split()[1], file=sys.stderr)
"""


def _goalpost(environment: dict[str, str], *arguments: str) -> Outcome:
    began = time.monotonic()
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Outcome(done.stdout, time.monotonic() - began, int(done.stderr.split()[-1]) / 1024)


def _measured(environment: dict[str, str], webhook_id: str, letters: int) -> dict[str, Outcome]:
    commands = {"ls": ("ls", "--json"), "dry run": ("replay", "--json")}
    found = {}
    for what, arguments in commands.items():
        found[what] = one = _goalpost(environment, "dlq", *arguments, "--webhook", webhook_id)
        rate = letters / one.seconds
        print(
            f"{what}: {letters} letters in {one.seconds:.1f} s ({rate:.0f}/s, start included), {one.megabytes:.0f} MB"
        )
    return found


@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_letters(stack: Addresses, environment: dict[str, str]) -> None:
    """Measured before the many letters are there and after: whoever scans a topic reads all of it, selected or not."""
    sender = kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-scale"))
    few, many = str(uuid.uuid4()), str(uuid.uuid4())
    sender.send(_letters(few, LETTERS // 10))
    small = _measured(environment, few, LETTERS // 10)
    for _ in range(10):
        sender.send(_letters(many, LETTERS // 10))

    large = _measured(environment, many, LETTERS)

    assert [group["open"] for group in json.loads(large["ls"].output)["groups"]] == [LETTERS]
    assert json.loads(large["dry run"].output)["counts"]["republish"] == LETTERS
    for what, one in large.items():
        assert one.megabytes - small[what].megabytes < MOST_GROWTH_MB, what
