"""The webhook addresses, from request to record, on a publisher that remembers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from producers.directory import EMPTY
from producers.door import DROP_IN, Endpoints
from runtime.vault import hash_of
from schemas.records import header
from schemas.topics import QUARANTINE, RAW, REJECTED
from tests.unit.producers.parts import NOW_MS, SECRET, WEBHOOK, Service, webhook

BEARER = {"Authorization": f"Bearer {SECRET}"}
HOOK = f"/hooks/{WEBHOOK.webhook_id}"
CONVERSION = {"session_id": "s1", "goal_name": "payment_success", "goal_value": 5000}


def event_id(key: str) -> str:
    return str(uuid.uuid5(uuid.UUID(WEBHOOK.webhook_id), key))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as connected:
        yield connected


async def test_a_conversion_is_answered_202_with_the_id_of_its_record(
    service: Service, client: httpx.AsyncClient
) -> None:
    body = b'{"session_id": "s1",  "goal_value": 5000, "manager": "A"}'
    answer = await client.post(DROP_IN, content=body, headers=BEARER | {"Content-Type": "application/json"})
    (event,) = service.publisher.events
    (record,) = service.publisher.records
    assert (answer.status_code, answer.json()) == (202, {"success": True, "event_ids": [event.event_id]})
    assert (event.body, event.payload, event.content_type) == (body, None, "application/json")
    assert (event.received_at, event.occurred_at, event.dialect) == (NOW_MS, NOW_MS, "generic")
    assert (record.topic, record.key) == (RAW.name, b"s:s1")
    assert header(record.headers, "event_id") == event.event_id
    assert header(record.headers, "webhook_id") == WEBHOOK.webhook_id
    assert uuid.UUID(event.event_id).version == 7


@pytest.mark.parametrize(
    ("fields", "key"),
    [({"ym_uid": "5"}, b"u:5"), ({"ym_uid": "5", "session_id": "s"}, b"s:s"), ({"yclid": "7", "event_id": "e"}, None)],
)
async def test_the_key_is_the_session_else_the_visitor_else_the_event(
    service: Service, client: httpx.AsyncClient, fields: dict[str, str], key: bytes | None
) -> None:
    await client.post(DROP_IN, json=fields, headers=BEARER)
    assert service.publisher.records[0].key == (key or f"e:{event_id('event_id:e')}".encode())


@pytest.mark.parametrize(
    ("fields", "headers", "key"),
    [
        ({"event_id": "deal-7", "order_id": "7"}, {"Idempotency-Key": "k"}, "event_id:deal-7"),
        ({"order_id": "7"}, {"Idempotency-Key": "k", "webhook-id": "m"}, "delivery:k"),
        ({"order_id": "7"}, {"webhook-id": "m"}, "delivery:m"),
        ({"order_id": "7", "goal_name": "paid", "stage": "WON"}, {}, "order:7:paid"),
        ({"order_id": "7", "stage": "WON"}, {}, "order:7:WON"),
        ({"order_id": "7"}, {}, "order:7:"),
    ],
)
async def test_a_repeat_of_what_the_sender_names_is_the_same_event(
    client: httpx.AsyncClient, fields: dict[str, str], headers: dict[str, str], key: str
) -> None:
    for _ in range(2):
        answer = await client.post(DROP_IN, json={"session_id": "s", **fields}, headers=BEARER | headers)
        assert answer.json()["event_ids"] == [event_id(key)]


async def test_a_delivery_key_tells_the_conversions_of_an_array_apart(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        DROP_IN, json=[{"session_id": "a"}, {"session_id": "a"}], headers=BEARER | {"Idempotency-Key": "k"}
    )
    assert answer.json()["event_ids"] == [event_id("delivery:k#0"), event_id("delivery:k#1")]


async def test_long_delivery_keys_that_differ_only_at_their_end_name_two_deliveries(client: httpx.AsyncClient) -> None:
    keys = ["k" * 300 + end for end in "ab"]
    ids = [
        (await client.post(DROP_IN, json=CONVERSION, headers=BEARER | {"Idempotency-Key": key})).json()["event_ids"]
        for key in keys
    ]
    assert ids == [[event_id(f"delivery:{key}")] for key in keys]


async def test_conversions_that_nobody_names_get_ids_of_their_own(client: httpx.AsyncClient) -> None:
    answers = [await client.post(DROP_IN, json=[CONVERSION, CONVERSION], headers=BEARER) for _ in range(2)]
    ids = [one for answer in answers for one in answer.json()["event_ids"]]
    assert len(set(ids)) == 4


async def test_one_bad_element_of_an_array_publishes_nothing(service: Service, client: httpx.AsyncClient) -> None:
    answer = await client.post(
        DROP_IN, json=[CONVERSION, CONVERSION, CONVERSION, {"session_id": "s", "goal_value": "x"}], headers=BEARER
    )
    assert answer.status_code == 400
    assert answer.json()["field"] == "[3].goal_value"
    assert answer.json()["success"] is False
    assert service.publisher.records == []


async def test_json_without_any_id_gets_the_seeds_words(client: httpx.AsyncClient) -> None:
    answer = await client.post(DROP_IN, json={"goal_value": 5}, headers=BEARER)
    assert (answer.status_code, answer.text) == (400, "Missing session_id or ym_uid")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("body", "content_type", "reason", "error_class"),
    [
        (b"goal_value=5", "application/x-www-form-urlencoded", "Missing session_id or ym_uid", "no_visitor"),
        (b"session_id=s&goal_value=x", "application/x-www-form-urlencoded", "goal_value is not", "event_invalid"),
        (b"session_id=%ff", "application/x-www-form-urlencoded", "the form cannot be read", "body_unparseable"),
        (b"\x00\xff", "multipart/form-data; boundary=x", "the multipart body", "body_unparseable"),
    ],
)
async def test_an_authentic_form_that_cannot_be_used_is_kept_byte_for_byte(
    service: Service, client: httpx.AsyncClient, body: bytes, content_type: str, reason: str, error_class: str
) -> None:
    answer = await client.post(
        f"{HOOK}/{SECRET}?utm=1&token={SECRET}", content=body, headers={"Content-Type": content_type}
    )
    assert answer.status_code == 200
    assert answer.json()["event_ids"] == []
    assert answer.json()["rejected"].startswith(reason)
    (record,) = service.publisher.records
    assert (record.topic, record.key, record.value) == (REJECTED.name, WEBHOOK.webhook_id.encode(), body)
    assert header(record.headers, "content-type") == content_type
    assert header(record.headers, "query") == "utm=1"
    assert header(record.headers, "received_at") == str(NOW_MS)
    assert header(record.headers, "dlq.error.class") == error_class
    assert header(record.headers, "dlq.original.topic") == "http"


@pytest.mark.parametrize("body", [b"", b"test=test"])
async def test_a_probe_is_answered_200_and_leaves_no_trace(
    service: Service, client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post(
        f"{HOOK}/{SECRET}", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status_code, answer.json()) == (200, {"success": True, "event_ids": []})
    assert service.publisher.records == []


async def test_a_conversion_that_comes_by_get_is_not_taken_for_a_probe(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{HOOK}/{SECRET}?ym_uid=5&order_id=7")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "POST" in answer.json()["error"]
    assert (await client.get(f"{HOOK}?token={SECRET}&_=1")).status_code == 200


@pytest.mark.parametrize("address", [DROP_IN, HOOK, f"{HOOK}/any"])
async def test_a_get_says_what_the_address_is_and_other_methods_are_405(
    client: httpx.AsyncClient, address: str
) -> None:
    assert (await client.get(address)).status_code == 200
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await client.request(method, address)
        assert (answer.status_code, "POST" in answer.headers["allow"]) == (405, True)


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        (DROP_IN, BEARER),
        (DROP_IN, {"authorization": f"bearer   {SECRET} "}),
        (DROP_IN, {"X-Webhook-Secret": SECRET}),
        (DROP_IN, {"Authorization": basic("goalpost", SECRET)}),
        (HOOK, {"Authorization": basic("", SECRET)}),
        (DROP_IN, {"X-Webhook-Secret": SECRET, "Authorization": "Bearer of-another-gateway"}),
        (f"{DROP_IN}?token={SECRET}", {}),
        (f"{DROP_IN}/", BEARER),
        (HOOK, BEARER),
        (HOOK.upper().replace("HOOKS", "hooks"), BEARER),
        (f"{HOOK}/", BEARER),
        (f"{HOOK}/{SECRET}", {}),
        (f"{HOOK}/{SECRET}/", {}),
        (f"{HOOK}?key={SECRET}", {}),
        (f"{HOOK}/wrong", BEARER),
    ],
)
async def test_each_way_to_show_the_secret_is_accepted(
    client: httpx.AsyncClient, address: str, headers: dict[str, str]
) -> None:
    assert (await client.post(address, json=CONVERSION, headers=headers)).status_code == 202


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        (DROP_IN, {}, 401),
        (DROP_IN, {"Authorization": "Bearer wrong"}, 401),
        (DROP_IN, {"Authorization": f"Basic {SECRET}"}, 401),
        (DROP_IN, {"Authorization": "Bearer "}, 401),
        (DROP_IN, {"Authorization": basic(SECRET, "")}, 401),
        (DROP_IN, {"Authorization": basic("goalpost", SECRET[:-1])}, 401),
        (HOOK, {}, 401),
        (HOOK, {"X-Webhook-Secret": SECRET[:-1]}, 401),
        (f"{HOOK}/{SECRET}x", {}, 401),
        (f"{HOOK}/%FF", {}, 401),
        (HOOK, {"X-Signature-256": "sha256=00"}, 401),
        (f"/hooks/{uuid.UUID(int=7)}/{SECRET}", {}, 404),
        ("/hooks/nonsense", BEARER, 404),
        ("/hooks/", BEARER, 404),
        ("/hook", BEARER, 404),
    ],
)
async def test_without_a_right_secret_nothing_is_taken(
    service: Service, client: httpx.AsyncClient, address: str, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(address, json=CONVERSION, headers=headers)
    assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert SECRET not in answer.text
    assert {record.topic for record in service.publisher.records} <= {QUARANTINE.name}


async def test_a_standard_webhooks_signature_authenticates_and_names_the_delivery(client: httpx.AsyncClient) -> None:
    body = b'{"session_id": "s1"}'
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    timestamp = str(NOW_MS // 1000)
    digest = hmac.digest(key, f"msg_1.{timestamp}.".encode() + body, hashlib.sha256)
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    answer = await client.post(HOOK, content=body, headers=signed)
    assert (answer.status_code, answer.json()["event_ids"]) == (202, [event_id("delivery:msg_1")])
    assert (await client.post(HOOK, content=body + b" ", headers=signed)).status_code == 401


async def test_every_active_secret_of_a_webhook_is_good_and_a_shared_one_does_not_find_a_webhook() -> None:
    other = webhook(webhook_id=str(uuid.uuid4()), secret_hashes=(hash_of("shared"),))
    service = Service(webhook(secret_hashes=(hash_of("old"), hash_of("new"), hash_of("shared"))), other)
    async with service.client() as client:
        for secret in ("old", "new"):
            headers = {"X-Webhook-Secret": secret}
            assert (await client.post(DROP_IN, json=CONVERSION, headers=headers)).status_code == 202
            assert (await client.post(HOOK, json=CONVERSION, headers=headers)).status_code == 202
        assert (await client.post(f"{HOOK}/shared", json=CONVERSION)).status_code == 202
        refused = await client.post(DROP_IN, json=CONVERSION, headers={"X-Webhook-Secret": "shared"})
    assert refused.status_code == 401
    assert "/hooks/{webhook_id}" in refused.json()["error"]


async def test_no_acknowledgement_is_503_with_retry_after(service: Service, client: httpx.AsyncClient) -> None:
    service.publisher.down = True
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, headers in ((b'{"session_id": "s"}', {}), (b"goal_value=5", form)):
        answer = await client.post(f"{HOOK}/{SECRET}", content=body, headers=headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_before_every_webhook_is_known_nobody_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    service.index = EMPTY
    for address in (DROP_IN, HOOK):
        assert (await client.post(address, json=CONVERSION, headers=BEARER)).status_code == 503


async def test_before_the_door_is_open_everything_with_load_is_503(service: Service, client: httpx.AsyncClient) -> None:
    service.door.open(Endpoints())
    for address in (DROP_IN, HOOK, "/sessions", "/sessions/supabase"):
        assert (await client.post(address, json=CONVERSION, headers=BEARER)).status_code == 503


async def test_a_dialect_of_a_later_version_is_asked_for_again() -> None:
    async with Service(webhook(dialect="of-tomorrow")).client() as client:
        assert (await client.post(HOOK, json=CONVERSION, headers=BEARER)).status_code == 503


async def test_the_query_is_stored_without_its_secrets(service: Service, client: httpx.AsyncClient) -> None:
    await client.post(
        f"{HOOK}?TOKEN={SECRET}&secret=x&key=y&write_key=z&goal=%D0%B6&goal=2", json=CONVERSION, headers=BEARER
    )
    assert service.publisher.events[0].query == "goal=%D0%B6&goal=2"


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1000


async def test_a_body_over_the_limit_is_413_whether_declared_or_not() -> None:
    service = Service(max_body_bytes=5000)
    async with service.client() as client:
        declared = await client.post(HOOK, content=b"x" * 5001, headers=BEARER)
        streamed = await client.post(HOOK, content=_chunks(6), headers=BEARER)
        lied = await client.post(HOOK, content=_chunks(6), headers=BEARER | {"Content-Length": "10"})
    for answer in (declared, streamed, lied):
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")


async def test_a_body_of_exactly_the_limit_is_read_in_as_many_pieces_as_it_comes() -> None:
    service = Service(max_body_bytes=5000)
    async with service.client() as client:
        answer = await client.post(HOOK, content=_chunks(5), headers=BEARER | {"Content-Type": "text/plain"})
    assert (answer.status_code, "not valid JSON" in answer.json()["error"]) == (400, True)


async def test_an_array_whose_copies_of_the_body_would_flood_the_queue_is_413() -> None:
    service = Service(max_body_bytes=1024 * 1024)
    async with service.client() as client:
        answer = await client.post(DROP_IN, json=[{"session_id": "s" * 200}] * 1000, headers=BEARER)
    assert (answer.status_code, "array of 1000" in answer.json()["error"]) == (413, True)
    assert service.publisher.records == []


async def test_a_form_that_grows_beyond_what_a_record_can_be_is_413_because_no_repeat_helps() -> None:
    service = Service(max_body_bytes=1024 * 1024)
    body = b"session_id=s&note=" + b"\x01" * 1_000_000  # each becomes six characters of JSON
    async with service.client() as client:
        answer = await client.post(
            DROP_IN, content=body, headers=BEARER | {"Content-Type": "application/x-www-form-urlencoded"}
        )
    assert (answer.status_code, "larger than a record" in answer.json()["error"]) == (413, True)
    assert service.publisher.records == []


async def test_a_bug_costs_one_request_not_the_service(service: Service) -> None:
    async def broken(_scope: object, _receive: object) -> None:
        raise ZeroDivisionError

    service.door.open(Endpoints(drop_in=broken, named=service.endpoints.named))
    async with service.client() as client:
        assert (await client.post(DROP_IN)).status_code == 500
        assert (await client.post(HOOK, json=CONVERSION, headers=BEARER)).status_code == 202
