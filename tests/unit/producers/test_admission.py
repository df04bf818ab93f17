"""Floods, from the outside: who is refused, who is slowed down, and who does not notice."""

from __future__ import annotations

import asyncio
import time

import pytest

from producers import admission
from producers.admission import Admission
from producers.door import DROP_IN
from runtime.vault import hash_of
from tests.unit.producers.parts import SECRET, WEBHOOK, WRITE_KEY, Service, until, webhook

BEARER = {"Authorization": f"Bearer {SECRET}"}
CONVERSION = {"session_id": "s1"}
OTHER = webhook(webhook_id="00000000-0000-4000-8000-000000000001", secret_hashes=(hash_of("other"),))


async def test_a_sender_that_can_repeat_gets_429_with_the_time_to_wait() -> None:
    async with Service(webhook(max_requests_per_second=1)).client() as client:
        answers = [await client.post(DROP_IN, json=CONVERSION, headers=BEARER) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[-1].headers["retry-after"] == "1"


async def test_a_crm_that_cannot_repeat_is_slowed_down_and_never_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_LONGEST_WAIT_SECONDS", 0.05)
    service = Service(webhook(dialect="amocrm", max_requests_per_second=1))
    async with service.client() as client:
        began = time.monotonic()
        answers = [await client.post(DROP_IN, content=b"test=test", headers=BEARER) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert time.monotonic() - began >= 3 * 0.05


async def test_the_default_rate_is_for_webhooks_without_one_of_their_own() -> None:
    fast = webhook(max_requests_per_second=1000)
    for configured, refused in ((WEBHOOK, 1), (fast, 0)):
        service = Service(configured, admission=Admission(max_in_flight=100, per_second=1))
        async with service.client() as client:
            answers = [await client.post(DROP_IN, json=CONVERSION, headers=BEARER) for _ in range(6)]
        assert sum(answer.status_code == 429 for answer in answers) == refused


async def test_a_wrong_secret_uses_up_nothing_of_the_webhooks_rate() -> None:
    async with Service(webhook(max_requests_per_second=1)).client() as client:
        for _ in range(20):
            wrong = await client.post(f"/hooks/{WEBHOOK.webhook_id}/wrong", json=CONVERSION)
            assert wrong.status_code == 401
        assert (await client.post(DROP_IN, json=CONVERSION, headers=BEARER)).status_code == 202


async def test_a_flood_that_fills_its_half_is_503_while_others_are_served() -> None:
    service = Service(WEBHOOK, OTHER, admission=Admission(max_in_flight=10, per_second=0))
    service.publisher.passing.clear()  # Kafka takes its time
    async with service.client() as client:
        flood = [asyncio.create_task(client.post(DROP_IN, json=CONVERSION, headers=BEARER)) for _ in range(30)]
        await until(lambda: sum(task.done() for task in flood) == 25)
        other = asyncio.create_task(client.post(DROP_IN, json=CONVERSION, headers={"X-Webhook-Secret": "other"}))
        await asyncio.sleep(0.05)
        service.publisher.passing.set()
        statuses = [(await task).status_code for task in flood]
        assert (statuses.count(202), statuses.count(503)) == (5, 25)
        assert (await other).status_code == 202


async def test_beyond_the_limit_of_all_requests_the_next_is_refused_unread_with_a_time_to_return() -> None:
    service = Service(max_in_flight=8)
    service.publisher.passing.clear()  # Kafka takes its time
    headers = {"X-Write-Key": WRITE_KEY}
    async with service.client() as client:
        waiting = [
            asyncio.create_task(client.post("/sessions", json={"session_id": str(number)}, headers=headers))
            for number in range(40)
        ]
        await until(lambda: sum(task.done() for task in waiting) == 36)
        service.publisher.passing.set()
        answers = [await task for task in waiting]
    refused = [answer for answer in answers if answer.status_code == 503]
    # All sessions are one sender to the service, which has an equal share of the half that is not for anybody.
    assert len(refused) == 36
    assert {answer.headers["retry-after"] for answer in refused} == {"5"}


async def test_sessions_have_a_rate_for_all_visitors_together() -> None:
    headers = {"X-Write-Key": WRITE_KEY}
    async with Service(max_sessions_per_second=1).client() as client:
        answers = [await client.post("/sessions", json={"session_id": "s"}, headers=headers) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
