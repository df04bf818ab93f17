"""What the gauges of this stage show: work that waits, requests that are left, and what needs a person."""

from __future__ import annotations

from collections.abc import Callable

from psycopg import Connection

from runtime.metrics import CONVERSIONS_PENDING, METRIKA_DEADLINE, METRIKA_REQUESTS_LEFT, METRIKA_TROUBLE
from sinks.metrika.planning import Budget
from sinks.metrika.tables import accounts, counters


def show_levels(connection: Connection, budget_of: Callable[[str], Budget]) -> None:
    """Read what there is, and set the gauges."""
    levels = counters.levels(connection)
    CONVERSIONS_PENDING.set(levels.pending)
    METRIKA_DEADLINE.set(levels.deadline or 0)
    METRIKA_TROUBLE.labels("accounts_paused").set(levels.accounts_paused)
    METRIKA_TROUBLE.labels("goals_held").set(levels.goals_held)
    METRIKA_TROUBLE.labels("goals_unknown").set(levels.goals_unknown)
    METRIKA_TROUBLE.labels("uploads_unclear").set(levels.uploads_unclear)
    for account_id, uid in accounts.numbers(connection):
        METRIKA_REQUESTS_LEFT.labels(account_id).set(budget_of(uid).left)
