"""What is kept of requests that did not authenticate: enough to check them again, and nothing worth stealing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from producers import hooks
from producers.dialects import DIALECTS
from producers.quarantine import BODY_LIMIT_BYTES, SHOWN_HEADER
from runtime.vault import hash_of
from schemas.records import Outgoing, header
from schemas.topics import QUARANTINE
from tests.unit.producers.parts import NOW_MS, WEBHOOK, Service, webhook

HOOK = f"/hooks/{WEBHOOK.webhook_id}"
BODY = b'{"session_id": "s1"}'


@pytest.fixture
def service() -> Service:
    return Service(max_body_bytes=1024 * 1024)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as connected:
        yield connected


def kept(service: Service) -> list[Outgoing]:
    return [record for record in service.publisher.records if record.topic == QUARANTINE.name]


async def test_a_wrong_secret_is_kept_as_its_hash_and_nowhere_in_clear(
    service: Service, client: httpx.AsyncClient
) -> None:
    headers = {"Authorization": "Bearer mistyped", "X-Webhook-Secret": "other", "Content-Type": "application/json"}
    answer = await client.post(
        f"{HOOK}/in-the-path?token=in-the-query&utm=1",
        content=BODY,
        headers=headers | {"Idempotency-Key": "k7", "Cookie": "session=stolen", "X-Api-Key": "foreign"},
    )
    (record,) = kept(service)
    assert answer.status_code == 401
    assert (record.key, record.value) == (WEBHOOK.webhook_id.encode(), BODY)
    hashes = (header(record.headers, SHOWN_HEADER) or "").split(",")
    assert set(hashes) == {hash_of(secret) for secret in ("mistyped", "other", "in-the-path", "in-the-query")}
    assert header(record.headers, "query") == "utm=1"
    assert header(record.headers, "content-type") == "application/json"
    assert header(record.headers, "delivery_key") == "k7"
    assert header(record.headers, "received_at") == str(NOW_MS)
    written = repr(record)
    for secret in ("mistyped", "other", "in-the-path", "in-the-query", "stolen", "foreign"):
        assert secret not in written


async def test_a_wrong_signature_is_kept_with_what_it_takes_to_check_it(
    service: Service, client: httpx.AsyncClient
) -> None:
    signed = {"webhook-id": "m1", "webhook-timestamp": str(NOW_MS // 1000), "webhook-signature": "v1,AAAA"}
    assert (await client.post(HOOK, content=BODY, headers=signed)).status_code == 401
    (record,) = kept(service)
    assert {name: header(record.headers, name) for name in signed} == signed


@pytest.mark.parametrize(
    "address",
    [HOOK, "/hooks/00000000-0000-4000-8000-000000000009/secret", "/functions/v1/crm-conversion-hook"],
)
async def test_what_could_never_be_checked_again_is_not_kept(
    service: Service, client: httpx.AsyncClient, address: str
) -> None:
    assert (await client.post(address, content=BODY)).status_code in (401, 404)
    assert service.publisher.records == []


async def test_a_flood_is_kept_up_to_a_rate_and_a_large_body_not_at_all(
    service: Service, client: httpx.AsyncClient
) -> None:
    for _ in range(50):
        assert (await client.post(f"{HOOK}/wrong", content=BODY)).status_code == 401
    assert len(kept(service)) == 5
    service.clock_seconds += 10
    await client.post(f"{HOOK}/wrong", content=b"x" * (BODY_LIMIT_BYTES + 1))
    assert len(kept(service)) == 5
    await client.post(f"{HOOK}/wrong", content=b"x" * BODY_LIMIT_BYTES)
    assert len(kept(service)) == 6


async def test_nothing_is_done_for_a_body_that_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    redacted: list[int] = []

    def counted(body: bytes, _content_type: str | None) -> bytes:
        redacted.append(len(body))
        return b""

    tilda = replace(DIALECTS["tilda"], stored=counted)
    monkeypatch.setattr(hooks, "DIALECTS", {**DIALECTS, "tilda": tilda})
    service = Service(webhook(dialect="tilda"), max_body_bytes=1024 * 1024)
    async with service.client() as client:
        await client.post(f"{HOOK}/wrong", content=b"x" * (BODY_LIMIT_BYTES + 1))
        for _ in range(20):
            await client.post(f"{HOOK}/wrong", content=b"COOKIES=a")
    assert redacted == [9] * 5
    assert len(kept(service)) == 5


async def test_a_portals_tokens_are_cut_out_of_a_kept_body_too() -> None:
    service = Service(webhook(dialect="bitrix24_event"))
    body = b"event=ONCRMDEALUPDATE&data[FIELDS][ID]=41&auth[application_token]=not-this-one"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with service.client() as client:
        assert (await client.post(HOOK, content=body, headers=form)).status_code == 401
    (record,) = kept(service)
    assert b"not-this-one" not in (record.value or b"")
    assert header(record.headers, SHOWN_HEADER) == hash_of("not-this-one")
