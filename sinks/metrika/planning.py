"""How an account's requests of the day are spread over its counters. Pure: counts and times come in.

Metrika gives an account 5 000 requests a day, until 00:00 GMT (documentation, "Quotas"). They are spent evenly, a fifth
of them in advance: while less is used, each counter uploads at its interval, in files as fine as there are requests
for. Beyond that the interval grows, so that batches wait and grow instead of being many and small. What must be
uploaded before the next day goes first, earliest deadline in front, and what it needs is kept back from everybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

# Our day begins a minute after Metrika's, so that a clock that is ahead spends no request on the day before.
_AFTER_MIDNIGHT: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)

_IN_ADVANCE: Final = 0.2
# An upload, and a look at what became of it.
_REQUESTS_PER_CLAIM: Final = 2
_MOST_FILES: Final = 100


def day_of(now: datetime) -> date:
    """Return the day on which a request counts."""
    return (now.astimezone(UTC) - _AFTER_MIDNIGHT).date()


def day_ends(now: datetime) -> datetime:
    """Return when the count starts again."""
    return datetime.combine(day_of(now) + _DAY, time.min, UTC) + _AFTER_MIDNIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An account's requests of the day that began last."""

    per_day: int
    used: int

    @property
    def left(self) -> int:
        """How many requests there still are."""
        return max(self.per_day - self.used, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A counter with conversions to upload.

    ``deadline`` is that of the one that expires first, ``last_claim`` when files were made last. ``patience`` is how
    many times its interval the counter waits, because uploads of it are unclear.
    """

    counter_id: UUID
    deadline: datetime
    last_claim: datetime | None
    patience: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an account may do now.

    ``claims``: counters that make files now, each at most ``files``, more only where the kinds of identifier need them.
    ``interval_seconds``: how far apart claims and looks at one counter are. ``spare``: whether there are requests
    beyond those that urgent conversions need; without, only these are uploaded.
    """

    claims: frozenset[UUID]
    files: int
    interval_seconds: float
    spare: bool


def plan(budget: Budget, demands: Sequence[Demand], *, now: datetime, interval_seconds: float) -> Plan:
    """Spread what is left of ``budget`` over the counters of one account."""
    ends = day_ends(now)
    stretched = _stretched(budget, len(demands), now=now, ends=ends, interval_seconds=interval_seconds)
    lead = timedelta(seconds=2 * interval_seconds)
    ordered = sorted(demands, key=lambda demand: (demand.deadline, demand.counter_id))
    urgent = [demand for demand in ordered if demand.deadline <= ends + lead]
    spare = budget.left > len(urgent) * _REQUESTS_PER_CLAIM
    left = budget.left
    claims: set[UUID] = set()
    for demand in ordered:
        is_urgent = demand.deadline <= ends + lead
        if left <= 0 or not (is_urgent or spare):
            break
        left -= 1
        if _may_claim(demand, now=now, own=interval_seconds, stretched=stretched, lead=lead):
            claims.add(demand.counter_id)
    return Plan(
        claims=frozenset(claims),
        files=_files(budget, len(demands), seconds_left=(ends - now).total_seconds(), interval_seconds=stretched),
        interval_seconds=stretched,
        spare=spare,
    )


def _may_claim(demand: Demand, *, now: datetime, own: float, stretched: float, lead: timedelta) -> bool:
    if demand.last_claim is None:
        return True
    patience = timedelta(seconds=own * demand.patience)
    # A deadline ends the wait for a larger file, but not the wait for an answer.
    wait = patience if demand.deadline - now <= lead else max(patience, timedelta(seconds=stretched))
    return now - demand.last_claim >= wait


def _stretched(budget: Budget, counters: int, *, now: datetime, ends: datetime, interval_seconds: float) -> float:
    seconds_left = (ends - now).total_seconds()
    days_left = seconds_left / _DAY.total_seconds()
    if budget.left >= budget.per_day * days_left * (1 - _IN_ADVANCE):
        return interval_seconds
    return max(interval_seconds, seconds_left * max(counters, 1) * _REQUESTS_PER_CLAIM / max(budget.left, 1))


def _files(budget: Budget, counters: int, *, seconds_left: float, interval_seconds: float) -> int:
    claims_left = max(seconds_left / interval_seconds, 1.0) * max(counters, 1)
    affordable = budget.left / claims_left - (_REQUESTS_PER_CLAIM - 1)
    return int(min(max(affordable, 1), _MOST_FILES))
