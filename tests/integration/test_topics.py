"""``goalpost topics`` on a real broker and registry."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package re-exports them without __all__
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from goalpost.cli import main
from goalpost.cluster import ClusterUnavailable, admin
from goalpost.topics.commands import NotAdaptable, apply, check
from goalpost.topics.plan import Aspect
from runtime.registry import Incompatible, Registry
from sandbox.stack import Addresses
from schemas.contracts import CONVERSION_OUTCOMES
from schemas.topics import DEFAULT_PARTITIONS, REJECTED

# It is run at the start of every sandbox: far less than this, except on a machine with much other work.
APPLY_SECONDS = 10.0


def _set(stack: Addresses, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    client = admin(stack.kafka_bootstrap_servers)
    changes = client.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])])
    for answer in changes.values():
        answer.result()


def test_a_repeat_finds_nothing_to_change_and_is_quick(stack: Addresses) -> None:
    began = time.monotonic()
    changed = apply(
        stack.kafka_bootstrap_servers, stack.schema_registry_url, partitions=DEFAULT_PARTITIONS, replication=1
    )

    assert changed == ()
    assert time.monotonic() - began < APPLY_SECONDS


def test_a_setting_changed_by_hand_is_found_and_put_right(stack: Addresses) -> None:
    addresses = (stack.kafka_bootstrap_servers, stack.schema_registry_url)
    _set(stack, REJECTED.name, "retention.ms", "3600000")
    _set(stack, REJECTED.name, "segment.bytes", "104857600")

    (found,) = check(*addresses, partitions=DEFAULT_PARTITIONS, replication=1)
    lines: list[str] = []
    apply(*addresses, partitions=DEFAULT_PARTITIONS, replication=1, report=lines.append)

    assert (found.subject, found.setting, found.actual) == (REJECTED.name, "retention.ms", "3600000")
    assert lines == [f"{REJECTED.name}: retention.ms was 3600000, is {REJECTED.retention_ms}"]
    assert check(*addresses, partitions=DEFAULT_PARTITIONS, replication=1) == ()


def test_another_partition_count_is_refused_and_changes_nothing(stack: Addresses) -> None:
    addresses = (stack.kafka_bootstrap_servers, stack.schema_registry_url)

    with pytest.raises(NotAdaptable, match="GOALPOST_PARTITIONS=8") as refused:
        apply(*addresses, partitions=DEFAULT_PARTITIONS + 1, replication=1)

    assert {difference.aspect for difference in refused.value.differences} == {Aspect.PARTITIONS}
    assert check(*addresses, partitions=DEFAULT_PARTITIONS, replication=1) == ()


def test_the_registry_refuses_a_schema_that_old_readers_could_not_read(stack: Addresses) -> None:
    schema = json.loads(CONVERSION_OUTCOMES.schema_text)
    schema["fields"].append({"name": "needed", "type": "string"})

    with pytest.raises(Incompatible, match="defaults"):
        Registry(stack.schema_registry_url).register(CONVERSION_OUTCOMES.topic.subject, json.dumps(schema))


def test_a_broker_that_is_not_there_is_said_so(stack: Addresses) -> None:
    with pytest.raises(ClusterUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        check("127.0.0.1:1", stack.schema_registry_url, partitions=DEFAULT_PARTITIONS, replication=1)


def test_the_command_says_that_all_is_well_and_exits_with_one_when_it_is_not(stack: Addresses) -> None:
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
    }

    well = CliRunner().invoke(main, ["topics", "check"], env=environment)
    other = CliRunner().invoke(main, ["topics", "check", "--json"], env={**environment, "GOALPOST_PARTITIONS": "4"})

    assert well.exit_code == 0, well.output
    assert other.exit_code == 1
    assert "partitions" in {found["aspect"] for found in json.loads(other.stdout)["differences"]}
