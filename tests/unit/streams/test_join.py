"""Records in, records out: the join without Kafka."""

from __future__ import annotations

import pytest

from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, header
from schemas.topics import RAW
from tests.unit.streams.builders import Known, conversion_in, event, joining, raw_record, session


def test_a_conversion_keeps_the_key_and_names_event_and_webhook_in_its_headers() -> None:
    of = event(session_id="s-1")
    (record,) = joining().run([raw_record(of, offset=9)], Known({b"s:s-1": session("s-1")}))
    assert record.key == b"s:s-1"
    assert header(record.headers, EVENT_ID_HEADER) == of.event_id
    assert header(record.headers, WEBHOOK_ID_HEADER) == of.webhook_id
    assert (conversion_in(record).raw_partition, conversion_in(record).raw_offset) == (3, 9)


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00", b"{}", b"\x00\x00\x00\x00\x07\x02", b"\x00\x00\x00\x00\x07"])
def test_a_poisonous_record_becomes_an_untouched_dead_letter_and_the_rest_goes_on(value: bytes | None) -> None:
    bad = raw_record(event(), offset=1, value=value, key=b"k", headers=(("odd", b"\xff"),))
    good = raw_record(event(yclid="1"), offset=2)
    letter, converted = joining().run([bad, good], Known())
    assert (letter.topic, letter.key, letter.value) == (RAW.dead_letters, b"k", value)
    assert ("odd", b"\xff") in letter.headers
    assert header(letter.headers, "dlq.error.class") == "undecodable"
    assert header(letter.headers, "dlq.original.offset") == "1"
    assert conversion_in(converted).yclid == "1"


def test_the_same_record_read_again_yields_the_same_letter() -> None:
    bad = raw_record(event(), offset=1, value=b"")
    assert joining().run([bad], Known()) == joining().run([bad], Known())


def test_a_conversion_that_fits_no_schema_is_refused_and_does_not_stop_the_partition() -> None:
    too_late_for_64_bits = event(yclid="1", received_at=2**63 - 1)
    (letter,) = joining().run([raw_record(too_late_for_64_bits)], Known())
    assert letter.topic == RAW.dead_letters
    assert header(letter.headers, "dlq.error.class") == "event_invalid"


def test_a_payload_that_outgrows_the_topic_is_refused() -> None:
    (letter,) = joining().run([raw_record(event(yclid="1", body=b"\xff" * 1_200_000))], Known())
    assert header(letter.headers, "dlq.error.class") == "event_invalid"
    assert "bytes" in (header(letter.headers, "dlq.error.message") or "")
