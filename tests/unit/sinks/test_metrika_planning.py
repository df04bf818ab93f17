"""How the day's requests are spread over the counters of an account."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.metrika.planning import Budget, Demand, day_ends, day_of, plan

MORNING = datetime(2026, 11, 22, 0, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
INTERVAL = 300.0


def demand(number: int = 1, **over: Any) -> Demand:
    """A counter that has not claimed for a day, and whose first conversion expires in ten days."""
    values: dict[str, Any] = {
        "counter_id": UUID(int=number),
        "deadline": NOON + timedelta(days=10),
        "last_claim": NOON - timedelta(days=1),
    }
    return Demand(**{**values, **over})


def ids(*numbers: int) -> set[UUID]:
    """The counters with these numbers."""
    return {UUID(int=number) for number in numbers}


def after(seconds: float) -> Any:
    """A last claim so long ago."""
    return NOON - timedelta(seconds=seconds)


def test_the_day_ends_at_midnight_gmt_and_a_minute_for_clocks_that_are_ahead() -> None:
    assert day_ends(NOON) == datetime(2026, 11, 23, 0, 1, tzinfo=UTC)
    assert day_of(MORNING) == date(2026, 11, 22)
    assert day_of(MORNING - timedelta(seconds=1)) == date(2026, 11, 21)
    assert day_ends(MORNING - timedelta(seconds=1)) == MORNING


def test_with_enough_requests_each_counter_uploads_at_its_interval() -> None:
    demands = [demand(1, last_claim=after(299)), demand(2, last_claim=after(300)), demand(3, last_claim=None)]
    found = plan(Budget(per_day=5000, used=1000), demands, now=NOON, interval_seconds=INTERVAL)
    assert found.claims == ids(2, 3)
    assert found.interval_seconds == INTERVAL
    assert found.spare


def test_twenty_busy_counters_stay_within_the_day() -> None:
    """A day in steps of a minute: every counter always has conversions, and each claim costs an upload and a look."""
    used, last = 0, dict.fromkeys(range(20), MORNING - timedelta(days=1))
    now, claims = MORNING, 0
    while now < day_ends(MORNING):
        demands = [demand(number, last_claim=last[number], deadline=now + timedelta(days=9)) for number in last]
        found = plan(Budget(per_day=5000, used=used), demands, now=now, interval_seconds=INTERVAL)
        for number in last:
            if UUID(int=number) in found.claims:
                last[number], used, claims = now, used + 2, claims + 1
        now += timedelta(minutes=1)
    assert 4000 < used <= 5000
    assert max(day_ends(MORNING) - moment for moment in last.values()) < timedelta(hours=1)
    assert claims >= 2000


def test_with_few_requests_left_batches_wait_and_grow() -> None:
    demands = [demand(number, last_claim=after(1800)) for number in range(20)]
    found = plan(Budget(per_day=5000, used=4960), demands, now=NOON, interval_seconds=INTERVAL)
    assert found.interval_seconds == pytest.approx(43_260 * 20 * 2 / 40)
    assert found.claims == frozenset()
    assert found.files == 1


def test_the_last_requests_go_to_the_earliest_deadlines() -> None:
    demands = [demand(number, deadline=NOON + timedelta(hours=number), last_claim=None) for number in range(1, 6)]
    found = plan(Budget(per_day=5000, used=4998), demands, now=NOON, interval_seconds=INTERVAL)
    assert found.claims == ids(1, 2)


def test_what_urgent_conversions_need_is_kept_back_from_the_others() -> None:
    demands = [demand(1, deadline=NOON + timedelta(hours=3), last_claim=after(60)), demand(2, last_claim=None)]
    tight = plan(Budget(per_day=5000, used=4998), demands, now=NOON, interval_seconds=INTERVAL)
    assert (set(tight.claims), tight.spare) == (set(), False)
    enough = plan(Budget(per_day=5000, used=4997), demands, now=NOON, interval_seconds=INTERVAL)
    assert (set(enough.claims), enough.spare) == (ids(2), True)


def test_a_deadline_ends_the_wait_for_a_larger_file() -> None:
    close = demand(1, deadline=NOON + timedelta(seconds=599), last_claim=after(301))
    budget = Budget(per_day=5000, used=4900)
    assert plan(budget, [close], now=NOON, interval_seconds=INTERVAL).claims == ids(1)
    far = demand(1, deadline=NOON + timedelta(hours=9), last_claim=after(301))
    assert plan(budget, [far], now=NOON, interval_seconds=INTERVAL).claims == frozenset()


def test_a_counter_whose_uploads_are_unclear_waits_longer_even_with_a_deadline() -> None:
    doubtful = demand(1, last_claim=after(1199), patience=4, deadline=NOON + timedelta(seconds=1))
    budget = Budget(per_day=5000, used=0)
    assert plan(budget, [doubtful], now=NOON, interval_seconds=INTERVAL).claims == frozenset()
    assert plan(budget, [doubtful], now=NOON + timedelta(seconds=1), interval_seconds=INTERVAL).claims == ids(1)


def test_a_used_up_day_allows_nothing() -> None:
    found = plan(Budget(per_day=5000, used=5000), [demand()], now=NOON, interval_seconds=INTERVAL)
    assert (set(found.claims), found.spare) == (set(), False)


def test_files_are_as_fine_as_the_day_allows() -> None:
    one = plan(Budget(per_day=5000, used=0), [demand()], now=MORNING, interval_seconds=INTERVAL)
    many = plan(Budget(per_day=5000, used=0), [demand(n) for n in range(20)], now=MORNING, interval_seconds=INTERVAL)
    assert (one.files, many.files) == (16, 1)


@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 5000)), max_size=12),
)
def test_no_more_counters_claim_than_there_are_requests_and_always_the_most_urgent(
    left: int, counters: list[tuple[int, int]]
) -> None:
    demands = [
        demand(number, deadline=NOON + timedelta(minutes=minutes), last_claim=after(seconds))
        for number, (minutes, seconds) in enumerate(counters)
    ]
    found = plan(Budget(per_day=5000, used=5000 - left), demands, now=NOON, interval_seconds=INTERVAL)
    assert len(found.claims) <= left
    if left and demands and not found.spare:
        assert all(
            one.deadline <= day_ends(NOON) + timedelta(minutes=10) for one in demands if one.counter_id in found.claims
        )
