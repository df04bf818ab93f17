"""What Metrika's own list makes of an upload."""

from __future__ import annotations

import pytest

from sinks.metrika.answers import Forbidden, Listed, Unauthorized, Unclear, Unsent
from sinks.metrika.ledger import Adopt, Postpone, State
from sinks.metrika.looking import (
    Doubled,
    Finished,
    Progressed,
    SendAgain,
    after_check,
    after_look,
    after_no_list,
    is_partial,
    told,
)
from tests.unit.sinks.metrika_material import NOON, seconds_after, upload, uploading

SETTLE = 120.0
NOTHING = Listed(uploadings=())


@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_what_is_found_in_the_list_is_adopted_and_not_sent_again(state: State) -> None:
    listed = Listed(uploadings=(uploading(1, comment=""), uploading(101), uploading(101)))
    found = after_look(upload(state=state), listed, now=seconds_after(9999), settle_seconds=SETTLE)
    assert found == Adopt(uploading=uploading(101))


@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_two_matches_are_an_alarm_and_never_a_third_request(state: State) -> None:
    listed = Listed(uploadings=(uploading(102), uploading(101)))
    found = after_look(upload(state=state), listed, now=seconds_after(9999), settle_seconds=SETTLE)
    assert found == Doubled(uploadings=(uploading(101), uploading(102)))


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
def test_absence_counts_only_once_the_list_has_settled(state: State) -> None:
    lost = upload(state=state)
    early = after_look(lost, NOTHING, now=seconds_after(SETTLE - 1), settle_seconds=SETTLE)
    assert isinstance(early, Postpone)
    assert early.state is state
    assert early.until <= seconds_after(SETTLE)
    assert after_look(lost, NOTHING, now=seconds_after(SETTLE), settle_seconds=SETTLE) == SendAgain()


def test_settling_counts_from_the_answer_and_doubles_with_each_attempt() -> None:
    lost = upload(state=State.UNKNOWN, attempts=3, answered_at=seconds_after(60))
    assert isinstance(
        after_look(lost, NOTHING, now=seconds_after(60 + 4 * SETTLE - 1), settle_seconds=SETTLE), Postpone
    )
    assert after_look(lost, NOTHING, now=seconds_after(60 + 4 * SETTLE), settle_seconds=SETTLE) == SendAgain()


def test_a_certain_refusal_needs_no_settling() -> None:
    assert after_look(upload(state=State.PREPARED), NOTHING, now=NOON, settle_seconds=SETTLE) == SendAgain()


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
    decision = after_check(accepted, Listed(uploadings=(found,)), now=NOON, interval_seconds=300)
    assert decision == Finished(state=state, uploading=found, linked=expected)


def test_looks_at_a_slow_upload_grow_rare_but_never_end() -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101", answered_at=NOON)
    waits = []
    for hours in (0, 1, 2, 24, 24 * 30):
        now = seconds_after(hours * 3600)
        decision = after_check(
            accepted, Listed(uploadings=(uploading(status="MATCHED"),)), now=now, interval_seconds=300
        )
        assert isinstance(decision, Progressed)
        waits.append((decision.until - now).total_seconds())
    assert waits == [600, 1800, 3600, 3600, 3600]


def test_an_accepted_upload_that_is_not_listed_stays_accepted() -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101")
    decision = after_check(accepted, NOTHING, now=NOON, interval_seconds=300)
    assert isinstance(decision, Postpone)
    assert decision.state is State.ACCEPTED


def test_a_list_that_cannot_be_had_changes_no_state() -> None:
    for obstacle in (Unsent(message=""), Unclear(message=""), Forbidden(message=""), Unauthorized(message="")):
        for state in (State.UNKNOWN, State.ACCEPTED):
            assert after_no_list(upload(state=state), obstacle, now=NOON).state is state


@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_an_entry_that_cannot_be_read_may_be_the_upload_so_it_is_not_sent_again(state: State) -> None:
    listed = Listed(uploadings=(uploading(1, comment=""),), unreadable=1)
    found = after_look(upload(state=state), listed, now=seconds_after(9999), settle_seconds=SETTLE)
    assert isinstance(found, Postpone)
    assert found.state is state


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, False),
        ({"line_quantity": 1}, True),
        ({"goal_not_found_quantity": 1}, True),
        ({"source_quantity": 10, "line_quantity": 10, "user_not_found_quantity": 2}, False),
        ({"source_quantity": 10, "line_quantity": 10, "user_not_found_quantity": 3}, True),
    ],
)
def test_missed_goals_and_many_missed_visitors_are_worth_a_closer_look(counts: dict[str, int], expected: bool) -> None:
    assert is_partial(uploading(**counts)) is expected


def test_other_teams_are_told_how_many_of_a_file_were_linked_where_it_is_not_all_or_none() -> None:
    assert told(uploading(linked_quantity=2), 2) is told(uploading(linked_quantity=0), 2) is None
    assert told(uploading(linked_quantity=None), 2) is None
    assert told(uploading(linked_quantity=1), 2) == (
        "Metrika linked 1 of the 2 conversions of this upload; it does not say which"
    )
