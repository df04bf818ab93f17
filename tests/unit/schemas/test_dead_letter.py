"""Dead letters keep the record as it was and its whole story, however often it fails."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.dead_letter import (
    MESSAGE_LIMIT_BYTES,
    ErrorClass,
    Reason,
    Stage,
    for_replay,
    letter_for,
    original_headers,
    redacted,
)
from schemas.records import Headers, Incoming, Outgoing, header

LETTER_ID = uuid.UUID("4a1d2c3b-5e6f-5a7b-8c9d-0e1f2a3b4c5d")
FIRST_MS = 1_767_225_600_000
REASON = Reason(error_class=ErrorClass.SESSION_NOT_FOUND, stage=Stage.JOIN, message="session not found", attempts=6)

names = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda name: not name.startswith(("dlq.", "__connect.errors.", "kafka_dlt-"))
)
records = st.builds(
    Incoming,
    topic=st.just("crm.events.raw"),
    partition=st.integers(min_value=0, max_value=7),
    offset=st.integers(min_value=0, max_value=2**40),
    timestamp=st.integers(min_value=0, max_value=2**42),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=50),
    headers=st.lists(st.tuples(names, st.none() | st.binary(max_size=20)), max_size=5).map(tuple),
)


def _record(*, offset: int = 1042, headers: Headers = (("event_id", b"e1"),)) -> Incoming:
    return Incoming(
        topic="crm.events.raw", partition=3, offset=offset, timestamp=FIRST_MS, key=b"s:1", value=b"v", headers=headers
    )


def _letter(record: Incoming, reason: Reason = REASON, *, now_ms: int = FIRST_MS) -> Outgoing:
    return letter_for(record, reason, topic="crm.events.raw.dlq", now_ms=now_ms, letter_id=LETTER_ID)


def _read(record: Outgoing, *, topic: str, offset: int) -> Incoming:
    return Incoming(
        topic=topic,
        partition=5,
        offset=offset,
        timestamp=FIRST_MS + 10,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def _replayed(letter: Outgoing, *, offset: int) -> Incoming:
    again = for_replay(_read(letter, topic="crm.events.raw.dlq", offset=0))
    return _read(again, topic=again.topic, offset=offset)


@given(record=records)
def test_key_value_and_headers_are_untouched(record: Incoming) -> None:
    letter = _letter(record)

    assert (letter.key, letter.value) == (record.key, record.value)
    assert letter.headers[: len(record.headers)] == record.headers
    assert original_headers(letter.headers) == record.headers


@given(record=records)
def test_a_replay_restores_the_record(record: Incoming) -> None:
    again = for_replay(_read(_letter(record), topic="crm.events.raw.dlq", offset=0))

    assert (again.topic, again.key, again.value) == (record.topic, record.key, record.value)
    assert original_headers(again.headers) == record.headers


def test_the_letter_says_where_why_and_when() -> None:
    found = _letter(_record()).headers

    assert header(found, "dlq.original.topic") == "crm.events.raw"
    assert header(found, "dlq.original.partition") == "3"
    assert header(found, "dlq.original.offset") == "1042"
    assert header(found, "dlq.original.timestamp") == str(FIRST_MS)
    assert header(found, "dlq.error.class") == "session_not_found"
    assert header(found, "dlq.stage") == "join"
    assert header(found, "dlq.attempts") == "6"
    assert header(found, "dlq.first.failed.at") == "2026-01-01T00:00:00.000Z"
    assert header(found, "dlq.replay.count") == "0"
    assert header(found, "dlq.id") == str(LETTER_ID)


def test_the_letter_says_who_read_it_and_whether_it_can_be_replayed_as_it_is() -> None:
    reason = replace(REASON, effects_done="row", upload_batch_id="b1", metrika_upload_id="4711")
    found = letter_for(
        _record(), reason, topic="crm.events.raw.dlq", now_ms=FIRST_MS, letter_id=LETTER_ID, group="goalpost-join"
    ).headers

    assert header(found, "dlq.consumer.group") == "goalpost-join"
    assert header(found, "dlq.original.key.present") == "true"
    assert header(found, "dlq.error.retriable") == "true"
    assert header(found, "dlq.effects.done") == "row"
    assert header(found, "dlq.upload.batch.id") == "b1"
    assert header(found, "dlq.metrika.upload.id") == "4711"
    assert header(_letter(replace(_record(), key=None)).headers, "dlq.original.key.present") == "false"


def test_a_record_that_itself_is_wrong_is_not_retriable() -> None:
    found = _letter(_record(), replace(REASON, error_class=ErrorClass.UNDECODABLE)).headers

    assert header(found, "dlq.error.retriable") == "false"


@pytest.mark.parametrize(
    "private",
    [
        "anna@example.com",
        "+7 (999) 123-45-67",
        "89991234567",
        "1234-56-78",
        "2026-03-0179991234567",
        "1666707227246044402",
        "y0_AgAAAABkdhsjd7823hdjs8",
    ],
)
def test_personal_data_and_tokens_in_a_message_are_hidden(private: str) -> None:
    found = _letter(_record(), replace(REASON, message=f"field phone: {private} is not usable")).headers

    assert header(found, "dlq.error.message") == "field phone: (hidden) is not usable"
    assert not [name for name, value in found if value is not None and private.encode() in value]


@pytest.mark.parametrize(
    "harmless",
    [
        f"event {LETTER_ID} of 2026-03-01",
        "expired at 2026-03-01T12:00:00Z",
        "expired at 2026-03-01T12:00:00.123456+03:00, not 2026-03-01 12:00:00",
        "it has 3211264 bytes",
        "crm.events.raw 3:1042, the first byte is 123",
    ],
)
def test_ids_dates_and_sizes_in_a_message_stay(harmless: str) -> None:
    assert redacted(harmless) == harmless


def test_a_null_header_is_not_an_empty_one() -> None:
    headers: Headers = (("x", None), ("x", b""), ("event_id", b"e1"))

    assert _letter(_record(headers=headers)).headers[:3] == headers
    assert header(headers, "x") == ""
    assert header(headers[:1], "x") is None


def test_tools_made_for_connect_and_spring_find_their_headers() -> None:
    found = _letter(_record()).headers

    assert {name for name, _value in found if name.startswith("__connect.errors.")} == {
        f"__connect.errors.{name}"
        for name in (
            *("topic", "partition", "offset", "connector.name", "task.id", "stage", "class.name"),
            *("exception.class.name", "exception.message", "exception.stacktrace"),
        )
    }

    assert header(found, "__connect.errors.topic") == "crm.events.raw"
    assert header(found, "__connect.errors.offset") == "1042"
    assert header(found, "__connect.errors.exception.message") == "session not found"
    assert header(found, "kafka_dlt-original-topic") == "crm.events.raw"


def test_a_second_failure_keeps_the_first_coordinates() -> None:
    second = _letter(_replayed(_letter(_record()), offset=9000), now_ms=FIRST_MS + 1000).headers

    assert header(second, "dlq.original.partition") == "3"
    assert header(second, "dlq.original.offset") == "1042"
    assert header(second, "dlq.original.timestamp") == str(FIRST_MS)
    assert header(second, "dlq.first.failed.at") == "2026-01-01T00:00:00.000Z"
    assert header(second, "dlq.last.failed.at") == "2026-01-01T00:00:01.000Z"


def test_connect_headers_name_the_record_that_failed_now() -> None:
    second = _letter(_replayed(_letter(_record()), offset=9000)).headers

    assert header(second, "__connect.errors.offset") == "9000"


def test_a_second_failure_replaces_the_reason_and_adds_up_attempts() -> None:
    reason = Reason(error_class=ErrorClass.GOAL_INVALID, stage=Stage.RESOLVE, message="bad goal", attempts=2)

    second = _letter(_replayed(_letter(_record()), offset=9000), reason).headers

    assert header(second, "dlq.error.class") == "goal_invalid"
    assert header(second, "dlq.error.message") == "bad goal"
    assert header(second, "dlq.attempts") == "8"
    assert header(second, "dlq.replay.count") == "1"


def test_headers_never_pile_up() -> None:
    letter = _letter(_record())
    sizes = []
    for offset in range(3):
        letter = _letter(_replayed(letter, offset=offset))
        sizes.append(len(letter.headers))

    assert len({name for name, _value in letter.headers}) == len(letter.headers)
    assert len(set(sizes)) == 1


def test_a_stage_that_hands_headers_on_does_not_point_into_the_wrong_topic() -> None:
    handed_on = replace(_replayed(_letter(_record()), offset=9000), topic="crm.conversions", offset=7)

    letter = letter_for(handed_on, REASON, topic="crm.conversions.dlq", now_ms=FIRST_MS, letter_id=LETTER_ID)

    assert header(letter.headers, "dlq.original.topic") == "crm.conversions"
    assert header(letter.headers, "dlq.original.offset") == "7"
    assert header(letter.headers, "dlq.attempts") == "6"
    assert header(letter.headers, "dlq.replay.count") == "1"


def test_counters_that_another_tool_spoilt_count_from_zero() -> None:
    spoilt = (("dlq.original.topic", b"crm.events.raw"), ("dlq.attempts", b"many"), ("dlq.replay.count", b"\xff"))

    letter = _letter(_record(headers=spoilt))
    again = for_replay(_read(_letter(_record()), topic="crm.events.raw.dlq", offset=0))

    assert header(letter.headers, "dlq.attempts") == "6"
    assert header(again.headers, "dlq.replay.count") == "1"


def test_a_long_message_is_cut_at_a_whole_character() -> None:
    message = header(_letter(_record(), replace(REASON, message="я" * 5000)).headers, "dlq.error.message")

    assert message == "я" * (MESSAGE_LIMIT_BYTES // 2)


def test_a_record_that_is_no_letter_is_not_replayed() -> None:
    with pytest.raises(ValueError, match="has no dlq"):
        for_replay(_record())
