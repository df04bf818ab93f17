"""``goalpost dlq`` on a real broker and a real database: every letter goes back once, and nothing is uploaded twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition

from goalpost.cli import main
from goalpost.cluster import records
from goalpost.dead_letters import discarding, replaying
from goalpost.dead_letters.replay import CHUNK_LETTERS
from goalpost.dead_letters.sending import TransactionalSender
from runtime import kafka
from sandbox.stack import Addresses
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for, original_headers
from schemas.records import Headers, Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, JOIN_APP, RAW, REPLAYS
from sinks.postgres.connection import Connection
from sinks.postgres.writer import Writer
from tests.integration.offsets import finish
from tests.sink_material import conversion, fresh_database, opened, placed, register_webhook

PERSONAL = "+79991234567"
JOIN_REASON = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session", attempts=6)
UPLOAD_REASON = Reason(
    error_class=ErrorClass.METRIKA_REJECTED, stage=Stage.UPLOAD, message="refused", effects_done="row"
)


@pytest.fixture(scope="module", autouse=True)
def _not_the_joins_work(stack: Addresses) -> Iterator[None]:
    """What is replayed here is no event: a join that met so much of it would stop, and rightly."""
    yield
    finish(stack.kafka_bootstrap_servers, JOIN_APP, RAW)


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with opened(database) as connection:
        yield connection


@pytest.fixture(scope="module")
def environment(stack: Addresses, database: str) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
    }


@pytest.fixture(scope="module")
def sender(stack: Addresses) -> kafka.Sender:
    return kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test-dlq"))


def _letter(event_id: str, reason: Reason, *, topic: str = RAW.name, webhook_id: str = "w") -> Outgoing:
    record = Incoming(
        topic=topic,
        partition=3,
        offset=7,
        timestamp=1,
        key=f"s:{event_id}".encode(),
        value=json.dumps({"phone": PERSONAL}).encode(),
        headers=(("event_id", event_id.encode()), ("webhook_id", webhook_id.encode())),
    )
    now_ms = time.time_ns() // 1_000_000
    return letter_for(record, reason, topic=f"{topic}.dlq", now_ms=now_ms, letter_id=uuid.uuid4())


def _dlq(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(main, ["dlq", *arguments], env=environment, catch_exceptions=False)


def _replay(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    answer = _dlq(environment, "replay", "--json", *arguments)
    assert answer.exit_code == 0, answer.output
    content: dict[str, Any] = json.loads(answer.stdout)
    return content


def _published(stack: Addresses, event_id: str, topic: str = RAW.name) -> list[Incoming]:
    found = records(stack.kafka_bootstrap_servers, [topic])
    return [record for record in found if header(record.headers, "event_id") == event_id]


def test_letters_are_counted_and_shown_without_personal_data(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    event_id, webhook_id = str(uuid.uuid4()), str(uuid.uuid4())
    sender.send([_letter(event_id, JOIN_REASON, webhook_id=webhook_id)])

    (counted,) = json.loads(_dlq(environment, "ls", "--json", "--webhook", webhook_id).stdout)["groups"]
    shown = _dlq(environment, "show", event_id)
    revealed = _dlq(environment, "show", event_id, "--reveal", "--json")

    assert (counted["topic"], counted["class"], counted["letters"], counted["open"]) == (
        "crm.events.raw.dlq",
        "session_not_found",
        1,
        1,
    )
    assert "session_not_found at join: no session" in shown.stdout
    assert PERSONAL not in shown.stdout
    assert json.loads(revealed.stdout)["value"] == {"phone": PERSONAL}


def test_a_dry_run_writes_nothing_and_an_execution_writes_once(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    event_id = str(uuid.uuid4())
    letter = _letter(event_id, JOIN_REASON)
    sender.send([letter])

    dry = _replay(environment, "--id", event_id)
    after_dry_run = _published(stack, event_id)
    first = _replay(environment, "--id", event_id, "--execute")
    second = _replay(environment, "--id", event_id, "--execute")

    assert dry["counts"]["republish"] == 1
    assert after_dry_run == []
    assert first["counts"]["republish"] == 1
    assert (second["counts"]["republish"], second["counts"]["skipped"]) == (0, 1)
    (published,) = _published(stack, event_id)
    assert (published.key, published.value) == (letter.key, letter.value)
    assert header(published.headers, "webhook_id") == "w"
    assert header(published.headers, "dlq.replay.count") == "1"
    runs = json.loads(_dlq(environment, "runs", "--json").stdout)["runs"]
    assert {first["run"]["run_id"], second["run"]["run_id"]} <= {run["run_id"] for run in runs if run["finished_at"]}


def test_a_replay_that_keeps_failing_ends(stack: Addresses, environment: dict[str, str], sender: kafka.Sender) -> None:
    event_id = str(uuid.uuid4())
    letter = _letter(event_id, JOIN_REASON)
    for _attempt in range(3):
        sender.send([letter])
        assert _replay(environment, "--id", event_id, "--execute")["counts"]["republish"] == 1
        again = _published(stack, event_id)[-1]
        letter = letter_for(again, JOIN_REASON, topic=RAW.dead_letters, now_ms=1, letter_id=uuid.uuid4())
    sender.send([letter])

    counts = _replay(environment, "--id", event_id, "--execute")["counts"]
    assert {name: count for name, count in counts.items() if count} == {"blocked": 1, "skipped": 3}


def _failed_row(connection: Connection, *, state: str) -> str:
    """Store a conversion as the sinks do, up to a failed upload whose ledger row says ``state``."""
    stored = conversion(register_webhook(connection), client_id="1666707227246044402")
    Writer(connection).write(placed(stored))
    upload = uuid.uuid4()
    connection.execute(
        """
        INSERT INTO metrika_uploads (id, counter_id, id_type, token, state, row_count, body_sha256, metrika_upload_id)
        VALUES (%s, %s, 'ClientId', %s, %s, 1, '', '4711')
        """,
        (upload, stored.counter_id, f"goalpost{upload.hex}", state),
    )
    for stage, status in (("batched", "pending"), ("failed", "error")):
        connection.execute(
            "UPDATE webhook_conversions SET stage = %s, status = %s, upload = %s, error_class = 'x' WHERE id = %s",
            (stage, status, upload, stored.event_id),
        )
    return stored.event_id


def _row(connection: Connection, event_id: str) -> tuple[object, ...] | None:
    query = "SELECT stage, status, upload, error_class FROM webhook_conversions WHERE id = %s"
    return connection.execute(query, (event_id,)).fetchone()


def test_a_conversion_that_metrika_refused_becomes_pending_again(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender, connection: Connection
) -> None:
    event_id = _failed_row(connection, state="rejected")
    sender.send([_letter(event_id, UPLOAD_REASON, topic=CONVERSIONS.name)])

    dry = _replay(environment, "--id", event_id)
    before = _row(connection, event_id)
    done = _replay(environment, "--id", event_id, "--execute")
    again = _replay(environment, "--id", event_id, "--execute")

    assert dry["counts"]["reset_row"] == 1
    assert before is not None
    assert before[0] == "failed"
    assert done["counts"]["reset_row"] == 1
    assert again["counts"]["skipped"] == 1
    assert _row(connection, event_id) == ("stored", "pending", None, None)
    assert _published(stack, event_id, CONVERSIONS.name) == []
    trail = connection.execute(
        "SELECT actor FROM conversion_events WHERE conversion_id = %s ORDER BY id DESC LIMIT 1", (event_id,)
    ).fetchone()
    assert trail == (f"goalpost dlq replay {done['run']['run_id']}",)


@pytest.mark.parametrize("state", ["accepted", "unknown", "sending"])
def test_a_conversion_that_metrika_may_have_is_not_uploaded_again(
    environment: dict[str, str], sender: kafka.Sender, connection: Connection, state: str
) -> None:
    event_id = _failed_row(connection, state=state)
    sender.send([_letter(event_id, UPLOAD_REASON, topic=CONVERSIONS.name)])

    done = _replay(environment, "--id", event_id, "--execute")

    assert done["counts"]["blocked"] == 1
    assert "4711" in done["letters"][0]["detail"]
    found = _row(connection, event_id)
    assert found is not None
    assert found[:2] == ("failed", "error")


def test_an_upload_that_only_the_audit_trail_remembers_blocks_too(
    environment: dict[str, str], sender: kafka.Sender, connection: Connection
) -> None:
    event_id = _failed_row(connection, state="unknown")
    connection.execute("UPDATE webhook_conversions SET upload = NULL WHERE id = %s", (event_id,))
    sender.send([_letter(event_id, UPLOAD_REASON, topic=CONVERSIONS.name)])

    assert _replay(environment, "--id", event_id, "--execute")["counts"]["blocked"] == 1


def _marks(stack: Addresses) -> int:
    client = Consumer({"bootstrap.servers": stack.kafka_bootstrap_servers, "group.id": str(uuid.uuid4())})
    try:
        return int(client.get_watermark_offsets(TopicPartition(REPLAYS.name, 0), timeout=10)[1])
    finally:
        client.close()


def test_a_replay_killed_in_the_middle_and_run_again_replays_each_letter_once(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    webhook_id, letters = str(uuid.uuid4()), 12 * CHUNK_LETTERS
    sender.send(_letter(str(uuid.uuid4()), JOIN_REASON, webhook_id=webhook_id) for _ in range(letters))
    arguments = ["dlq", "replay", "--execute", "--webhook", webhook_id, "--rate", str(4 * CHUNK_LETTERS)]
    before = _marks(stack)
    process = subprocess.Popen(
        [sys.executable, "-m", "goalpost", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while _marks(stack) < before + 2.5 * CHUNK_LETTERS and time.monotonic() < deadline:
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"

    result = _replay(environment, "--webhook", webhook_id, "--execute")

    published = Counter(
        header(record.headers, "event_id")
        for record in records(stack.kafka_bootstrap_servers, [RAW.name])
        if header(record.headers, "webhook_id") == webhook_id
    )
    assert len(published) == letters
    assert set(published.values()) == {1}
    assert result["counts"]["skipped"] >= 2 * CHUNK_LETTERS
    assert _replay(environment, "--webhook", webhook_id)["counts"]["republish"] == 0


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_what_another_run_did_before_it_was_taken_over_is_not_done_again(
    stack: Addresses,
    environment: dict[str, str],
    sender: kafka.Sender,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    event_id = str(uuid.uuid4())
    sender.send([_letter(event_id, JOIN_REASON)])
    others: list[dict[str, Any]] = []

    def takes_over(bootstrap_servers: str) -> TransactionalSender:
        """The other run's last moment."""
        monkeypatch.undo()
        others.append(_replay(environment, "--id", event_id, "--execute"))
        return TransactionalSender(bootstrap_servers)

    for module in (replaying, discarding):
        monkeypatch.setattr(module, "TransactionalSender", takes_over)
    options = ("--reason", "a test") if command == "discard" else ()
    counts = json.loads(_dlq(environment, command, "--id", event_id, "--execute", "--json", *options).stdout)["counts"]

    assert others[0]["counts"]["republish"] == 1
    assert counts["republish"] + counts["discard"] == 0
    assert len(_published(stack, event_id)) == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("crm.events.raw.dlq:77:0", "crm.events.raw.dlq has no partition 77; its partitions are 0 to 0"),
        ("crm.events.raw.dlq:0:999999999", "has no offset 999999999"),
        ("crm.events.waiting.dlq:0:0", "partition 0 of crm.events.waiting.dlq is empty"),
        ("7c1f0f4e-0c43-4c9a-9d0e-4d2f6a1b8e55", "there is no dead letter"),
    ],
)
def test_a_letter_that_is_not_there_is_told_truly(environment: dict[str, str], place: str, message: str) -> None:
    answer = _dlq(environment, "show", place)

    assert answer.exit_code == 1
    assert message in answer.output


def test_a_discarded_letter_says_why_and_stays_where_it_is(
    environment: dict[str, str], sender: kafka.Sender, stack: Addresses
) -> None:
    event_id, webhook_id = str(uuid.uuid4()), str(uuid.uuid4())
    sender.send([_letter(event_id, JOIN_REASON, webhook_id=webhook_id)])
    options = ("--webhook", webhook_id, "--reason", "an order of our own tests", "--json")

    dry = json.loads(_dlq(environment, "discard", *options).stdout)
    open_before = json.loads(_dlq(environment, "ls", "--json", "--webhook", webhook_id).stdout)["groups"][0]["open"]
    done = json.loads(_dlq(environment, "discard", *options, "--execute").stdout)
    (counted,) = json.loads(_dlq(environment, "ls", "--json", "--webhook", webhook_id).stdout)["groups"]

    assert (dry["counts"]["discard"], open_before, done["counts"]["discard"]) == (1, 1, 1)
    assert (counted["letters"], counted["open"], counted["discarded"]) == (1, 0, 1)
    assert _replay(environment, "--id", event_id, "--execute")["counts"]["skipped"] == 1
    assert _replay(environment, "--id", event_id, "--execute", "--discarded")["counts"]["republish"] == 1
    assert len(_published(stack, event_id)) == 1
    runs = json.loads(_dlq(environment, "runs", "--json").stdout)["runs"]
    assert [run["reason"] for run in runs if run["run_id"] == done["run"]["run_id"]] == ["an order of our own tests"]


def test_a_letter_that_two_stages_wrote_is_one_letter(
    environment: dict[str, str], sender: kafka.Sender, stack: Addresses
) -> None:
    event_id = str(uuid.uuid4())
    letter = _letter(event_id, JOIN_REASON, webhook_id=event_id)
    sender.send([letter, letter])

    (counted,) = json.loads(_dlq(environment, "ls", "--json", "--webhook", event_id).stdout)["groups"]

    assert counted["letters"] == 1
    assert _replay(environment, "--id", event_id, "--execute")["counts"]["republish"] == 1
    assert len(_published(stack, event_id)) == 1


def test_nulls_and_repeated_headers_come_back_byte_by_byte(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    event_id = str(uuid.uuid4())
    headers: Headers = (("event_id", event_id.encode()), ("x", None), ("x", b""), ("x", b"\xff\x00"))
    for number, (key, value) in enumerate([(None, None), (b"", b""), (b"k", None), (None, b"v")]):
        record = Incoming(
            topic=RAW.name, partition=0, offset=number, timestamp=1, key=key, value=value, headers=headers
        )
        sender.send([letter_for(record, JOIN_REASON, topic=RAW.dead_letters, now_ms=1, letter_id=uuid.uuid4())])

    assert _replay(environment, "--id", event_id, "--execute")["counts"]["republish"] == 4

    back = {(record.key, record.value): original_headers(record.headers) for record in _published(stack, event_id)}
    assert back == {(None, None): headers, (b"", b""): headers, (b"k", None): headers, (None, b"v"): headers}


def test_a_run_ends_when_its_letters_come_back(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    webhook_id, letters = str(uuid.uuid4()), 60
    sender.send(_letter(str(uuid.uuid4()), JOIN_REASON, webhook_id=webhook_id) for _ in range(letters))
    done = threading.Event()

    def refuse_all_again() -> None:
        seen: set[tuple[int, int]] = set()
        while not done.is_set():
            for record in records(stack.kafka_bootstrap_servers, [RAW.name], since_ms=started):
                place = (record.partition, record.offset)
                if header(record.headers, "webhook_id") == webhook_id and place not in seen:
                    seen.add(place)
                    again = letter_for(record, JOIN_REASON, topic=RAW.dead_letters, now_ms=1, letter_id=uuid.uuid4())
                    sender.send([again])

    started = time.time_ns() // 1_000_000
    join = threading.Thread(target=refuse_all_again)
    join.start()
    try:
        options = ("--webhook", webhook_id, "--execute", "--rate", "4", "--stop-after", "5", "--json")
        answer = _dlq(environment, "replay", *options)
    finally:
        done.set()
        join.join()

    content = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert "have come back" in content["run"]["stopped"]
    assert content["counts"]["republish"] < letters
