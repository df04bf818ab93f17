"""Requests in quarantine, checked again: what the door kept is enough, and a secret that is still wrong stays wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from dataclasses import replace

import httpx

from goalpost.quarantine.checking import Checked, Verdict, checked
from producers.directory import Entry, index_of
from producers.quarantine import UNNAMED
from runtime.vault import hash_of
from schemas.records import Incoming
from schemas.topics import QUARANTINE
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, WEBHOOK, Service, entry, webhook

HOOK = f"/hooks/{WEBHOOK.webhook_id}"
NEW_SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
MENDED = entry(webhook(secret_hashes=(hash_of("old"), hash_of(NEW_SECRET))), NEW_SECRET)


async def quarantined(body: bytes, address: str = HOOK, **headers: str) -> Incoming:
    """Send a request to a door that does not know the new secret yet; return what it keeps."""
    service = Service()
    async with service.client() as client:
        answer: httpx.Response = await client.post(address, content=body, headers=headers)
    assert answer.status_code == 401
    (record,) = service.publisher.records
    return Incoming(
        topic=QUARANTINE.name,
        partition=0,
        offset=7,
        timestamp=NOW_MS,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def check(record: Incoming, known: Entry = MENDED) -> Checked:
    return checked(record, index_of([known]), RAW_CODEC)


async def test_a_request_with_todays_secret_is_published_as_the_door_would_have() -> None:
    body = b'{"session_id": "s1", "order_id": "7", "goal_name": "paid"}'
    found = check(await quarantined(body, f"{HOOK}?utm=1", **{"X-Webhook-Secret": NEW_SECRET}))
    assert found.verdict is Verdict.AUTHENTIC
    (record,) = found.records
    event = RAW_CODEC.decode(record.value)
    assert (event.body, event.query, event.received_at) == (body, "utm=1", NOW_MS)
    assert event.event_id == str(uuid.uuid5(uuid.UUID(WEBHOOK.webhook_id), "order:7:paid"))


async def test_what_nobody_names_gets_the_same_id_in_every_retry() -> None:
    record = await quarantined(b'[{"session_id": "a"}, {"session_id": "b"}]', f"{HOOK}/{NEW_SECRET}")
    first, again = check(record), check(record)
    assert len(set(first.event_ids)) == 2
    assert first.event_ids == again.event_ids
    assert set(first.event_ids).isdisjoint(check(replace(record, offset=8)).event_ids)


async def test_a_signature_must_have_been_recent_when_the_request_came() -> None:
    body = b'{"session_id": "s1"}'
    key = base64.b64decode(NEW_SECRET.removeprefix("whsec_"))
    verdicts = []
    for at in (NOW_MS // 1000, NOW_MS // 1000 - 3600):
        digest = hmac.digest(key, f"m.{at}.".encode() + body, hashlib.sha256)
        signature = f"v1,{base64.b64encode(digest).decode()}"
        signed = {"webhook-id": "m", "webhook-timestamp": str(at), "webhook-signature": signature}
        verdicts.append(check(await quarantined(body, **signed)).verdict)
    assert verdicts == [Verdict.AUTHENTIC, Verdict.STILL_WRONG]


async def test_what_is_still_wrong_or_has_no_webhook_is_not_published() -> None:
    record = await quarantined(b'{"session_id": "s1"}', **{"X-Webhook-Secret": "guessed"})
    found = check(record)
    assert (found.verdict, found.records) == (Verdict.STILL_WRONG, ())
    assert checked(record, index_of([]), RAW_CODEC).verdict is Verdict.WEBHOOK_GONE


async def test_where_the_secret_names_the_webhook_it_is_found_once_one_has_that_secret() -> None:
    body = b'{"session_id": "s1", "event_id": "7"}'
    record = await quarantined(body, "/functions/v1/crm-conversion-hook", **{"X-Webhook-Secret": NEW_SECRET})
    before = check(record, entry(WEBHOOK))
    assert (before.verdict, before.webhook_id) == (Verdict.STILL_WRONG, UNNAMED)
    found = check(record)
    assert (found.verdict, found.webhook_id) == (Verdict.AUTHENTIC, WEBHOOK.webhook_id)
    assert found.event_ids == (str(uuid.uuid5(uuid.UUID(WEBHOOK.webhook_id), "event_id:7")),)


async def test_what_the_sender_would_have_been_told_to_mend_is_unusable() -> None:
    record = await quarantined(b'{"goal_value": 5}', **{"X-Webhook-Secret": "old"})
    assert check(record).verdict is Verdict.UNUSABLE
