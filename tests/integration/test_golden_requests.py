"""Every golden request through the running service into a real Kafka: the records that its file says, no others."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from runtime import kafka
from runtime.registry import Registry
from sandbox.stack import Addresses
from schemas.contracts import RAW_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.records import WEBHOOK_ID_HEADER, Headers, Incoming, Outgoing, header
from schemas.topics import RAW, REJECTED, UNFETCHED, WEBHOOKS
from tests.golden.cases import Golden, golden, seen, told
from tests.integration.test_webhook_service import Service, answers, read_all, running, until


@dataclass(kw_only=True)
class Found:
    """What Kafka holds of one webhook."""

    events: list[tuple[str, Incoming]] = field(default_factory=list)
    kept: list[Headers] = field(default_factory=list)


def configure(service: Service, cases: dict[str, Golden]) -> None:
    codec = Registry(service.addresses.schema_registry_url).codec(WEBHOOK_CONFIGURATIONS)
    sender = kafka.Sender(kafka.producer(service.addresses.kafka_bootstrap_servers, client_id="test"))
    sender.send(
        Outgoing(topic=WEBHOOKS.name, key=one.encode(), value=codec.encode(case.webhook(one, service.secret)))
        for one, case in cases.items()
    )


def send(service: Service, webhook_id: str, case: Golden) -> httpx.Response:
    address = f"{service.url}/hooks/{webhook_id}/{service.secret}" + (f"?{case.query}" if case.query else "")
    return httpx.post(address, content=case.body, headers=case.headers, timeout=10)


def stored(addresses: Addresses) -> defaultdict[str, Found]:
    found: defaultdict[str, Found] = defaultdict(Found)
    for topic in (RAW.name, UNFETCHED.name):
        for record in read_all(addresses, topic):
            found[header(record.headers, WEBHOOK_ID_HEADER) or ""].events.append((topic, record))
    for record in read_all(addresses, REJECTED.name):
        found[(record.key or b"").decode()].kept.append(record.headers)
    return found


def became(case: Golden, found: Found, service: Service) -> list[dict[str, Any]]:
    """Return the events in the order of the file, as it writes them."""
    codec = Registry(service.addresses.schema_registry_url).codec(RAW_EVENTS)
    decoded = [(topic, record.key, codec.decode(record.value)) for topic, record in found.events]
    expected = case.content["events"]
    orders = [one["event"].get("order_id") for one in expected]
    decoded.sort(key=lambda one: orders.index(one[2].order_id) if one[2].order_id in orders else len(orders))
    assert all(event.body == case.stored_body for _, _, event in decoded)
    return [
        seen(event, topic=topic, key=key, event_key=one["event_key"])
        for (topic, key, event), one in zip(decoded, expected, strict=True)
    ]


def test_every_golden_request_is_in_kafka_as_its_file_says(stack: Addresses, tmp_path: Path) -> None:
    cases = {str(uuid.uuid4()): case for case in golden()}
    with running(tmp_path, stack) as service:
        configure(service, cases)
        until(lambda: answers(service, "/readyz"), service.log)
        last = list(cases)[-1]
        until(lambda: httpx.post(f"{service.url}/hooks/{last}/{service.secret}", timeout=10).status_code == 200)
        answered = {webhook_id: send(service, webhook_id, case) for webhook_id, case in cases.items()}
    found = stored(stack)
    for webhook_id, case in cases.items():
        answer, mine = answered[webhook_id], found[webhook_id]
        assert told(answer.status_code, answer.json(), mine.kept) == case.content["answer"], case
        assert became(case, mine, service) == case.content["events"], case
