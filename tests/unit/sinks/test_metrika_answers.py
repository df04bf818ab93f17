"""Every documented answer of Metrika and of Yandex OAuth, and what it is taken for."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sinks.metrika.answer_fields import wait_seconds
from sinks.metrika.answers import (
    Accepted,
    Forbidden,
    Listed,
    Refreshed,
    Refused,
    Throttled,
    Unauthorized,
    Unclear,
    list_answer,
    redacted,
    token_answer,
    upload_answer,
)

ACCEPTED = {"uploading": {"id": 101, "status": "UPLOADED", "source_quantity": 2, "linked_quantity": 1}}


def body(content: object) -> bytes:
    """JSON bytes."""
    return json.dumps(content).encode()


def error(error_type: str, message: str = "text") -> bytes:
    """A documented error body."""
    return body({"errors": [{"error_type": error_type, "message": message}], "code": 0, "message": message})


def test_an_upload_is_accepted_only_with_its_id() -> None:
    answer = upload_answer(200, body(ACCEPTED))
    assert isinstance(answer, Accepted)
    assert (answer.uploading.id, answer.uploading.source_quantity, answer.uploading.line_quantity) == ("101", 2, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'{"uploading": {"id": ', b'{"uploading": {}}', b'{"uploading": {"id": 0}}'],
)
def test_a_200_without_an_id_leaves_it_open_whether_the_file_was_taken(content: bytes) -> None:
    assert isinstance(upload_answer(200, content), Unclear)


@pytest.mark.parametrize(
    ("status", "error_type", "expected"),
    [
        (400, "invalid_uploading", Refused),
        (400, "limit_exceeded", Refused),
        (413, "", Refused),
        (400, "invalid_parameter", Refused),
        (400, "something_new", Refused),
        (422, "", Refused),
        (403, "access_denied", Forbidden),
        (404, "not_found", Forbidden),
        (400, "", Refused),
        (400, "missing_parameter", Forbidden),
        (307, "", Forbidden),
        (308, "", Forbidden),
        (301, "", Unclear),
        (302, "", Unclear),
        (303, "", Unclear),
        (409, "conflict", Unclear),
        (401, "unauthorized", Unauthorized),
        (403, "invalid_token", Unauthorized),
        (420, "quota_requests_by_ip", Throttled),
        (429, "quota_parallel_requests", Throttled),
        (429, "", Throttled),
        (408, "", Unclear),
        (500, "internal_error", Unclear),
        (503, "backend_error", Unclear),
        (504, "timeout", Unclear),
    ],
)
def test_every_status_has_one_meaning(status: int, error_type: str, expected: type) -> None:
    assert type(upload_answer(status, error(error_type))) is expected


def test_a_bad_file_is_no_news_about_a_list() -> None:
    assert isinstance(list_answer(400, error("limit_exceeded")), Forbidden)


def test_an_error_without_the_top_level_message_still_has_its_text() -> None:
    answer = upload_answer(400, body({"errors": [{"error_type": "invalid_uploading", "message": "bad line"}]}))
    assert answer == Refused(message="HTTP 400 invalid_uploading bad line", error_type="invalid_uploading")


def test_a_list_has_what_can_be_read_of_it() -> None:
    answer = list_answer(200, body({"uploadings": [ACCEPTED["uploading"], {"status": "without id"}, 7]}))
    assert isinstance(answer, Listed)
    assert [uploading.id for uploading in answer.uploadings] == ["101"]
    assert answer.unreadable == 2
    assert isinstance(list_answer(200, b"{}"), Unclear)


@pytest.mark.parametrize("status", [201, 202, 206])
def test_any_success_that_names_an_id_means_that_the_file_was_taken(status: int) -> None:
    assert isinstance(upload_answer(status, body(ACCEPTED)), Accepted)
    assert isinstance(upload_answer(status, b""), Unclear)


@pytest.mark.parametrize(
    ("number", "read"),
    [("101", "101"), (101, "101"), (101.0, "101"), ("9223372036854775807", "9223372036854775807"), ("a-7", "a-7")],
)
def test_an_id_is_what_metrika_calls_it_in_whatever_type(number: object, read: str) -> None:
    content = {"id": number, "status": "processed", "source_quantity": "2", "line_quantity": "x", "comment": None}
    answer = upload_answer(200, body({"uploading": content}))
    assert isinstance(answer, Accepted)
    found = answer.uploading
    assert (found.id, found.status, found.comment) == (read, "PROCESSED", "")
    assert (found.source_quantity, found.line_quantity, found.linked_quantity) == (2, None, None)


@pytest.mark.parametrize("number", [10**30, 1e300, True, [], "9" * 19, float("inf")])
def test_what_is_no_count_is_none_and_never_more_than_postgres_can_hold(number: object) -> None:
    answer = upload_answer(200, body({"uploading": {"id": 1, "source_quantity": number}}))
    assert isinstance(answer, Accepted)
    assert answer.uploading.source_quantity is None


def test_nothing_that_is_kept_holds_what_postgres_refuses() -> None:
    """A NUL in one message would otherwise fail every round of its counter, again and again."""
    refused = upload_answer(400, error("invalid_uploading", "line\x00 2 \ud800"))
    assert refused == Refused(message="HTTP 400 invalid_uploading line  2", error_type="invalid_uploading")
    answer = upload_answer(200, body({"uploading": {"id": 1, "status": "NEW\x00"}}))
    assert isinstance(answer, Accepted)
    assert answer.uploading.status == "NEW"


def test_a_list_of_nothing_is_empty() -> None:
    assert list_answer(200, b'{"uploadings": null}') == list_answer(200, b'{"uploadings": []}') == Listed(uploadings=())


NOON_GMT, LATER_GMT = "Sun, 22 Nov 2026 12:00:00 GMT", "Sun, 22 Nov 2026 12:01:30 GMT"


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("7", None, 7.0),
        (" 0 ", None, 0.0),
        ("1.5", None, 1.5),
        (None, NOON_GMT, None),
        ("soon", None, None),
        ("-1", None, None),
        ("9" * 30, None, 86_400.0),
        (LATER_GMT, NOON_GMT, 90.0),  # by the server's clock, whatever ours says
        (NOON_GMT, LATER_GMT, 0.0),
        (LATER_GMT, None, 30.0),
        (LATER_GMT, "yesterday", 30.0),
        ("Mon, 22 Nov 2027 12:00:00 GMT", NOON_GMT, 86_400.0),
    ],
)
def test_retry_after_is_seconds_or_a_time_by_the_servers_clock(
    header: str | None, date: str | None, seconds: float | None
) -> None:
    assert wait_seconds(header, date, now=datetime(2026, 11, 22, 12, 1, tzinfo=UTC)) == seconds


def test_the_wait_that_is_asked_for_comes_with_the_answer() -> None:
    throttled = upload_answer(429, error("quota_requests_by_ip"), retry_after=7)
    unclear = list_answer(503, error("backend_error"), retry_after=7)
    assert isinstance(throttled, Throttled)
    assert isinstance(unclear, Unclear)
    assert throttled.retry_after_seconds == unclear.retry_after_seconds == 7


def test_a_rotated_refresh_token_is_read_and_a_missing_one_is_none() -> None:
    answer = token_answer(200, body({"access_token": "a", "refresh_token": "r", "expires_in": 60}))
    assert answer == Refreshed(access_token="a", refresh_token="r", expires_in_seconds=60)
    assert token_answer(200, body({"access_token": "a"})) == Refreshed(
        access_token="a", refresh_token=None, expires_in_seconds=None
    )


def test_a_refused_refresh_token_needs_a_person_and_a_failing_server_only_time() -> None:
    refused = token_answer(400, body({"error": "invalid_grant", "error_description": "expired_token"}))
    assert refused == Unauthorized(message="HTTP 400 invalid_grant")
    assert isinstance(token_answer(502, b""), Unclear)
    assert isinstance(token_answer(200, b"{}"), Unclear)


@pytest.mark.parametrize(
    "private",
    ["anna@example.com", "1666707227246044402", "+79995551111", "y0_AgAAAABkP1bGAAiNRgAAAADfA9xHZ0VtZ3kVQ5a"],
)
def test_messages_quote_neither_people_nor_tokens(private: str) -> None:
    shown = redacted(f"line 7: value {private} is wrong")
    assert private.lstrip("+") not in shown
    assert shown.startswith("line 7: value ")
    assert shown.endswith(" is wrong")


def test_a_message_fits_into_a_log_line() -> None:
    assert len(redacted("x " * 1000)) == 300
