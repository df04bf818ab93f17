"""What one round of work on one counter is done with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg import Connection

from runtime.lifecycle import Stop
from sinks.metrika.access import Access, Admission
from sinks.metrika.client import Metrika
from sinks.metrika.planning import Plan
from sinks.metrika.tables.counters import Counter, Moment

# The name of this stage in metrics.
STAGE: Final = "metrika"

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
        margin = min(self.pace.interval_seconds / 10, _LONGEST_MARGIN_SECONDS)
        return Moment(now=now, latest=now - timedelta(seconds=margin))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One counter, held by this process through the lock of ``connection``, and what its account may do now."""

    connection: Connection
    counter: Counter
    plan: Plan
    tools: Tools

    @property
    def may_ask(self) -> bool:
        """Whether further requests make sense in this round."""
        return not self.tools.stop.requested and not self.tools.access.closed(self.counter)

    @contextmanager
    def admission(self) -> Iterator[Admission | None]:
        """Hold the right to one request while the block lasts; ``None`` where the account may not make one now."""
        with self.tools.access.admission(self.connection, self.counter.account_id) as admission:
            yield admission

    def now(self) -> datetime:
        """Return the time."""
        return self.tools.clock()
