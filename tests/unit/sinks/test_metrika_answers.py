"""Every documented answer of Metrika and of Yandex OAuth, and what it is taken for."""

from __future__ import annotations

import json

import pytest

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
        (400, "invalid_parameter", Forbidden),
        (403, "access_denied", Forbidden),
        (404, "not_found", Forbidden),
        (302, "", Forbidden),
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


def test_numbers_are_read_as_text_too() -> None:
    answer = upload_answer(200, body({"uploading": {"id": "101", "source_quantity": "2", "line_quantity": "x"}}))
    assert isinstance(answer, Accepted)
    assert (answer.uploading.id, answer.uploading.source_quantity, answer.uploading.line_quantity) == ("101", 2, None)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (" 0 ", 0.0), (None, None), ("soon", None), ("-1", None), ("9" * 30, 86_400.0)]
)
def test_retry_after_is_read_where_it_is_a_number_of_seconds(header: str | None, seconds: float | None) -> None:
    throttled = upload_answer(429, error("quota_requests_by_ip"), retry_after=header)
    unclear = list_answer(503, error("backend_error"), retry_after=header)
    assert isinstance(throttled, Throttled)
    assert isinstance(unclear, Unclear)
    assert throttled.retry_after_seconds == unclear.retry_after_seconds == seconds


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
