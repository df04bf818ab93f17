"""What the sandbox promises: real servers, ids and data that survive `kill -9`, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg
import pytest
import requests
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from sandbox.stack import Addresses, HomeInUse, Stack

PARTS = ("kafka", "registry", "postgres")
ELSEWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "SCHEMA_REGISTRY_URL": "http://registry.example"}
SCHEMA = {"schema": json.dumps({"type": "record", "name": "Probe", "fields": [{"name": "id", "type": "string"}]})}


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.05)


def gone(pids: Mapping[str, int]) -> bool:
    """Whether none of the processes runs; one that only waits to be buried does not run."""

    def ended(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    return all(ended(pid) for pid in pids.values())


class Contents:
    """Something in each of the three parts, and the means to find it again."""

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self.client: dict[str, str | int | float | bool] = {"bootstrap.servers": addresses.kafka_bootstrap_servers}

    def put(self, value: str) -> int:
        """Put a value everywhere and return the id of a schema that carries its name."""
        admin = AdminClient(self.client)
        for future in admin.create_topics([NewTopic(value, 1, 1)]).values():
            future.result()
        producer = Producer({**self.client, "enable.idempotence": True, "acks": "all", "message.max.bytes": 2**21})
        producer.produce(value, value.encode() * (1024 * 1024 // len(value)))
        assert producer.flush(30) == 0
        with psycopg.connect(self.addresses.database_url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS probe (value text PRIMARY KEY)")
            connection.execute("INSERT INTO probe VALUES (%s)", (value,))
        return self.schema_id(value)

    def schema_id(self, value: str) -> int:
        """Register the schema, which for a known one answers with the id that it has."""
        url = f"{self.addresses.schema_registry_url}/subjects/{value}-value/versions"
        answer = requests.post(url, json=SCHEMA, timeout=30)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def found(self, value: str) -> bool:
        """Whether Kafka and PostgreSQL still have the value."""
        consumer = Consumer({**self.client, "group.id": f"{value}-{time.time_ns()}", "auto.offset.reset": "earliest"})
        try:
            consumer.subscribe([value])
            messages = consumer.consume(1, timeout=30)
        finally:
            consumer.close()
        with psycopg.connect(self.addresses.database_url) as connection:
            row = connection.execute("SELECT 1 FROM probe WHERE value = %s", (value,)).fetchone()
        values = [message.value() or b"" for message in messages]
        return any(found.startswith(value.encode()) for found in values) and row is not None


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of this module's own, because its parts are killed here."""
    with Stack(tmp_path_factory.mktemp("sandbox")) as stack:
        stack.start()
        yield stack


def test_a_message_of_a_mebibyte_is_produced_with_all_acknowledgements_and_consumed(sandbox: Stack) -> None:
    contents = Contents(sandbox.addresses())
    contents.put("first")
    assert contents.found("first")


def test_what_it_holds_survives_kill_9_of_every_part(sandbox: Stack) -> None:
    contents = Contents(sandbox.addresses())
    schema_id = contents.put("killed")
    for part in PARTS:
        pid = sandbox.pids()[part]
        sandbox.kill(part)
        assert gone({part: pid})
        assert part not in sandbox.pids()
    with ThreadPoolExecutor(len(PARTS)) as pool:
        list(pool.map(sandbox.restart, PARTS))
    assert sandbox.addresses() == contents.addresses
    assert contents.schema_id("killed") == schema_id
    assert contents.found("killed")


def test_what_it_holds_survives_an_orderly_restart_of_every_part(sandbox: Stack) -> None:
    contents = Contents(sandbox.addresses())
    schema_id = contents.put("restarted")
    with ThreadPoolExecutor(len(PARTS)) as pool:
        list(pool.map(sandbox.restart, PARTS))
    assert contents.schema_id("restarted") == schema_id
    assert contents.found("restarted")


def test_parts_that_were_killed_from_outside_are_revived(sandbox: Stack) -> None:
    before = sandbox.pids()
    assert set(before) == set(PARTS)
    assert sandbox.revive() == []
    for part in ("registry", "postgres"):
        os.kill(before[part], signal.SIGKILL)
    until(lambda: set(sandbox.pids()) == {"kafka"})
    assert sorted(sandbox.revive()) == ["postgres", "registry"]
    after = sandbox.pids()
    assert after["kafka"] == before["kafka"]
    assert after["postgres"] != before["postgres"]


def test_everything_listens_on_loopback_only(sandbox: Stack) -> None:
    for pid in sandbox.pids().values():
        listening = [entry for entry in psutil.Process(pid).net_connections("inet") if entry.status == "LISTEN"]
        assert listening
        assert all(entry.laddr.ip.removeprefix("::ffff:") == "127.0.0.1" for entry in listening)


def test_a_second_sandbox_in_the_same_folder_is_refused(sandbox: Stack) -> None:
    with pytest.raises(HomeInUse, match=rf"in use by process {os.getpid()}"):
        Stack(sandbox.home).start()
    assert set(sandbox.pids()) == set(PARTS), "the refused one did harm to the one that runs"


def test_two_sandboxes_that_start_at_the_same_moment_keep_apart(tmp_path: Path) -> None:
    stacks = [Stack(tmp_path / name) for name in ("one", "two")]
    try:
        with ThreadPoolExecutor(2) as pool:
            one, two = (Contents(addresses) for addresses in pool.map(Stack.start, stacks))
        one.put("mine")
        two.put("mine")  # would fail if it were the same Kafka or the same database
        pids = [stack.pids() for stack in stacks]
    finally:
        for stack in stacks:
            stack.stop()
    assert len({pid for of_one in pids for pid in of_one.values()}) == 6
    assert all(gone(of_one) for of_one in pids)


@contextmanager
def a_process(home: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m sandbox up` as somebody would start it; any attempt to download would fail."""
    env = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", **settings}
    argv = (sys.executable, "-m", "sandbox", "up", "--home", str(home))
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def addresses_from(process: subprocess.Popen[str]) -> Addresses:
    """What it prints when it is ready."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip().partition("=") for _ in range(3)]
    return Addresses(**{name.lower(): value for name, _, value in lines})


def servers_of(process: subprocess.Popen[str]) -> dict[str, int]:
    """All processes below this one, the wardens among them."""
    return {str(child.pid): child.pid for child in psutil.Process(process.pid).children(recursive=True)}


def test_after_kill_9_of_its_parent_nothing_runs_and_the_next_start_has_everything(
    sandbox: Stack, tmp_path: Path
) -> None:
    with a_process(tmp_path / "home") as parent:
        addresses = addresses_from(parent)
        contents = Contents(addresses)
        schema_id = contents.put("orphan")
        pids = servers_of(parent)
        assert len(pids) >= 6
        parent.kill()
    # At once: what is still ending has to be waited for, not tripped over.
    with Stack(tmp_path / "home") as stack:
        assert stack.start() == addresses
        assert gone(pids)
        assert contents.schema_id("orphan") == schema_id
        assert contents.found("orphan")


def test_kill_9_of_the_parent_in_the_middle_of_its_first_start_harms_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_process(home, **ELSEWHERE) as parent:
        until((home / "postgres" / "data").exists)
        pids = servers_of(parent)
        parent.kill()
    until(lambda: gone(pids))
    with Stack(home, given=ELSEWHERE) as stack, psycopg.connect(stack.start().database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_ctrl_c_in_the_middle_of_a_start_ends_everything(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with a_process(home) as parent:
        until((home / "kafka" / "set-up").exists)
        pids = servers_of(parent)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(30) == 0
    assert gone(pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    with a_process(tmp_path / "home", **ELSEWHERE) as parent:
        addresses_from(parent)
        pids = servers_of(parent)
        parent.send_signal(number)
        assert parent.wait(30) == 0
    assert gone(pids)


def test_an_address_that_is_given_is_used_and_its_part_not_started(tmp_path: Path) -> None:
    with Stack(tmp_path / "home", given={**ELSEWHERE, "DATABASE_URL": ""}) as stack:
        addresses = stack.start()
        assert addresses.kafka_bootstrap_servers == ELSEWHERE["KAFKA_BOOTSTRAP_SERVERS"]
        assert addresses.schema_registry_url == ELSEWHERE["SCHEMA_REGISTRY_URL"]
        assert set(stack.pids()) == {"postgres"}, "an empty setting is none"


def test_with_every_address_given_nothing_is_started(tmp_path: Path) -> None:
    given = {**ELSEWHERE, "DATABASE_URL": "postgresql://database.example/goalpost"}
    with Stack(tmp_path / "home", given=given) as stack:
        assert stack.start().database_url == given["DATABASE_URL"]
        assert stack.pids() == {}
        assert stack.revive() == []
