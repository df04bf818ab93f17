"""What is shown of a letter without --reveal holds no personal data and no secret."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.masking import masked, masked_body, masked_header, masked_key
from goalpost.dead_letters.view import letter_content
from schemas.dead_letter import ErrorClass, Reason, Stage, letter_for
from schemas.events import RawEvent
from schemas.records import Incoming

PHONE = "+79991234567"
EMAIL = "ivan@example.com"
CLIENT_ID = "17672249991234567890"
SECRET = "whsec-very-secret"

EVENT = RawEvent(
    event_id="8d1b6a2e-5c0f-5d4b-9a3e-2f4c6b8d0e1a",
    webhook_id="6f1c2a58-3f0e-4a52-9a0b-1f3a5f2f7c11",
    dialect="generic",
    received_at=1,
    occurred_at=1,
    ym_uid=CLIENT_ID,
    goal_name="deal_won",
    order_id="D-1042",
    body=json.dumps({"phone": PHONE, "contact": {"values": [{"value": EMAIL}]}, "goal_name": "deal_won"}).encode(),
    query=f"token={SECRET}",
)


def _letter_record(value: bytes) -> Incoming:
    headers = (("event_id", EVENT.event_id.encode()), ("query", f"token={SECRET}".encode()), ("dlq.stage", b"join"))
    return Incoming(
        topic="crm.events.raw.dlq",
        partition=0,
        offset=0,
        timestamp=0,
        key=f"u:{CLIENT_ID}".encode(),
        value=value,
        headers=headers,
    )


def _shown(fields: dict[str, Any] | None, value: bytes, *, reveal: bool = False) -> str:
    return json.dumps(letter_content(letter_of(_letter_record(value)), fields, reveal=reveal), ensure_ascii=False)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        (asdict(EVENT), b""),
        (None, EVENT.body),
        (None, f"phone={PHONE}&email={EMAIL}&id={CLIENT_ID}&token={SECRET}".encode()),
        (None, json.dumps([{"PHONE": [{"VALUE": PHONE}]}, EMAIL, int(CLIENT_ID)]).encode()),
        (None, b"\xff\x00" + PHONE.encode()),
    ],
    ids=["decoded", "json", "form", "nested", "bytes"],
)
def test_nothing_personal_is_shown_unless_revealed(fields: dict[str, Any] | None, value: bytes) -> None:
    shown = _shown(fields, value)

    assert not [secret for secret in (PHONE, EMAIL, CLIENT_ID, SECRET) if secret in shown]


def test_reveal_shows_it() -> None:
    shown = _shown(asdict(EVENT), b"", reveal=True)

    assert all(text in shown for text in (PHONE, EMAIL, CLIENT_ID, SECRET))


def test_what_helps_and_harms_nobody_is_shown() -> None:
    shown = masked(asdict(EVENT))

    assert shown["goal_name"] == "deal_won"
    assert shown["order_id"] == "D-1042"
    assert shown["body"]["goal_name"] == "deal_won"
    assert shown["ym_uid"] == "(20 characters)"
    assert shown["body"]["contact"] == {"values": [{"value": "(16 characters)"}]}


def test_a_field_that_is_known_here_is_not_trusted_in_a_foreign_body() -> None:
    assert masked_body({"source": EMAIL, "value": 79991234567, "stage": PHONE}) == {
        "source": "(16 characters)",
        "value": "(int)",
        "stage": "(12 characters)",
    }


def test_secrets_of_a_webhook_are_hidden() -> None:
    assert SECRET not in str(masked({"sealed_secrets": (SECRET,), "secret_hashes": [SECRET], "name": EMAIL}))


def test_a_key_keeps_its_kind_only() -> None:
    assert masked_key(b"u:17672249991234567890") == "u:(20 characters)"
    assert masked_key(f"e:{EVENT.event_id}".encode()) == f"e:{EVENT.event_id}"
    assert masked_key(EVENT.webhook_id.encode()) == EVENT.webhook_id
    assert masked_key(None) == ""


@pytest.mark.parametrize("key", [PHONE, f"e:{EMAIL}", f"x:{SECRET}", EMAIL])
def test_a_foreign_key_is_hidden(key: str) -> None:
    assert key[2:] not in masked_key(key.encode())


def test_a_header_is_hidden_unless_it_is_known() -> None:
    assert masked_header("dlq.error.class", b"expired") == "expired"
    assert masked_header("X-Phone", PHONE.encode()) == "(12 bytes)"
    assert PHONE not in masked_header("__connect.errors.exception.message", f"bad value {PHONE}".encode())


NOW = "1796054400123"
OUR_NUMBERS = (
    *("received_at", "dlq.original.timestamp", "dlq.original.offset", "dlq.metrika.upload.id"),
    *("waiting.since", "waiting.due", "waiting.raw.timestamp", "waiting.raw.offset", "waiting.released"),
)


@pytest.mark.parametrize("name", OUR_NUMBERS)
def test_times_and_places_of_ours_are_shown(name: str) -> None:
    assert masked_header(name, NOW.encode()) == NOW


def test_no_time_in_a_letter_of_ours_is_hidden() -> None:
    record = replace(_letter_record(b""), topic="crm.events.raw", offset=987_654_321, timestamp=int(NOW))
    reason = Reason(
        error_class=ErrorClass.EXPIRED, stage=Stage.UPLOAD, message="too old since 2026-11-30T13:15:15.123Z"
    )
    letter = letter_for(record, reason, topic="crm.events.raw.dlq", now_ms=int(NOW), letter_id=uuid.uuid4())

    hidden = [name for name, value in letter.headers if "(hidden)" in masked_header(name, value)]

    assert hidden == []


@pytest.mark.parametrize("name", OUR_NUMBERS)
@pytest.mark.parametrize("foreign", [EMAIL, PHONE, f"call {PHONE}", "7" * 40])
def test_a_foreign_text_under_the_name_of_a_number_is_hidden(name: str, foreign: str) -> None:
    assert foreign not in masked_header(name, foreign.encode())


@pytest.mark.parametrize("path", sorted(Path("schemas/avro").glob("*.avsc")), ids=lambda path: path.stem)
def test_every_time_of_every_schema_is_shown(path: Path) -> None:
    fields = json.loads(path.read_text(encoding="utf-8"))["fields"]
    times = {field["name"]: int(NOW) for field in fields if "timestamp-millis" in json.dumps(field["type"])}

    assert masked(times) == times


def test_a_letter_says_when_it_was_written_and_since_when_there_is_its_record() -> None:
    headers = (("dlq.original.timestamp", NOW.encode()),)
    content = letter_content(
        letter_of(replace(_letter_record(b""), timestamp=1_796_054_500_000, headers=headers)), None, reveal=False
    )

    assert content["written_at"] == "2026-11-30T16:01:40.000Z"
    assert content["origin_at"] == "2026-11-30T16:00:00.123Z"


@pytest.mark.parametrize("given", [b"9" * 18, b"-5", b"", b"9" * 30])
def test_a_time_that_no_year_has_stops_nobody(given: bytes) -> None:
    letter = letter_of(replace(_letter_record(b""), headers=(("dlq.original.timestamp", given),)))

    assert letter_content(letter, None, reveal=False)["origin_at"]


def test_a_remark_about_what_was_not_taken_is_shown_without_what_is_personal() -> None:
    remark = f"the time 2026-11-30T13:15:15Z is in the future; phone {PHONE} is none"

    assert masked({"notes": remark})["notes"] == remark.replace(PHONE, "(hidden)")
    assert masked_body({"notes": remark})["notes"] == f"({len(remark)} characters)"


@pytest.mark.parametrize("body", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 100_000])
def test_a_body_that_is_nested_without_end_is_shown_without_it(body: str) -> None:
    shown = json.dumps(masked({"body": body.encode()}))
    assert len(shown) < 1000
