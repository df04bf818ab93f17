"""While the door reads what was made to take long, it answers everybody else."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from producers.dialects import DIALECTS
from sandbox.stack import Addresses
from tests.integration.test_webhook_service import WRITE_KEY, Service, answers, running, until
from tests.unit.producers.heavy import FORM, JSON, MULTIPART, VISITOR, every_shape

MIB = 1024 * 1024
# A probe may have to wait for nothing longer, on a machine that does nothing else ...
_LONGEST_SECONDS = 0.25
# ... and on one that is never so busy that a second would pass.
_LONGEST_EVER_SECONDS = 0.9
# What blocks the service does so each time.
_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request to the service."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The service with a webhook of each dialect, and its probe."""

    service: Service
    webhooks: dict[str, str]

    def longest_wait(self, requests: list[Sent]) -> float:
        """Return how long /healthz took at most while ``requests`` were answered, one after the other."""
        longest = 0.0
        with ThreadPoolExecutor(1) as sender, httpx.Client(base_url=self.service.url, timeout=60) as client:
            sending = sender.submit(self._send, requests)
            while not sending.done():
                began = time.monotonic()
                assert client.get("/healthz").status_code == 200
                longest = max(longest, time.monotonic() - began)
                time.sleep(0.005)
            sending.result()
        return longest

    def _send(self, requests: list[Sent]) -> None:
        with httpx.Client(base_url=self.service.url, timeout=60) as client:
            for one in requests:
                answer = client.post(one.path, content=one.body, headers=one.headers)
                assert answer.status_code < 500, (one.path, one.body[:60], answer.text)


@pytest.fixture(scope="module")
def door(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with running(tmp_path_factory.mktemp("busy"), stack) as service:
        webhooks = {dialect: str(uuid.uuid4()) for dialect in DIALECTS}
        for dialect, webhook_id in webhooks.items():
            service.configure(webhook_id, service.secret, dialect=dialect)
        until(lambda: answers(service, "/readyz"), service.log)
        known = webhooks["make"]
        until(lambda: service.post(f"/hooks/{known}", b"").status_code == 200, service.log)
        yield Door(service=service, webhooks=webhooks)


def _crowd() -> float:
    """Return how many times longer than on a machine of its own a program takes now."""
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < 0.2:
        pass
    return (time.monotonic() - began) / 0.2


def _found_responsive(door: Door, requests: list[Sent]) -> None:
    waits: list[float] = []
    while len(waits) < _ROUNDS:
        crowd = _crowd()
        waits.append(door.longest_wait(requests))
        crowd = max(crowd, _crowd(), 1.0)
        if waits[-1] <= min(crowd * _LONGEST_SECONDS, _LONGEST_EVER_SECONDS):
            return
    pytest.fail(f"/healthz took {', '.join(f'{wait:.2f} s' for wait in waits)}")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_largest_bodies_of_every_shape_keep_nobody_waiting(door: Door, dialect: str) -> None:
    secrets = {"X-Webhook-Secret": door.service.secret}
    _found_responsive(
        door,
        [
            Sent(
                path=f"/hooks/{door.webhooks[dialect]}",
                body=one.make(MIB)[:MIB],
                headers=secrets | {"Content-Type": one.content_type},
            )
            for one in every_shape()
        ],
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_who_knows_only_a_webhooks_id_keeps_nobody_waiting(door: Door, dialect: str) -> None:
    signed = {
        "webhook-id": "1",
        "webhook-timestamp": str(int(time.time())),
        "webhook-signature": " ".join(["v1,AAAA"] * 4000),
    }
    bodies = [(one.content_type, one.make(60 * 1024)) for one in every_shape()] + [
        (JSON, b" " * MIB),
        (FORM, b"=&" * (MIB // 2)),
    ]
    _found_responsive(
        door,
        [
            Sent(path=f"/hooks/{door.webhooks[dialect]}", body=body, headers=shown | {"Content-Type": kind})
            for kind, body in bodies
            for shown in ({"X-Webhook-Secret": "wrong"}, signed)
        ],
    )


def test_sessions_in_great_number_and_rows_of_megabytes_keep_nobody_waiting(door: Door) -> None:
    key = {"X-Write-Key": WRITE_KEY, "Content-Type": JSON}
    events = [{"t": number, "page": "a page", "at": [1, 2, 3]} for number in range(90_000)]
    row = {
        "id": str(uuid.uuid4()),
        "session_id": "large",
        "analytics_data": {"ids": {"ym_uid": VISITOR}, "events": events},
    }
    change = json.dumps({"type": "UPDATE", "table": "user_analytics", "record": row, "old_record": row}).encode()
    text = json.dumps(
        {"type": "UPDATE", "table": "user_analytics", "record": row | {"analytics_data": json.dumps(row)}}
    )
    assert len(change) > 8 * MIB
    some = json.dumps([{"session_id": f"s{number}", "ym_uid": VISITOR} for number in range(1000)]).encode()
    many = json.dumps([{"session_id": "s"}] * 20_000).encode()
    packed = key | {"Content-Encoding": "gzip"}
    requests = [
        Sent(path="/sessions/supabase", body=change, headers=key),
        Sent(path="/sessions/supabase", body=gzip.compress(change), headers=packed),
        Sent(path="/sessions/supabase", body=text.encode(), headers=key),
        Sent(path="/sessions/supabase", body=gzip.compress(b"[" * 64 * MIB), headers=packed),
        Sent(path="/sessions", body=some, headers=key),
        Sent(path="/sessions", body=many[:MIB], headers=key),
        Sent(path="/sessions", body=b"[" + b"{}," * (MIB // 3 - 1) + b"{}]", headers=key),
        *(Sent(path="/sessions", body=one.make(MIB)[:MIB], headers=key) for one in every_shape()),
        Sent(path="/sessions", body=b"--x\r\n\r\n" * 15_000, headers=key | {"Content-Type": MULTIPART}),
    ]
    _found_responsive(door, requests)


def test_addresses_and_heads_of_every_size_keep_nobody_waiting(door: Door) -> None:
    units = ("a=&", "%41", "&", "=", "ym_uid=1&", "token=a&", "%5B", "a[b]=")
    addresses = [f"/hooks/{door.webhooks['bitrix24']}?{unit * (60_000 // len(unit))}" for unit in units]
    _found_responsive(
        door,
        [Sent(path=address, body=b"a=1", headers={"Content-Type": FORM}) for address in addresses]
        + [
            Sent(path=f"/hooks/{door.webhooks['make']}", body=b"", headers={name: unit * (60_000 // len(unit))})
            for name in (
                "Content-Type",
                "Authorization",
                "Idempotency-Key",
                "webhook-signature",
                "Cookie",
                "X-Forwarded-For",
            )
            for unit in (";", '"', "v1,A v1", "a=;", "Basic x", ",", "=")
        ],
    )
