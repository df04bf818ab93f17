"""When a goal's conversions are held back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sinks.metrika.holding import Hold, hold
from sinks.metrika.planning import day_ends

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def after(**over: Any) -> Hold | None:
    """The decision after one refusal like this."""
    values: dict[str, Any] = {"in_a_row": 1, "that_day": 1, "retries": 0, "message": "HTTP 400", "now": NOON}
    return hold(**{**values, **over})


def test_single_refusals_hold_nothing() -> None:
    assert after(in_a_row=4, that_day=49) is None


def test_the_fifth_refusal_in_a_row_holds_the_goal_ever_longer() -> None:
    pauses = [found.retry_at - NOON for found in (after(in_a_row=5, retries=n) for n in range(8)) if found]
    minutes = [pause // timedelta(minutes=1) for pause in pauses]
    assert minutes == [15, 30, 60, 120, 240, 360, 360, 360]


def test_the_fiftieth_of_a_day_holds_it_until_the_next_one() -> None:
    found = after(that_day=50)
    assert found is not None
    assert found.retry_at == day_ends(NOON)


def test_the_reason_says_what_metrika_said_and_what_to_do() -> None:
    found = after(in_a_row=5)
    assert found is not None
    assert "HTTP 400" in found.reason
    assert "goalpost admin counter resume" in found.reason
