"""What Metrika's own list makes of an upload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from sinks.metrika.answers import Forbidden, Listed, Unauthorized, Unclear, Unsent, Uploading
from sinks.metrika.ledger import Adopt, Postpone, State, Upload
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
from sinks.metrika.recognising import recognised, shows_comments
from tests.unit.sinks.metrika_material import NOON, seconds_after, upload, uploading

SETTLE = 120.0
NOTHING = Listed(uploadings=())
LOST = upload(state=State.UNKNOWN)


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
    """Hourly for a day; what is stuck for a month costs a request a day."""
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101", answered_at=NOON)
    waits = []
    for hours in (0, 1, 2, 24, 24 * 30):
        now = seconds_after(hours * 3600)
        decision = after_check(
            accepted, Listed(uploadings=(uploading(status="MATCHED"),)), now=now, interval_seconds=300
        )
        assert isinstance(decision, Progressed)
        waits.append((decision.until - now).total_seconds())
    assert waits == [600, 1800, 3600, 3600, 30 * 3600]


def test_an_accepted_upload_that_is_not_listed_stays_accepted() -> None:
    accepted = upload(state=State.ACCEPTED, metrika_upload_id="101")
    decision = after_check(accepted, NOTHING, now=NOON, interval_seconds=300)
    assert isinstance(decision, Postpone)
    assert decision.state is State.ACCEPTED


def test_a_list_that_cannot_be_had_changes_no_state() -> None:
    for obstacle in (Unsent(message=""), Unclear(message=""), Forbidden(message=""), Unauthorized(message="")):
        for state in (State.UNKNOWN, State.ACCEPTED):
            assert after_no_list(upload(state=state), obstacle, now=NOON).state is state


@pytest.mark.parametrize("gap", [{"unreadable": 1}, {"ended_by": "HTTP 503"}], ids=["unreadable", "broken off"])
@pytest.mark.parametrize("state", [State.PREPARED, State.SENDING, State.UNKNOWN])
def test_where_the_list_has_a_gap_the_upload_may_be_in_it_and_is_not_sent_again(
    state: State, gap: dict[str, Any]
) -> None:
    listed = Listed(uploadings=(uploading(1, comment=""),), **gap)
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


def _bare(number: int, **over: Any) -> Uploading:
    """An entry of a list that shows no comments, made when the upload was sent."""
    return uploading(number, **{"comment": "", "created_at": NOON, **over})


def _recognised(uploads: list[Upload], *entries: Uploading, known: Sequence[str] = ()) -> list[str | None]:
    """What each upload is taken for, once the list has settled: an id, ``None`` where it is open, "absent"."""
    listed = Listed(uploadings=entries)
    nameless = recognised(uploads, listed, known=known)
    found = [
        after_look(one, listed, now=seconds_after(SETTLE), settle_seconds=SETTLE, nameless=nameless) for one in uploads
    ]
    return [
        decision.uploading.id if isinstance(decision, Adopt) else "absent" if decision == SendAgain() else None
        for decision in found
    ]


def test_in_a_list_without_comments_an_upload_is_known_by_its_size_and_time() -> None:
    others = (_bare(1, source_quantity=3), _bare(2), _bare(3, created_at=seconds_after(-3600)))
    assert _recognised([LOST], *others, _bare(101), known=["2"]) == ["101"]
    assert _recognised([LOST], *others, known=["2"]) == ["absent"]


@pytest.mark.parametrize(
    "entries",
    [(_bare(101), _bare(102)), (_bare(101, source_quantity=0),), (_bare(101, source_quantity=None),)],
    ids=["two of the size", "not counted yet", "no count"],
)
def test_what_may_be_there_without_a_comment_is_not_sent_again(entries: tuple[Uploading, ...]) -> None:
    assert _recognised([LOST], *entries) == [None]


def test_as_many_uploads_of_a_size_as_entries_without_comments_are_each_others() -> None:
    later = upload(id=UUID(int=8), token="8", state=State.UNKNOWN, prepared_at=seconds_after(1))
    assert _recognised([later, LOST], _bare(102, created_at=seconds_after(2)), _bare(101)) == ["102", "101"]
    assert _recognised([later, LOST], _bare(101)) == [None, None]


def test_nothing_is_taken_for_an_upload_by_its_size_before_the_list_has_settled() -> None:
    listed = Listed(uploadings=(_bare(101),))
    nameless = recognised([LOST], listed, known=())
    early = after_look(LOST, listed, now=seconds_after(SETTLE - 1), settle_seconds=SETTLE, nameless=nameless)
    assert isinstance(early, Postpone)


def test_a_list_in_which_anything_has_a_comment_shows_ours_too() -> None:
    assert shows_comments(Listed(uploadings=(_bare(1), uploading(2, comment="another program's"))))
    assert shows_comments(Listed(uploadings=()))
    assert not shows_comments(Listed(uploadings=(_bare(1),)))
