"""Each golden request becomes, through the door's own handler, exactly the records that its file says."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from producers.dialects import DIALECTS
from schemas.records import Outgoing
from tests.golden.cases import Golden, golden, is_kept, seen, told
from tests.unit.producers.parts import RAW_CODEC, SECRET, Service

CASES = list(golden())
WEBHOOK_ID = "5f0c1b54-7a3e-4c5e-9d3b-0a8f1d2c3b4a"


async def sent(case: Golden, service: Service) -> httpx.Response:
    """Send the request as its sender would: with the secret in the address."""
    async with service.client() as client:
        address = f"/hooks/{WEBHOOK_ID}/{SECRET}" + (f"?{case.query}" if case.query else "")
        return await client.post(address, content=case.body, headers=case.headers)


def events_of(case: Golden, records: list[Outgoing]) -> list[dict[str, Any]]:
    """Return the records of events as the files write them, and see to their stored bodies on the way."""
    written: list[dict[str, Any]] = []
    expected = [one["event_key"] for one in case.content["events"]] + [None] * len(records)
    for record, event_key in zip([one for one in records if not is_kept(one.topic)], expected, strict=False):
        event = RAW_CODEC.decode(record.value)
        assert event.body == case.stored_body
        written.append(seen(event, topic=record.topic, key=record.key, event_key=event_key))
    return written


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_golden_request_becomes_what_its_file_says(case: Golden) -> None:
    service = Service(case.webhook(WEBHOOK_ID, SECRET))
    answer = await sent(case, service)
    records = service.publisher.records
    kept = [record for record in records if is_kept(record.topic)]
    assert told(answer.status_code, answer.json(), [one.headers for one in kept]) == case.content["answer"]
    assert events_of(case, records) == case.content["events"]
    assert all(record.value == case.stored_body for record in kept)


@pytest.mark.parametrize("case", [case for case in CASES if case.content["events"]], ids=str)
async def test_a_repeat_has_the_same_ids_where_the_sender_says_what_it_repeats(case: Golden) -> None:
    service = Service(case.webhook(WEBHOOK_ID, SECRET))
    first, again = [(await sent(case, service)).json()["event_ids"] for _ in range(2)]
    named = [one["event_key"] is not None for one in case.content["events"]]
    assert [one == other for one, other in zip(first, again, strict=True)] == named
    assert {uuid.UUID(one).version for one, is_named in zip(first, named, strict=True) if is_named} <= {5}


def test_every_dialect_has_golden_requests() -> None:
    assert {case.dialect for case in CASES} == set(DIALECTS)
    assert {case.name.partition("/")[0] for case in CASES} == set(DIALECTS)
