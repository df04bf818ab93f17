"""What an answer, or Metrika's list, makes of an upload."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from sinks.metrika.answers import (
    Accepted,
    Forbidden,
    Refused,
    Throttled,
    Unauthorized,
    Unclear,
    Unsent,
    UploadAnswer,
    Uploading,
)
from sinks.metrika.conversions import IdType
from sinks.metrika.ledger import (
    Adopt,
    Doubled,
    Finished,
    Poisonous,
    Postpone,
    Progressed,
    SendAgain,
    Split,
    State,
    Upload,
    after_answer,
    after_check,
    after_look,
    after_no_list,
    quota_free_at,
    token_for,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTLE = 120.0


def upload(**over: Any) -> Upload:
    """An upload whose request was begun at noon."""
    values: dict[str, Any] = {
        "id": UUID(int=7),
        "id_type": IdType.CLIENT_ID,
        "token": token_for(UUID(int=7)),
        "state": State.SENDING,
        "row_count": 2,
        "body_sha256": "",
        "attempts": 1,
        "metrika_upload_id": None,
        "prepared_at": NOON,
        "sent_at": NOON,
        "answered_at": None,
    }
    return Upload(**{**values, **over})


def uploading(number: int = 101, **over: Any) -> Uploading:
    """What Metrika lists."""
    values: dict[str, Any] = {
        "id": str(number),
        "status": "UPLOADED",
        "comment": token_for(UUID(int=7)),
        "source_quantity": 2,
        "line_quantity": 2,
        "linked_quantity": 0,
        "goal_not_found_quantity": 0,
        "user_not_found_quantity": 0,
    }
    return Uploading(**{**values, **over})


def seconds_after(seconds: float) -> datetime:
    """A time after noon."""
    return NOON + timedelta(seconds=seconds)


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
    assert after_answer(upload(row_count=1), refused, now=NOON) == Poisonous(message="line 2")


def test_an_accepted_file_is_adopted() -> None:
    assert after_answer(upload(), Accepted(uploading=uploading()), now=NOON) == Adopt(uploading=uploading())


@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_what_is_found_in_the_list_is_adopted_and_not_sent_again(state: State) -> None:
    listed = [uploading(1, comment=""), uploading(101), uploading(101)]
    found = after_look(upload(state=state), listed, now=seconds_after(9999), settle_seconds=SETTLE)
    assert found == Adopt(uploading=uploading(101))


@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_two_matches_are_an_alarm_and_never_a_third_request(state: State) -> None:
    listed = [uploading(102), uploading(101)]
    found = after_look(upload(state=state), listed, now=seconds_after(9999), settle_seconds=SETTLE)
    assert found == Doubled(uploadings=(uploading(101), uploading(102)))


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
def test_absence_counts_only_once_the_list_has_settled(state: State) -> None:
    lost = upload(state=state)
    early = after_look(lost, [], now=seconds_after(SETTLE - 1), settle_seconds=SETTLE)
    assert isinstance(early, Postpone)
    assert early.state is state
    assert early.until <= seconds_after(SETTLE)
    assert after_look(lost, [], now=seconds_after(SETTLE), settle_seconds=SETTLE) == SendAgain()


def test_settling_counts_from_the_answer_and_doubles_with_each_attempt() -> None:
    lost = upload(state=State.UNKNOWN, attempts=3, answered_at=seconds_after(60))
    assert isinstance(after_look(lost, [], now=seconds_after(60 + 4 * SETTLE - 1), settle_seconds=SETTLE), Postpone)
    assert after_look(lost, [], now=seconds_after(60 + 4 * SETTLE), settle_seconds=SETTLE) == SendAgain()


def test_a_certain_refusal_needs_no_settling() -> None:
    assert after_look(upload(state=State.PREPARED), [], now=NOON, settle_seconds=SETTLE) == SendAgain()


@pytest.mark.parametrize(
    ("status", "linked", "state", "expected"),
    [
        ("PROCESSED", 2, State.PROCESSED, True),
        ("PROCESSED", 0, State.PROCESSED, False),
        ("PROCESSED", None, State.PROCESSED, True),
        ("LINKAGE_FAILURE", 0, State.LINKAGE_FAILURE, False),
    ],
)
def test_processing_ends_with_whether_anything_was_linked(
    status: str, linked: int | None, state: State, expected: bool
) -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101")
    found = uploading(status=status, linked_quantity=linked)
    decision = after_check(accepted, [found], now=NOON, interval_seconds=300)
    assert decision == Finished(state=state, uploading=found, linked=expected)


def test_looks_at_a_slow_upload_grow_rare_but_never_end() -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101", answered_at=NOON)
    waits = []
    for hours in (0, 1, 2, 24, 24 * 30):
        now = seconds_after(hours * 3600)
        decision = after_check(accepted, [uploading(status="MATCHED")], now=now, interval_seconds=300)
        assert isinstance(decision, Progressed)
        waits.append((decision.until - now).total_seconds())
    assert waits == [300, 1800, 3600, 3600, 3600]


def test_an_accepted_upload_that_is_not_listed_stays_accepted() -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101")
    decision = after_check(accepted, [], now=NOON, interval_seconds=300)
    assert isinstance(decision, Postpone)
    assert decision.state is State.ACCEPTED


def test_a_daily_quota_is_free_after_midnight_gmt_and_a_short_one_at_once() -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    assert midnight < quota_free_at("quota_requests_by_uid", NOON) <= midnight + timedelta(minutes=5)
    assert quota_free_at("quota_requests_by_ip", NOON) <= seconds_after(5)
    assert quota_free_at("quota_parallel_requests", NOON) <= seconds_after(5)
    assert seconds_after(5) < quota_free_at("something_new", NOON) <= seconds_after(120)


def test_a_list_that_cannot_be_had_changes_no_state() -> None:
    for obstacle in (Unsent(message=""), Unclear(message=""), Forbidden(message=""), Unauthorized(message="")):
        for state in (State.UNKNOWN, State.ACCEPTED):
            assert after_no_list(upload(state=state), obstacle, now=NOON).state is state
