"""The doctor before real parts: what is well is said to be well, and what is not is named with the remedy."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports them without __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from goalpost.cluster import admin
from goalpost.doctor.commands import examine
from goalpost.doctor.groups import lag, letters
from goalpost.doctor.pooler import pooler
from goalpost.doctor.replicas import replicas
from goalpost.findings import Finding, Verdict
from runtime import kafka
from runtime.lifecycle import HealthServer, Heartbeat
from runtime.sections import KafkaSettings
from runtime.vault import generate_key
from sandbox.stack import Addresses
from schemas.records import Outgoing
from schemas.topics import CONVERSIONS, POSTGRES_SINK_GROUP, REJECTED
from tests.pooler import transaction_pooler
from tests.sink_material import fresh_database


@pytest.fixture(scope="module")
def database(stack: Addresses) -> Iterator[str]:
    with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture(name="settings")
def _settings(stack: Addresses) -> KafkaSettings:
    return KafkaSettings.model_validate(
        {
            "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
            "GOALPOST_REPLICATION_FACTOR": 1,
        }
    )


def _only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_direct_connection_is_a_session(stack: Addresses) -> None:
    finding = _only(pooler(stack.database_url))

    assert (finding.verdict, "answers itself" in finding.detail) == (Verdict.GOOD, True)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_transaction_pooler_is_named_with_the_remedy(stack: Addresses, size: int) -> None:
    """By what it does, on any port, and also where it has a single session for everybody."""
    with transaction_pooler(stack.database_url, size=size) as url:
        began = time.monotonic()
        finding = _only(pooler(url))

    assert finding.verdict is Verdict.BAD
    assert "pooler in transaction mode" in finding.detail
    assert "pool_mode = session" in finding.remedy
    assert "5432" in finding.remedy
    assert time.monotonic() - began < 30


def test_copies_of_one_broker_are_in_sync(settings: KafkaSettings) -> None:
    assert _only(replicas(settings)).verdict is Verdict.GOOD


def test_a_topic_that_takes_no_records_is_named(settings: KafkaSettings) -> None:
    client = admin(settings.bootstrap_servers)

    def require(copies: str) -> None:
        entry = ConfigEntry("min.insync.replicas", copies, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, REJECTED.name, incremental_configs=[entry])
        for answer in client.incremental_alter_configs([resource]).values():
            answer.result()

    require("2")
    try:
        finding = _only(replicas(settings))
    finally:
        require("1")

    assert finding.verdict is Verdict.BAD
    assert REJECTED.name in finding.detail
    assert "nothing can be written" in finding.detail


def test_a_group_without_a_member_and_with_work_is_a_stage_that_does_not_run(settings: KafkaSettings) -> None:
    sender = kafka.Sender(kafka.producer(settings.bootstrap_servers, client_id="test-doctor"))
    sender.send([Outgoing(topic=CONVERSIONS.name, key=b"k", value=b"v") for _ in range(3)])

    before = next(one for one in lag(settings) if POSTGRES_SINK_GROUP in one.detail)
    member = kafka.consumer(settings.bootstrap_servers, group=POSTGRES_SINK_GROUP, client_id="test-doctor")
    member.subscribe([CONVERSIONS.name])
    try:
        deadline = time.monotonic() + 60
        while not member.assignment():
            assert time.monotonic() < deadline
            member.poll(0.2)
        joined = next(one for one in lag(settings) if POSTGRES_SINK_GROUP in one.detail)
    finally:
        member.close()

    assert before.verdict is Verdict.BAD
    assert "has no member" in before.detail
    assert (joined.verdict, "1 members" in joined.detail) == (Verdict.GOOD, True)


def test_lag_is_what_lies_behind_the_committed_offset(settings: KafkaSettings) -> None:
    def behind() -> int:
        finding = next(one for one in lag(settings) if POSTGRES_SINK_GROUP in one.detail)
        return int(finding.detail.partition(", and ")[2].split()[0])

    sender = kafka.Sender(kafka.producer(settings.bootstrap_servers, client_id="test-doctor"))
    sender.send([Outgoing(topic=CONVERSIONS.name, key=b"k", value=b"v", partition=0) for _ in range(3)])
    before = behind()
    member = kafka.consumer(settings.bootstrap_servers, group=POSTGRES_SINK_GROUP, client_id="test-doctor")
    (place,) = member.committed([TopicPartition(CONVERSIONS.name, 0)], timeout=10)
    low, high = member.get_watermark_offsets(TopicPartition(CONVERSIONS.name, 0), timeout=10)
    member.commit(offsets=[TopicPartition(CONVERSIONS.name, 0, high - 1)], asynchronous=False)
    member.close()

    assert before - behind() == high - 1 - max(place.offset, low)


def test_dead_letters_that_nobody_has_looked_after_are_counted(settings: KafkaSettings) -> None:
    letter_id = str(uuid.uuid4()).encode()
    headers = (("dlq.id", letter_id), ("dlq.error.class", b"body_unparseable"), ("dlq.stage", b"parse"))
    sender = kafka.Sender(kafka.producer(settings.bootstrap_servers, client_id="test-doctor"))
    sender.send([Outgoing(topic=REJECTED.name, key=b"w", value=b"body", headers=headers)])

    finding = _only(letters(settings))

    assert finding.verdict is Verdict.NOTE
    assert "body_unparseable" in finding.detail
    assert "goalpost dlq replay" in finding.remedy


def test_every_part_is_asked_and_a_process_that_waits_is_named(
    stack: Addresses, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready = HealthServer(0, heartbeat=Heartbeat(), readiness=dict)
    waits = HealthServer(0, heartbeat=Heartbeat(), readiness=lambda: {"kafka": "no answer for 30 s"})
    for server in (ready, waits):
        server.start()
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
        "DATABASE_URL": database,
        "GOALPOST_SECRET_KEY": generate_key(),
        "GOALPOST_SESSIONS_WRITE_KEY": "any",
        "GOALPOST_REPLICATION_FACTOR": "1",
        "METRIKA_API_URL": "http://127.0.0.1:1",
        "YANDEX_OAUTH_URL": "http://127.0.0.1:1",
        "GOALPOST_HOME": str(tmp_path),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "env").write_text(
        f"HEALTH_WEBHOOK=http://127.0.0.1:{ready.port}\nHEALTH_STREAM=http://127.0.0.1:{waits.port}\n", encoding="utf-8"
    )

    found = examine()

    assert {"replicas", "pooler", "processes", "lag", "letters"} <= {one.check for one in found}
    assert [one.detail for one in found if one.verdict is Verdict.SKIPPED] == []
    told = {one.detail: one.verdict for one in found if one.check == "processes"}
    assert told == {
        f"webhook is ready (http://127.0.0.1:{ready.port}/readyz)": Verdict.GOOD,
        "stream waits for kafka: no answer for 30 s": Verdict.BAD,
    }
