"""Which counters are worked on, and how many at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sinks.metrika.planning import Budget, Plan
from sinks.metrika.scheduling import Lanes, Round, rounds
from sinks.metrika.tables.counters import Counter

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAN = Plan(claims=frozenset({UUID(int=1)}), files=1, interval_seconds=300, spare=True)


def counter(number: int = 1, **over: Any) -> Counter:
    """A counter with something to upload."""
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "number": number,
        "account_id": UUID(int=100),
        "yandex_uid": "42",
        "sealed_token": "",
        "paused": False,
        "separate_goals": False,
        "has_expired": False,
        "has_open_uploads": False,
        "has_checks": False,
        "deadline": NOON + timedelta(days=1),
        "last_claim": None,
        "unclear": 0,
    }
    return Counter(**{**values, **over})


def due(*counters: Counter, used: int = 0, closed: frozenset[int] = frozenset()) -> list[int]:
    """The numbers of the counters with a round to be made."""
    found = rounds(
        counters,
        budget_of=lambda uid: Budget(per_day=5000, used=used if uid == "42" else 0),
        closed=lambda one: one.number in closed,
        now=NOON,
        interval_seconds=300,
    )
    return [one.counter.number for one in found]


def round_of(number: int, **over: Any) -> Round:
    """A round on a counter."""
    return Round(counter=counter(number, **over), plan=PLAN)


def test_a_counter_without_work_is_left_alone() -> None:
    assert due(counter(1), counter(2, deadline=None), counter(3, deadline=None, has_checks=True)) == [1, 3]


def test_a_closed_account_still_fails_what_has_expired() -> None:
    assert due(counter(1), counter(2, has_expired=True), closed=frozenset({1, 2})) == [2]


def test_accounts_of_one_login_share_its_requests_and_others_have_their_own() -> None:
    assert due(counter(1), counter(2, account_id=UUID(int=101)), counter(3, yandex_uid="43"), used=5000) == [3]


def test_looks_at_what_is_processed_wait_where_each_request_is_needed() -> None:
    watched = counter(1, deadline=None, has_checks=True)
    urgent = counter(2, deadline=NOON + timedelta(hours=1))
    assert due(watched, urgent, used=4000) == [1, 2]
    assert due(watched, urgent, used=4998) == [2]


def test_somebody_elses_claim_ends_ours() -> None:
    planned = round_of(1)
    assert planned.plan_for(counter(1)).claims == {UUID(int=1)}
    assert planned.plan_for(replace(counter(1), last_claim=NOON)).claims == frozenset()


def test_an_account_has_as_many_lanes_as_metrika_takes_requests() -> None:
    lanes = Lanes([round_of(1)], rounds=16, of_account=3)
    assert [lanes.take(round_of(number)) for number in (1, 2, 3, 4)] == [False, True, True, False]
    assert lanes.take(round_of(5, yandex_uid="43"))


def test_hanging_counters_share_one_lane_so_that_others_get_through() -> None:
    lanes = Lanes([round_of(1, unclear=1)], rounds=16, of_account=3)
    assert [lanes.take(round_of(number, unclear=1)) for number in (2, 3)] == [False, False]
    assert [lanes.take(round_of(number)) for number in (4, 5)] == [True, True]


def test_all_accounts_together_have_a_limit_too() -> None:
    lanes = Lanes([], rounds=2, of_account=3)
    assert [lanes.take(round_of(number, yandex_uid=str(number))) for number in (1, 2, 3)] == [True, True, False]
