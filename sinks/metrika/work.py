"""What one round of work on one counter is done with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar
from uuid import UUID

from psycopg import Connection

from runtime.lifecycle import Stop
from sinks.metrika.access import Access
from sinks.metrika.answers import Unauthorized
from sinks.metrika.client import Metrika
from sinks.metrika.tables.counters import Counter, Moment

A = TypeVar("A")

# Metrika refuses a DateTime that its clock has not reached. Where uploads are minutes apart, waiting half a minute
# longer costs nothing and forgives a clock that is ahead; where they are a second apart, a tenth of that is waited.
_LONGEST_MARGIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how much: seconds between claims, rows in a file, seconds until absence from the list counts."""

    interval_seconds: float
    upload_rows: int
    settle_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What all counters share."""

    metrika: Metrika
    access: Access
    pace: Pace
    clock: Callable[[], datetime]
    new_id: Callable[[], UUID]
    stop: Stop

    def moment(self) -> Moment:
        """Return now, as counters are asked about it."""
        now = self.clock()
        interval = self.pace.interval_seconds
        latest = now - timedelta(seconds=min(interval / 10, _LONGEST_MARGIN_SECONDS))
        return Moment(now=now, latest=latest, interval_seconds=interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One counter, held by this process through the lock of ``connection``."""

    connection: Connection
    counter: Counter
    tools: Tools

    @property
    def may_ask(self) -> bool:
        """Whether further requests make sense in this round."""
        stopped = self.tools.stop.requested
        return not stopped and not self.tools.access.closed(self.counter.account_id, self.counter.sealed_token)

    def ask(self, request: Callable[[str], A]) -> A | Unauthorized:
        """Make a request with the token of the counter's account."""
        return self.tools.access.call(self.connection, self.counter.account_id, request)

    def now(self) -> datetime:
        """Return the time."""
        return self.tools.clock()
