"""Only what a replay of ours wrote is believed of a record's past; other people's headers are data."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given

from schemas.dead_letter import ErrorClass, Reason, Stage, for_replay, letter_for
from schemas.fitting import CUT_HEADER, fits, fitted
from schemas.history import MARK_HEADER, believed, marked, told
from schemas.records import Headers, Incoming, Outgoing, header, size_of, whole_number
from schemas.topics import RECORD_LIMIT_BYTES
from tests import hostile

NOW_MS = 1_790_000_000_000
REASON = Reason(error_class=ErrorClass.UNDECODABLE, stage=Stage.DECODE, message="no record")
PAST: Headers = (
    ("dlq.original.topic", b"crm.events.raw"),
    ("dlq.original.partition", b"5"),
    ("dlq.original.offset", b"77"),
    ("dlq.original.timestamp", b"1"),
    ("dlq.attempts", b"40"),
    ("dlq.first.failed.at", b"2020-01-01T00:00:00.000Z"),
    ("dlq.replay.count", b"9"),
    ("dlq.replay.run.id", b"theirs"),
)


def _record(headers: Headers, value: bytes | None = b"v", topic: str = "crm.events.raw") -> Incoming:
    return Incoming(topic=topic, partition=3, offset=1042, timestamp=NOW_MS, key=b"k", value=value, headers=headers)


def _letter(record: Incoming) -> Outgoing:
    return letter_for(record, REASON, topic=f"{record.topic}.dlq", now_ms=NOW_MS, letter_id=uuid.UUID(int=1))


def _read(record: Outgoing, topic: str) -> Incoming:
    return _record(record.headers, record.value, topic)


@pytest.mark.parametrize("mark", [(), ((MARK_HEADER, b""),), ((MARK_HEADER, b"0" * 32),), ((MARK_HEADER, None),)])
def test_a_past_that_somebody_else_wrote_is_no_past_of_ours(mark: Headers) -> None:
    letter = _letter(_record(PAST + mark)).headers

    assert header(letter, "dlq.attempts") == "1"
    assert header(letter, "dlq.replay.count") == "0"
    assert (header(letter, "dlq.original.partition"), header(letter, "dlq.original.offset")) == ("3", "1042")
    assert header(letter, "dlq.original.timestamp") == str(NOW_MS)
    assert header(letter, "dlq.first.failed.at") == header(letter, "dlq.last.failed.at")
    assert header(letter, "dlq.replay.run.id") is None


def test_a_letter_that_is_copied_back_with_all_its_headers_begins_anew() -> None:
    letter = _letter(_record(()))
    for _ in range(3):
        letter = _letter(_read(for_replay(_read(letter, "crm.events.raw.dlq")), "crm.events.raw"))

    copied = _letter(_read(letter, "crm.events.raw")).headers

    assert header(letter.headers, "dlq.attempts") == "4"
    assert MARK_HEADER not in dict(letter.headers)
    assert header(copied, "dlq.attempts") == "1"
    assert header(copied, "dlq.replay.count") == "0"


@pytest.mark.parametrize("name", [name for name, _ in PAST])
def test_a_mark_holds_for_these_headers_and_this_value_only(name: str) -> None:
    record = marked(Outgoing(topic="crm.events.raw", key=b"k", value=b"v", headers=PAST))
    changed = tuple((one, b"8" if one == name else text) for one, text in record.headers)
    without = tuple(pair for pair in record.headers if pair[0] != name)

    assert believed(_read(record, record.topic)) == told(PAST)
    assert believed(_record(changed)) == {}
    assert believed(_record(without)) == {}
    assert believed(_record(record.headers, b"another")) == {}
    assert believed(_record((*record.headers, (name, b"x")))) == {}


def test_a_mark_outlives_another_key_and_other_headers() -> None:
    record = marked(Outgoing(topic="crm.events.raw", key=b"k", value=b"v", headers=PAST))
    rekeyed = replace(_read(record, "crm.events.waiting"), key=b"u:1")

    assert believed(replace(rekeyed, headers=(*rekeyed.headers, ("waiting.over", b"2")))) == told(PAST)


@given(hostile.headers, hostile.headers)
def test_what_is_told_is_short_and_of_its_kind_whatever_the_headers_hold(first: Headers, second: Headers) -> None:
    found = told((*first, *PAST, *second))

    assert all(len(text) < 250 and text.isascii() for text in found.values())
    for name in ("dlq.original.partition", "dlq.original.offset", "dlq.attempts", "dlq.replay.count"):
        assert name not in found or 0 <= int(found[name]) < 2**63
    again = marked(Outgoing(topic="t", key=None, value=None, headers=(*first, *PAST, *second)))
    assert believed(_record(again.headers, None)) == found


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1_0", "1.0", "٣", "²", "\uff11", "9" * 20, "9" * 5000, "0" * 30]
)
def test_a_number_that_is_none_of_ours_is_none(text: str) -> None:
    assert whole_number(text) is None


def test_numbers_have_a_largest_one() -> None:
    assert whole_number("9223372036854775807") == 2**63 - 1
    assert whole_number("9223372036854775808") is None
    assert whole_number("8", largest=7) is None
    assert whole_number(None) is None


@pytest.mark.parametrize(
    ("key", "value", "headers", "cut"),
    [
        (b"k", b"v" * (RECORD_LIMIT_BYTES - 100), (), "value"),
        (b"k", b"v" * (100 * 1024 * 1024), (("event_id", b"e"),), "value"),
        (b"k" * RECORD_LIMIT_BYTES, b"v", (), "key"),
        (b"k" * RECORD_LIMIT_BYTES, b"v" * RECORD_LIMIT_BYTES, (), "key, value"),
        (b"k", b"v", (("event_id", b"e"), ("x", b"h" * RECORD_LIMIT_BYTES)), "headers"),
        (b"k", b"v", (("event_id", b"e"), *((f"x{one}", b"") for one in range(600_000))), "headers"),
        (b"k", None, (("event_id", b"e" * RECORD_LIMIT_BYTES),), "headers"),
    ],
)
def test_a_record_of_any_size_has_a_letter_that_the_broker_takes(
    key: bytes, value: bytes | None, headers: Headers, cut: str
) -> None:
    letter = _letter(replace(_record(headers, value), key=key))

    assert fits(letter)
    assert header(letter.headers, CUT_HEADER) == cut
    assert header(letter.headers, "dlq.original.offset") == "1042"
    assert (letter.key is None) == ("key" in cut)
    assert (letter.value is None) == ("value" in cut or value is None)
    if headers and len(headers[0][1] or b"") < 10:
        assert header(letter.headers, "event_id") == "e"


def test_what_fits_is_kept_byte_for_byte() -> None:
    record = _record((("x", None), ("x", b"\xff")), b"v" * (RECORD_LIMIT_BYTES - 16_384))
    letter = _letter(record)

    assert (letter.key, letter.value, letter.headers[:2]) == (record.key, record.value, record.headers)
    assert CUT_HEADER not in dict(letter.headers)
    assert fitted(letter, why=letter.headers[2:]) is letter
    assert size_of(letter) < RECORD_LIMIT_BYTES
