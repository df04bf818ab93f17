"""How a request is read: content-codings are undone within the limit, and what cannot be read is refused by name."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from producers.door import DROP_IN
from schemas.topics import REJECTED
from tests.unit.producers.parts import NOW_MS, SECRET, WEBHOOK, Service, webhook

BODY = b'{"session_id": "s1", "goal_value": 5}'
BEARER = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
HOOK = f"/hooks/{WEBHOOK.webhook_id}"


@pytest.fixture
def service() -> Service:
    return Service(max_body_bytes=5000)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as connected:
        yield connected


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("GZIP", gzip.compress(BODY, mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("", BODY),
        ("UTF-8", BODY),
    ],
)
async def test_a_compressed_body_is_stored_as_it_was_before(
    service: Service, client: httpx.AsyncClient, coding: str, sent: bytes
) -> None:
    answer = await client.post(DROP_IN, content=sent, headers=BEARER | {"Content-Encoding": coding})
    assert answer.status_code == 202
    assert service.publisher.events[0].body == BODY


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_another_coding_is_415_and_says_which_are_understood(client: httpx.AsyncClient, coding: str) -> None:
    answer = await client.post(DROP_IN, content=BODY, headers=BEARER | {"Content-Encoding": coding})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate, identity")
    assert "gzip" in answer.json()["error"]


async def test_a_small_body_that_inflates_beyond_the_limit_is_413(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b"[" + b" " * 4_000_000 + b"]")
    assert len(bomb) < 5000
    answer = await client.post(DROP_IN, content=bomb, headers=BEARER | {"Content-Encoding": "gzip"})
    assert answer.status_code == 413


@pytest.mark.parametrize("sent", [b"not gzip", gzip.compress(BODY, mtime=0)[:-9]])
async def test_a_damaged_compressed_body_is_400(client: httpx.AsyncClient, sent: bytes) -> None:
    answer = await client.post(DROP_IN, content=sent, headers=BEARER | {"Content-Encoding": "gzip"})
    assert (answer.status_code, "Content-Encoding" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("coding", ["br", "gzip"])
async def test_a_crm_is_not_refused_for_its_coding_but_its_body_is_kept_as_it_came(coding: str) -> None:
    service = Service(webhook(dialect="amocrm"))
    async with service.client() as client:
        answer = await client.post(f"{HOOK}/{SECRET}", content=b"\x1b&leads", headers={"Content-Encoding": coding})
    assert (answer.status_code, "rejected" in answer.json()) == (200, True)
    assert [(record.topic, record.value) for record in service.publisher.records] == [(REJECTED.name, b"\x1b&leads")]


@pytest.mark.parametrize("over", [gzip.compress(BODY, mtime=0), BODY])
async def test_a_compressed_body_may_be_signed_before_or_after(over: bytes) -> None:
    timestamp = str(NOW_MS // 1000)
    signature = "sha256=" + hmac.digest(SECRET.encode(), timestamp.encode() + b"." + over, hashlib.sha256).hex()
    headers = {"X-Signature-256": signature, "X-Signature-Timestamp": timestamp, "Content-Encoding": "gzip"}
    async with Service(webhook(signature="x-signature-256")).client() as client:
        answer = await client.post(HOOK, content=gzip.compress(BODY, mtime=0), headers=headers)
    assert answer.status_code == 202
