"""Which counters are worked on now, and with which plan. Pure: states and budgets come in."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sinks.metrika.planning import Budget, Demand, Plan, plan
from sinks.metrika.tables.counters import Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of work that is due on a counter."""

    counter: Counter
    plan: Plan

    def plan_for(self, current: Counter) -> Plan:
        """Return the plan for the counter as it is once it is locked: somebody else may have claimed meanwhile."""
        if current.last_claim == self.counter.last_claim:
            return self.plan
        return replace(self.plan, claims=self.plan.claims - {current.id})


def rounds(
    counters: Sequence[Counter],
    *,
    budget_of: Callable[[str], Budget],
    closed: Callable[[Counter], bool],
    now: datetime,
    interval_seconds: float,
) -> list[Round]:
    """Return the rounds that are due. Accounts are told apart by their number at Yandex, as Metrika's quotas are."""
    due: list[Round] = []
    for uid in dict.fromkeys(counter.yandex_uid for counter in counters):
        of_account = [counter for counter in counters if counter.yandex_uid == uid]
        open_ones = {counter.id for counter in of_account if not closed(counter)}
        demands = [_demand(counter) for counter in of_account if counter.id in open_ones]
        found = plan(
            budget_of(uid),
            [demand for demand in demands if demand is not None],
            now=now,
            interval_seconds=interval_seconds,
        )
        # A closed account's conversions only wait, except for those that have waited too long.
        due += [
            Round(counter=counter, plan=found)
            for counter in of_account
            if counter.has_expired or (counter.id in open_ones and _is_due(counter, found))
        ]
    return due


def _demand(counter: Counter) -> Demand | None:
    if counter.deadline is None:
        return None
    return Demand(
        counter_id=counter.id,
        deadline=counter.deadline,
        last_claim=counter.last_claim,
        patience=2**counter.unclear,
    )


def _is_due(counter: Counter, found: Plan) -> bool:
    return counter.has_open_uploads or (counter.has_checks and found.spare) or counter.id in found.claims


class Lanes:
    """Keeps rounds apart: an account has as many at a time as Metrika lets it make requests.

    Counters whose last upload is unclear share one of these lanes, so that hanging ones delay none of the others.
    """

    def __init__(self, under_way: Iterable[Round], *, rounds: int, of_account: int) -> None:
        self._rounds = rounds
        self._of_account = of_account
        self._counters: set[object] = set()
        self._taken: Tally[str] = Tally()
        self._doubtful: Tally[str] = Tally()
        for one in under_way:
            self._add(one)

    def take(self, one: Round) -> bool:
        """Take a lane for a round; ``False`` where there is none free, or the counter is being worked on."""
        uid, is_doubtful = one.counter.yandex_uid, one.counter.unclear > 0
        if (
            one.counter.id in self._counters
            or len(self._counters) >= self._rounds
            or self._taken[uid] >= self._of_account
            or (is_doubtful and self._doubtful[uid])
        ):
            return False
        self._add(one)
        return True

    def _add(self, one: Round) -> None:
        self._counters.add(one.counter.id)
        self._taken[one.counter.yandex_uid] += 1
        self._doubtful[one.counter.yandex_uid] += one.counter.unclear > 0
