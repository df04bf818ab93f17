"""What a signed request may say: its body, nothing else, and the same event however often it comes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Callable

import pytest

from producers.signature import keys_of
from producers.signed import content_type_of
from schemas.topics import REJECTED
from tests.unit.producers.parts import NOW_MS, RAW_CODEC, SECRET, WEBHOOK, Service, webhook

HOOK = f"/hooks/{WEBHOOK.webhook_id}"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BODY = b'{"session_id":"s1","goal_name":"paid"}'
NOW = NOW_MS // 1000
SIX_MINUTES = 360

Headers = dict[str, str]
Signer = Callable[..., Headers]


def standard(body: bytes, *, at: int = NOW, name: str = "msg_1") -> Headers:
    """Sign as Standard Webhooks do."""
    digest = hmac.digest(keys_of(SECRET)[-1], f"{name}.{at}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def plain(body: bytes, *, at: int = NOW) -> Headers:
    """Sign with ``X-Signature-256`` and its timestamp."""
    digest = hmac.digest(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return {"X-Signature-256": "sha256=" + digest.hex(), "X-Signature-Timestamp": str(at)}


def untimed(body: bytes) -> Headers:
    """Sign the body alone, as GitHub does."""
    return {"X-Signature-256": "sha256=" + hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()}


SIGNERS: dict[str, Signer] = {"standard": standard, "x-signature-256": plain}


async def sent(
    scheme: str, *requests: tuple[bytes, Headers, str], dialect: str = "generic"
) -> tuple[list[int], list[list[str]]]:
    """Send requests (body, headers, query) to a webhook of ``scheme``; return the statuses and the event ids."""
    statuses, ids = [], []
    async with Service(webhook(signature=scheme, dialect=dialect)).client() as client:
        for body, headers, query in requests:
            answer = await client.post(HOOK + query, content=body, headers={"Content-Type": JSON, **headers})
            statuses.append(answer.status_code)
            ids.append(answer.json().get("event_ids", []))
    return statuses, ids


@pytest.mark.parametrize("scheme", SIGNERS)
async def test_a_webhook_takes_the_signature_of_its_own_scheme_only(scheme: str) -> None:
    for other, sign in SIGNERS.items():
        statuses, _ = await sent(scheme, (BODY, sign(BODY), ""))
        assert statuses == [202 if other == scheme else 401]


@pytest.mark.parametrize("sign", SIGNERS.values())
async def test_a_webhook_without_a_scheme_takes_no_signature_but_still_its_secret(sign: Signer) -> None:
    statuses, _ = await sent("none", (BODY, sign(BODY), ""), (BODY, {"Authorization": f"Bearer {SECRET}"}, ""))
    assert statuses == [401, 202]


@pytest.mark.parametrize("scheme", SIGNERS)
async def test_a_signature_of_six_minutes_ago_is_refused(scheme: str) -> None:
    statuses, _ = await sent(scheme, (BODY, SIGNERS[scheme](BODY, at=NOW - SIX_MINUTES), ""))
    assert statuses == [401]


@pytest.mark.parametrize("scheme", [*SIGNERS, "none"])
@pytest.mark.parametrize("content_type", [JSON, FORM])
async def test_a_timestamp_moved_into_the_body_is_refused(scheme: str, content_type: str) -> None:
    form, old = b"x=1&session_id=s1&goal_name=g", NOW - 100_000
    for body, prefix in ((form, f"msg_1.{old}."), (form, f"{old}."), (BODY, f"{old}.")):
        moved = prefix.encode() + body
        shown = {**untimed(moved), "Content-Type": content_type}
        fresh = {**shown, "X-Signature-Timestamp": str(NOW)}
        statuses, _ = await sent(scheme, (moved, shown, ""), (moved, fresh, ""), (body, untimed(body), ""))
        assert statuses == [401, 401, 401]


@pytest.mark.parametrize("scheme", SIGNERS)
@pytest.mark.parametrize(
    "query",
    ["?session_id=evil", "?goal_name=evil", "?goal_value=1000000", "?event_id=other", "?order_id=7", "?currency=USD"],
)
async def test_what_the_address_says_of_a_signed_conversion_is_refused(scheme: str, query: str) -> None:
    body = b'{"session_id":"s1"}'
    statuses, _ = await sent(scheme, (body, SIGNERS[scheme](body), query))
    assert statuses == [400]


async def test_a_place_that_the_webhook_knows_is_refused_in_the_address_as_well() -> None:
    async with Service(webhook(fields={"goal_value": "sum"})).client() as client:
        answer = await client.post(HOOK + "?sum=1000000", content=BODY, headers=standard(BODY))
    assert (answer.status_code, answer.json()["field"]) == (400, "sum")


@pytest.mark.parametrize("scheme", SIGNERS)
async def test_other_parameters_of_a_signed_request_are_neither_read_nor_stored(scheme: str) -> None:
    service = Service(webhook(signature=scheme))
    async with service.client() as client:
        answer = await client.post(HOOK + "?utm_source=crm", content=BODY, headers=SIGNERS[scheme](BODY))
    assert answer.status_code == 202
    (record,) = service.publisher.records
    assert RAW_CODEC.decode(record.value or b"").query is None


@pytest.mark.parametrize("scheme", SIGNERS)
@pytest.mark.parametrize("body", [BODY, b'[{"session_id":"a"},{"session_id":"b"}]'])
async def test_a_repeat_within_the_tolerance_is_the_same_event_whatever_else_is_sent_with_it(
    scheme: str, body: bytes
) -> None:
    signed = SIGNERS[scheme](body)
    statuses, ids = await sent(
        scheme,
        (body, signed, ""),
        (body, {**signed, "Idempotency-Key": "other"}, ""),
        (body, {**signed, "Content-Type": FORM}, ""),
        (body, {**signed, "Content-Type": "multipart/form-data; boundary=s1"}, ""),
        (body, {**signed, "Content-Type": "application/json; charset=windows-1251"}, ""),
        (body, signed, "?utm_source=other"),
    )
    assert statuses == [202] * 6
    assert ids[0]
    assert all(again == ids[0] for again in ids)


async def test_a_webhook_id_cannot_be_changed_without_the_signature() -> None:
    signed = plain(BODY)
    _, ids = await sent("x-signature-256", (BODY, signed, ""), (BODY, {**signed, "webhook-id": "other"}, ""))
    assert ids[0] == ids[1]
    statuses, _ = await sent("standard", (BODY, {**standard(BODY), "webhook-id": "other"}, ""))
    assert statuses == [401]


async def test_the_senders_own_id_in_a_signed_body_still_names_the_event() -> None:
    body = b'{"session_id":"s1","event_id":"e1"}'
    _, ids = await sent("x-signature-256", (body, plain(body), ""), (body, plain(body, at=NOW + 9), ""))
    assert ids[0] == ids[1]


async def test_who_shows_the_secret_may_use_the_address_and_a_key_of_their_own() -> None:
    bearer = {"Authorization": f"Bearer {SECRET}"}
    statuses, ids = await sent(
        "standard",
        (b"{}", {**bearer, "Idempotency-Key": "1"}, "?session_id=s1"),
        (b"{}", {**bearer, "Idempotency-Key": "2"}, "?session_id=s1"),
    )
    assert statuses == [202, 202]
    assert ids[0] != ids[1]


async def test_a_signed_form_of_several_parts_is_read_by_the_boundary_in_its_body() -> None:
    body = b'--x1\r\nContent-Disposition: form-data; name="session_id"\r\n\r\ns1\r\n--x1--\r\n'
    assert content_type_of(body) == 'multipart/form-data; boundary="x1"'
    statuses, ids = await sent("standard", (body, {**standard(body), "Content-Type": "text/plain"}, ""))
    assert (statuses, len(ids[0])) == ([202], 1)


@pytest.mark.parametrize("scheme", SIGNERS)
async def test_a_signature_of_another_scheme_is_told_which_one_is_wanted(scheme: str) -> None:
    other = next(sign for name, sign in SIGNERS.items() if name != scheme)
    async with Service(webhook(signature=scheme)).client() as client:
        answer = await client.post(HOOK, content=BODY, headers=other(BODY))
    assert answer.status_code == 401
    assert scheme in answer.json()["error"]
    assert "--signature" in answer.json()["error"]


async def test_a_partly_usable_signed_array_repeats_its_events_and_its_letter() -> None:
    body = b'[{"session_id":"a","goal_name":"g"},{"goal_name":"nobody"}]'
    service = Service(webhook(signature="x-signature-256", dialect="zapier"))
    async with service.client() as client:
        answers = [await client.post(HOOK, content=body, headers=plain(body)) for _ in range(2)]
    first, again = (answer.json()["event_ids"] for answer in answers)
    assert first == again
    assert uuid.UUID(first[0])
    letters = [dict(record.headers)["dlq.id"] for record in service.publisher.records if record.topic == REJECTED.name]
    assert len(letters) == 2
    assert len(set(letters)) == 1
