"""What one request may hold: more is refused before it is interpreted, or kept where its sender cannot be told."""

from __future__ import annotations

import orjson
import pytest

from producers.dialects.bodies import Unreadable, json_text, read
from producers.dialects.sizes import Sizes, deeper_than
from producers.door import DROP_IN
from producers.exchange import Answer
from producers.request import parameters_within
from producers.worker import Worker
from schemas.records import header
from schemas.topics import RAW, REJECTED
from tests.unit.producers.heavy import FORM, JSON, MULTIPART
from tests.unit.producers.parts import SECRET, WEBHOOK, WRITE_KEY, Service, webhook

BEARER = {"Authorization": f"Bearer {SECRET}"}
HOOK = f"/hooks/{WEBHOOK.webhook_id}"
SMALL = Sizes(parameters=3, fields=4, parts=3, levels=4, conversions=2, sessions=2)
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


def nest(levels: int) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("enough", "content_type", "too_much", "said"),
    [
        (b"a=1&b=2&c=3&d=4", FORM, b"a=1&b=2&c=3&d=4&e=5", "more than 4 fields"),
        (PART * 3 + b"--x--\r\n", MULTIPART, PART * 4 + b"--x--\r\n", "more than 3 parts"),
        (nest(4), JSON, nest(5), "at most 4 levels"),
        (b'{"a":[{}, [], [], {}, {}, "[[[[["]}', JSON, b"[[[[[]]]]]", "at most 4 levels"),
    ],
)
def test_a_body_with_one_thing_too_many_is_not_read(
    enough: bytes, content_type: str, too_much: bytes, said: str
) -> None:
    for of_crm in (False, True):
        assert read(enough, content_type, of_crm=of_crm, sizes=SMALL) is not None
        with pytest.raises(Unreadable, match=said):
            read(too_much, content_type, of_crm=of_crm, sizes=SMALL)


@pytest.mark.parametrize("levels", [2, 3, 100, 900])
def test_levels_are_counted_as_they_are_nested(levels: int) -> None:
    body = nest(levels)
    values = orjson.loads(body)
    assert not deeper_than(levels, body, values)
    assert deeper_than(levels - 1, body, values)
    assert not deeper_than(2, b"[" + b"[]," * 500 + b"1]", [[]] * 500 + [1])


def test_what_the_usual_sizes_let_in_can_be_written_again() -> None:
    found = read(nest(Sizes().levels), JSON)
    assert found is not None
    assert json_text({"in": found.values}).startswith('{"in":{"a":')


@pytest.mark.parametrize("dialect", ["zapier", "make", "amocrm"])
async def test_a_crm_with_too_many_conversions_is_kept_whole(dialect: str) -> None:
    conversion: object = [{"ym_uid": "5"}] * 3
    if dialect == "amocrm":
        conversion = {"leads": {"status": [{"id": n, "status_id": 142, "ym_uid": "5"} for n in range(3)]}}
    service = Service(webhook(dialect=dialect), sizes=SMALL)
    async with service.client() as client:
        answer = await client.post(HOOK, json=conversion, headers=BEARER)
    assert (answer.status_code, "at most 2" in answer.json()["rejected"]) == (200, True)
    (record,) = service.publisher.records
    assert (record.topic, orjson.loads(record.value or b"")) == (REJECTED.name, conversion)
    assert header(record.headers, "dlq.error.class") == "body_unparseable"


async def test_leads_that_are_no_conversions_count_for_nothing() -> None:
    leads = [{"id": n, "status_id": 142 if n < 2 else 143, "ym_uid": "5"} for n in range(50)]
    service = Service(webhook(dialect="amocrm"), sizes=SMALL)
    async with service.client() as client:
        answer = await client.post(HOOK, json={"leads": {"status": leads}}, headers=BEARER)
    assert (len(answer.json()["event_ids"]), answer.json()["ignored"]) == (2, 48)


async def test_programs_that_send_too_many_are_told() -> None:
    service = Service(sizes=SMALL)
    async with service.client() as client:
        conversions = await client.post(DROP_IN, json=[{"session_id": "s"}] * 3, headers=BEARER)
        sessions = await client.post("/sessions", json=[{"session_id": "s"}] * 3, headers={"X-Write-Key": WRITE_KEY})
        form = await client.post(HOOK, content=b"a&b&c&d&e", headers=BEARER | {"Content-Type": FORM})
        deep = await client.post(HOOK, content=nest(5), headers=BEARER | {"Content-Type": JSON})
    assert (conversions.status_code, "at most 2" in conversions.json()["error"]) == (413, True)
    assert (sessions.status_code, "at most 2" in sessions.json()["error"]) == (413, True)
    assert (form.status_code, "more than 4 fields" in form.json()["rejected"]) == (200, True)
    assert (deep.status_code, "at most 4 levels" in deep.json()["error"]) == (400, True)
    assert {record.topic for record in service.publisher.records} == {REJECTED.name}


@pytest.mark.parametrize("address", [DROP_IN, HOOK, "/sessions", "/sessions/supabase"])
async def test_an_address_with_too_many_parameters_is_414(address: str) -> None:
    service = Service(sizes=SMALL)
    async with service.client() as client:
        for query in ("a&b&c&d", "a=1&ym_uid=2&b&c&d"):
            answer = await client.post(f"{address}?{query}", json={}, headers=BEARER)
            assert (answer.status_code, "in the body" in answer.json()["error"]) == (414, True)
        assert (await client.get(f"{HOOK}?a&b&c&d")).status_code == 414
        assert (await client.get(f"{HOOK}?a&b&c")).status_code == 200


async def test_an_address_that_no_proxy_would_pass_on_is_414() -> None:
    for query, status in ((b"a=" + b"1" * 65_534, None), (b"a=" + b"1" * 65_535, 414)):
        found = await parameters_within(3, query, Worker())
        assert (found.status if isinstance(found, Answer) else None) == status


async def test_an_absurd_delivery_key_and_content_type_are_not_stored_with_each_conversion() -> None:
    service = Service(max_body_bytes=1024 * 1024)
    headers = BEARER | {"Idempotency-Key": "k" * 50_000, "Content-Type": "application/json" + ";" * 50_000}
    async with service.client() as client:
        answers = [await client.post(DROP_IN, json=[{"session_id": "s"}] * 2, headers=headers) for _ in range(2)]
    first, second = (answer.json()["event_ids"] for answer in answers)
    assert first == second
    assert len(set(first)) == 2
    assert {record.topic for record in service.publisher.records} == {RAW.name}
    assert max(len(record.value or b"") for record in service.publisher.records) < 5000


async def test_a_body_that_is_read_in_a_thread_is_answered_like_any_other() -> None:
    service = Service(max_body_bytes=1024 * 1024)
    conversion = {"session_id": "s", "note": "n" * 100_000}
    async with service.client() as client:
        taken = await client.post(DROP_IN, json=conversion, headers=BEARER)
        refused = await client.post(DROP_IN, json=conversion | {"goal_value": "x"}, headers=BEARER)
        wrong = await client.post(f"{HOOK}/wrong", json=conversion)
        session = await client.post("/sessions", json=conversion, headers={"X-Write-Key": WRITE_KEY})
    assert [answer.status_code for answer in (taken, refused, wrong, session)] == [202, 400, 401, 202]
    assert refused.json()["field"] == "goal_value"
