"""``goalpost dlq`` on a real broker and a real database: every letter goes back once, and nothing is uploaded twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
from goalpost.dead_letters.replay import CHUNK_LETTERS
from runtime import kafka
from sandbox.stack import Addresses
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.records import Incoming, Outgoing, header
from schemas.topics import CONVERSIONS, RAW, REPLAYS
from sinks.postgres.connection import Connection
from sinks.postgres.writer import Writer
from tests.sink_material import conversion, fresh_database, opened, placed, register_webhook

PERSONAL = "+79991234567"
JOIN_REASON = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="no session", attempts=6)
UPLOAD_REASON = Reason(
    error_class=ErrorClass.METRIKA_REJECTED, stage=Stage.UPLOAD, message="refused", effects_done="row"
)


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

    (counted,) = json.loads(_dlq(environment, "ls", "--json", "--webhook", webhook_id).stdout)
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
    runs = json.loads(_dlq(environment, "runs", "--json").stdout)
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

    assert _replay(environment, "--id", event_id, "--execute")["counts"] == {
        "republish": 0,
        "reset_row": 0,
        "blocked": 1,
        "skipped": 3,
    }


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


def test_a_replay_killed_in_the_middle_loses_nothing_and_repeats_no_more_than_a_chunk(
    stack: Addresses, environment: dict[str, str], sender: kafka.Sender
) -> None:
    webhook_id, letters = str(uuid.uuid4()), 40 * CHUNK_LETTERS
    sender.send(_letter(str(uuid.uuid4()), JOIN_REASON, webhook_id=webhook_id) for _ in range(letters))
    arguments = ["dlq", "replay", "--execute", "--webhook", webhook_id, "--json"]
    before = _marks(stack)
    process = subprocess.Popen(
        [sys.executable, "-m", "goalpost", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while _marks(stack) < before + 3 * CHUNK_LETTERS and time.monotonic() < deadline:
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
    assert sum(published.values()) <= letters + CHUNK_LETTERS
    assert result["counts"]["skipped"] >= 3 * CHUNK_LETTERS
    assert _replay(environment, "--webhook", webhook_id)["counts"]["republish"] == 0
