"""From an ignored lead to an event by a rule that was added later: the service, the broker, the command as they run."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from click.testing import CliRunner

from goalpost.cli import main
from goalpost.webhooks.rules import parse_rule
from runtime import kafka
from runtime.registry import Registry
from runtime.vault import hash_of
from sandbox.stack import Addresses
from schemas.contracts import WEBHOOK_CONFIGURATIONS
from schemas.events import Webhook
from schemas.identity import event_id_for
from schemas.records import Incoming, Outgoing, header
from schemas.topics import IGNORED, JOIN_APP, RAW, WEBHOOKS
from tests.integration.offsets import finish
from tests.integration.test_webhook_service import Service, answers, read_all, running, until
from tests.sink_material import fresh_database

VISITOR = "1666707227246044402"


@pytest.fixture(scope="module", autouse=True)
def _not_the_joins_work(stack: Addresses) -> Iterator[None]:
    yield
    finish(stack.kafka_bootstrap_servers, JOIN_APP, RAW)


@pytest.fixture
def environment(stack: Addresses) -> Iterator[dict[str, str]]:
    with fresh_database(stack.database_url) as url:
        yield {
            "KAFKA_BOOTSTRAP_SERVERS": stack.kafka_bootstrap_servers,
            "SCHEMA_REGISTRY_URL": stack.schema_registry_url,
            "DATABASE_URL": url,
        }


def configure(service: Service, *rules: str) -> None:
    """Write the webhook with these rules."""
    codec = Registry(service.addresses.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS)
    configured = Webhook(
        webhook_id=service.webhook_id,
        counter_id=str(uuid.uuid4()),
        metrika_counter_id=1,
        name="ignored",
        dialect="amocrm",
        secret_hashes=(hash_of(service.secret),),
        sealed_secrets=(),
        default_goal="crm_conversion",
        changed_at=time.time_ns() // 1_000_000,
        rules=tuple(parse_rule(rule) for rule in rules),
    )
    record = Outgoing(topic=WEBHOOKS.name, key=service.webhook_id.encode(), value=codec.encode(configured))
    kafka.Sender(kafka.producer(service.addresses.kafka_bootstrap_servers, client_id="test")).send([record])


def moved(*leads: tuple[int, int]) -> bytes:
    """amoCRM's body of leads that have moved: their number and stage."""
    pairs = []
    for index, (number, status) in enumerate(leads):
        at = f"leads[status][{index}]"
        pairs += [(f"{at}[id]", number), (f"{at}[status_id]", status), (f"{at}[custom_fields][0][name]", "_ym_uid")]
        pairs.append((f"{at}[custom_fields][0][values][0][value]", VISITOR))
    return urlencode(pairs).encode()


def dlq(environment: dict[str, str], command: str, *arguments: str) -> Any:
    answer = CliRunner().invoke(main, ["dlq", command, "--json", *arguments], env=environment, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def of(service: Service, topic: str) -> list[Incoming]:
    named = (service.webhook_id, service.webhook_id.encode())
    return [
        record
        for record in read_all(service.addresses, topic)
        if record.key == named[1] or header(record.headers, "webhook_id") == named[0]
    ]


def test_an_ignored_lead_comes_back_once_there_is_a_rule_and_changes_nothing_when_it_is_told_again(
    stack: Addresses, environment: dict[str, str], tmp_path: Path
) -> None:
    bodies = [moved((5, 77), (6, 78)), moved((7, 77)), moved((8, 79)), moved((9, 142))]
    with running(tmp_path, stack) as service:
        configure(service)
        until(lambda: answers(service, "/readyz"), service.log)
        address = f"{service.url}/hooks/{service.webhook_id}/{service.secret}"
        until(lambda: httpx.post(address, timeout=10).status_code == 200)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        said = [httpx.post(address, content=body, headers=form, timeout=10).json() for body in bodies]
        assert [answer.get("ignored", 0) for answer in said] == [2, 1, 1, 0]
        assert [record.value for record in of(service, IGNORED.name)] == bodies[:3]
        mine = ("--ignored", "--webhook", service.webhook_id)

        (counted,) = dlq(environment, "ls", *mine)["groups"]
        without_rule = dlq(environment, "replay", *mine, "--execute")
        configure(service, "142=won", "77=qualified")
        dry = dlq(environment, "replay", *mine)
        first = dlq(environment, "replay", *mine, "--execute")
        second = dlq(environment, "replay", *mine, "--execute")
        until(lambda: httpx.post(address, content=bodies[1], headers=form, timeout=10).json()["event_ids"] != [])
        found = of(service, RAW.name)

    assert (counted["class"], counted["letters"], counted["open"]) == ("other_stage", 3, 3)
    assert without_rule["counts"]["untouched"] == 3
    assert (dry["counts"]["republish"], dry["counts"]["untouched"]) == (2, 1)
    assert (first["counts"]["republish"], first["counts"]["untouched"]) == (2, 1)
    # The letter whose other lead still waits for a rule is open: its event is written once more, under its id.
    assert (second["counts"]["republish"], second["counts"]["skipped"], second["counts"]["untouched"]) == (1, 1, 1)
    ids = {event_id_for(service.webhook_id, key) for key in ("lead:5:77", "lead:7:77", "lead:9:142")}
    assert {header(record.headers, "event_id") for record in found} == ids


def test_a_place_among_the_ignored_can_be_shown_without_personal_data(
    stack: Addresses, environment: dict[str, str]
) -> None:
    sender = kafka.Sender(kafka.producer(stack.kafka_bootstrap_servers, client_id="test"))
    webhook_id = str(uuid.uuid4())
    headers = (("content-type", b"application/json"), ("ignored", b"other_stage"))
    value = b'{"leads": {"status": [{"id": 5, "phone": "+79991234567"}]}}'
    sender.send([Outgoing(topic=IGNORED.name, key=webhook_id.encode(), value=value, headers=headers)])
    (record,) = [one for one in read_all(stack, IGNORED.name) if one.key == webhook_id.encode()]

    place = f"{record.topic}:{record.partition}:{record.offset}"
    answer = CliRunner().invoke(main, ["dlq", "show", place], env=environment, catch_exceptions=False)

    assert (answer.exit_code, "other_stage at parse" in answer.output) == (0, True), answer.output
    assert "9991234567" not in answer.output
