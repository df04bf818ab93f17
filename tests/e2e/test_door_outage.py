"""Kafka is gone while conversions come: every one is answered at once, and none is lost or doubled when it is back.

``DOOR_OUTAGE_SECONDS=60 DOOR_OUTAGE_RATE=500`` is the long form, whose figures are in docs/front-door.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from goalpost.topics.commands import apply
from runtime.registry import Registry
from runtime.vault import generate_key
from sandbox.stack import KAFKA, REGISTRY, Addresses, Stack
from schemas.records import EVENT_ID_HEADER, header
from schemas.topics import RAW
from tests.bench import material
from tests.bench.load import Outcome, begun, drive
from tests.bench.processes import Process, free_port
from tests.bench.records import Cluster, Offsets
from tests.bench.requesting import Plan
from tests.bench.results import percentile
from tests.bench.servers import plan

pytestmark = pytest.mark.promise

OUTAGE_SECONDS = float(os.environ.get("DOOR_OUTAGE_SECONDS", "8"))
RATE = float(os.environ.get("DOOR_OUTAGE_RATE", "300"))
# Before the outage and after it, so that both of its edges are among the requests.
EDGE_SECONDS = 2.0
CONNECTIONS = 50
WRITE_KEY = "write-key-of-the-site"


class Door:
    """``goalpost webhook`` as a process that can be killed and started again."""

    def __init__(self, home: Path, addresses: Addresses, **settings: str) -> None:
        home.mkdir()
        self.home = home
        self.port, health = free_port(), free_port()
        self.health = f"http://127.0.0.1:{health}"
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "webhook.log"
        self._settings = {
            "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": addresses.schema_registry_url,
            "GOALPOST_SECRET_KEY": generate_key(),
            "GOALPOST_SESSIONS_WRITE_KEY": WRITE_KEY,
            "GOALPOST_WEBHOOK_PORT": str(self.port),
            "GOALPOST_HEALTH_PORT": str(health),
            "GOALPOST_SPOOL_DIR": str(home / "spool"),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "goalpost", "webhook"],
                env=Process.environment(self._settings),
                cwd=self.home,
                stdout=output,
                stderr=output,
            )
        self.until(lambda: requests.get(f"{self.health}/readyz", timeout=5).status_code == 200, 60)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def spooled(self) -> int:
        lines = requests.get(f"{self.health}/metrics", timeout=5).text.splitlines()
        return int(float(next(line.split()[1] for line in lines if line.startswith("webhook_spool_records "))))

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except requests.RequestException:
                pass
            assert time.monotonic() < deadline, f"it did not happen in time: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and the registry only: the door does not know Postgres."""
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere"}
    with Stack(tmp_path_factory.mktemp("stack"), given=nowhere) as running:
        found = running.start()
        apply(
            found.kafka_bootstrap_servers, found.schema_registry_url, partitions=8, replication=1, report=lambda _: None
        )
        Cluster(found.kafka_bootstrap_servers).write([material.webhook_record(Registry(found.schema_registry_url))])
        yield running


@contextmanager
def door(stack: Stack, home: Path, **settings: str) -> Iterator[Door]:
    running = Door(home, stack.addresses(), **settings)
    running.start()
    try:
        yield running
    finally:
        running.kill()


def load(running: Door, seconds: float, *, rate: float = RATE, patient: bool = False) -> Plan:
    run = uuid.uuid4().hex
    asked = plan(connections=CONNECTIONS, seconds=seconds, rate_per_s=rate)
    body = '{"session_id":"session-%(session)06d","goal_name":"payment_success","event_id":"' + run + '-%(number)010d"}'
    return replace(asked, port=running.port, body=body, patient=patient)


def during(strike: Callable[[], None], asked: Plan, home: Path) -> Outcome:
    """Put load on the door, and ``strike`` in the midst of it."""
    failures: list[BaseException] = []

    def strike_later() -> None:
        deadline = time.monotonic() + 60
        try:
            while not begun(home).exists():
                assert time.monotonic() < deadline, "the load has not begun"
                time.sleep(0.05)
            time.sleep(EDGE_SECONDS)
            strike()
        except BaseException as exc:  # noqa: BLE001 - told to the test below
            failures.append(exc)

    striker = threading.Thread(target=strike_later)
    striker.start()
    try:
        outcome = drive(asked, home)
    finally:
        striker.join()
    assert not failures
    return outcome


def arrived(stack: Stack, since: Offsets) -> Counter[str]:
    cluster = Cluster(stack.addresses().kafka_bootstrap_servers)
    return Counter(header(record.headers, EVENT_ID_HEADER) or "" for record in cluster.read(RAW.name, since=since))


def ends(stack: Stack) -> Offsets:
    return Cluster(stack.addresses().kafka_bootstrap_servers).ends(RAW.name)


def report(name: str, outcome: Outcome, promised: list[str], found: Counter[str]) -> None:
    answered = sorted(outcome.latencies_seconds)
    lost, doubled = len(set(promised) - set(found)), sum(found.values()) - len(found)
    print(
        f"{name}: {len(promised)} accepted at {RATE:.0f}/s, statuses {dict(Counter(outcome.statuses))}, "
        f"{outcome.broken} broken, {lost} lost, {doubled} doubled; answers in ms: "
        f"p50 {1000 * percentile(answered, 0.5):.1f} p99 {1000 * percentile(answered, 0.99):.1f} "
        f"max {1000 * answered[-1]:.0f}"
    )


@pytest.mark.timeout(400)
def test_kafka_gone_under_load_loses_nothing_doubles_nothing_and_keeps_no_sender_waiting(
    stack: Stack, tmp_path: Path
) -> None:
    def strike() -> None:
        stack.kill(KAFKA)
        time.sleep(OUTAGE_SECONDS)
        stack.restart(KAFKA)

    with door(stack, tmp_path / "door") as running:
        since = ends(stack)
        outcome = during(strike, load(running, OUTAGE_SECONDS + 4 * EDGE_SECONDS), tmp_path)
        running.until(lambda: running.spooled() == 0, 60)
        promised = outcome.event_ids()
        found = arrived(stack, since)
        report("kafka gone", outcome, promised, found)
        assert set(outcome.statuses) == {202}
        assert found == Counter(promised)
        # Nobody waits for Kafka. How long a few wait for a processor is in the report: that depends on the machine.
        assert percentile(outcome.latencies_seconds, 0.5) < 0.5
        assert max(outcome.latencies_seconds) < OUTAGE_SECONDS


@pytest.mark.timeout(400)
def test_a_door_killed_in_the_outage_and_started_again_in_it_keeps_every_promise(stack: Stack, tmp_path: Path) -> None:
    with door(stack, tmp_path / "door") as running:

        def strike() -> None:
            stack.kill(KAFKA)
            stack.kill(REGISTRY)
            time.sleep(OUTAGE_SECONDS / 3)
            running.kill()
            running.start()  # ready, with neither Kafka nor the registry there
            time.sleep(OUTAGE_SECONDS / 3)
            stack.restart(KAFKA)
            running.kill()  # most likely while it empties the spool
            running.start()
            stack.restart(REGISTRY)

        since = ends(stack)
        outcome = during(strike, load(running, OUTAGE_SECONDS + 4 * EDGE_SECONDS, patient=True), tmp_path)
        running.until(lambda: running.spooled() == 0, 60)
        promised = outcome.event_ids()
        found = arrived(stack, since)
        report("killed in the outage", outcome, promised, found)
        assert outcome.broken > 0
        assert set(promised) == set(found)
        assert len(promised) == len(set(promised))


@pytest.mark.timeout(400)
def test_a_full_spool_says_503_and_what_was_accepted_arrives(stack: Stack, tmp_path: Path) -> None:
    def strike() -> None:
        stack.kill(KAFKA)
        time.sleep(2 * EDGE_SECONDS)
        stack.restart(KAFKA)

    with door(stack, tmp_path / "door", GOALPOST_SPOOL_MAX_BYTES="100000") as running:
        since = ends(stack)
        outcome = during(strike, load(running, 4 * EDGE_SECONDS, rate=200), tmp_path)
        running.until(lambda: running.spooled() == 0, 60)
        promised = outcome.event_ids()
        found = arrived(stack, since)
        report("spool full", outcome, promised, found)
        assert set(outcome.statuses) == {202, 503}
        assert set(promised) <= set(found)
        assert max(outcome.latencies_seconds) < 2 * EDGE_SECONDS


@pytest.mark.timeout(200)
def test_a_registry_that_is_gone_changes_no_answer(stack: Stack, tmp_path: Path) -> None:
    with door(stack, tmp_path / "door") as running:
        outcome = during(lambda: stack.kill(REGISTRY), load(running, 2 * EDGE_SECONDS), tmp_path)
        stack.restart(REGISTRY)
        half = len(outcome.latencies_seconds) // 2
        halves = outcome.latencies_seconds[:half], outcome.latencies_seconds[half:]
        for name, share in ("p50", 0.5), ("p99", 0.99):
            before, after = (1000 * percentile(part, share) for part in halves)
            print(f"registry gone: {name} {before:.1f} ms before, {after:.1f} ms after")
        assert set(outcome.statuses) == {202}
        # Asking for a schema at each request would cost every answer a timeout, the middle one, too.
        before, after = (percentile(part, 0.5) for part in halves)
        assert after < 3 * before + 0.1
