"""What an answer, or Metrika's list, makes of an upload."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from sinks.metrika.answers import (
    Accepted,
    Forbidden,
    Refused,
    Throttled,
    TooLong,
    Unauthorized,
    Unclear,
    Unsent,
    UploadAnswer,
)
from sinks.metrika.ledger import Adopt, Poisonous, Postpone, Split, State, after_answer, quota_free_at, token_for
from tests.unit.sinks.metrika_material import NOON, seconds_after, upload, uploading


def test_the_token_has_only_characters_that_metrika_promises_for_comments() -> None:
    token = token_for(UUID(int=2**127 + 5))
    assert token.isascii()
    assert token.isalnum()
    assert len(token) <= 255


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Unclear(message=""), State.UNKNOWN),
        (Unsent(message=""), State.PREPARED),
        (Forbidden(message=""), State.PREPARED),
        (Unauthorized(message=""), State.PREPARED),
        (Throttled(error_type="", message=""), State.PREPARED),
    ],
)
def test_only_an_answer_that_leaves_it_open_makes_an_upload_unknown(answer: UploadAnswer, state: State) -> None:
    decision = after_answer(upload(), answer, now=NOON)
    assert isinstance(decision, Postpone)
    assert decision.state is state


def test_a_refused_file_is_halved_until_the_bad_row_stands_alone() -> None:
    refused = Refused(message="line 2")
    assert after_answer(upload(row_count=2), refused, now=NOON) == Split(message="line 2")
    assert after_answer(upload(row_count=1), refused, now=NOON) == Poisonous(message="line 2", error_type="")


def test_where_metrika_objects_without_a_word_for_files_a_single_row_is_tried_three_times() -> None:
    """A bad row's error is not documented, and a moment's trouble is no bad row; a file is divided in any case."""
    objected = Refused(message="", error_type="invalid_parameter", certain=False)
    assert isinstance(after_answer(upload(row_count=2), objected, now=NOON), Split)
    decisions = [after_answer(upload(row_count=1, attempts=number), objected, now=NOON) for number in (1, 2, 3)]
    assert [type(decision) for decision in decisions] == [Postpone, Postpone, Poisonous]


def test_a_file_that_takes_too_long_to_send_is_divided_and_no_row_fails_for_it() -> None:
    slow = TooLong(message="40 s")
    assert after_answer(upload(row_count=2), slow, now=NOON) == Split(message="40 s")
    alone = after_answer(upload(row_count=1), slow, now=NOON)
    assert isinstance(alone, Postpone)
    assert alone.state is State.PREPARED


def test_an_accepted_file_is_adopted() -> None:
    assert after_answer(upload(), Accepted(uploading=uploading()), now=NOON) == Adopt(uploading=uploading())


@pytest.mark.parametrize("quota", ["quota_requests_by_uid", "quota_requests_by_counter_id"])
def test_a_daily_quota_is_asked_about_ever_more_rarely_until_midnight_gmt(quota: str) -> None:
    answer = Throttled(error_type=quota, message="")
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    assert quota_free_at(answer, NOON, since=NOON) == seconds_after(60)
    assert quota_free_at(answer, seconds_after(7200), since=NOON) == seconds_after(7200 + 3600)
    assert quota_free_at(answer, late, since=NOON) == datetime(2026, 11, 23, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quota", "waits"),
    [("quota_requests_by_ip", (1, 1)), ("quota_parallel_requests", (1, 1)), ("something_new", (5, 60)), ("", (5, 60))],
)
def test_another_quota_is_free_before_long(quota: str, waits: tuple[float, float]) -> None:
    answer, later = Throttled(error_type=quota, message=""), seconds_after(3600)
    found = quota_free_at(answer, NOON, since=NOON) - NOON, quota_free_at(answer, later, since=NOON) - later
    assert tuple(wait.total_seconds() for wait in found) == waits


def test_retry_after_wins_over_what_is_documented() -> None:
    asked = Throttled(error_type="quota_requests_by_uid", message="", retry_after_seconds=20)
    assert quota_free_at(asked, NOON, since=NOON) == seconds_after(20)
    postponed = after_answer(upload(), Unclear(message="", retry_after_seconds=20), now=NOON)
    assert isinstance(postponed, Postpone)
    assert postponed.until == seconds_after(20)
