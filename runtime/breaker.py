"""Whether so many records are refused that the cause is an outage and not the records: pure.

A wall of rejects is nearly always somebody's mistake with all records alike: a wrong registry, a changed schema, tables
of another version. A stage that meets it has to stop un-acknowledged and say so; to pour its topic into the dead-letter
topic would turn one mistake into a million letters.

But one sender must not stop all others: what a single webhook sends may all be bad. So none counts for more than
everybody else together: its rejects alone never stop a stage, and those of two webhooks do. Records that nobody can
read count in full, because no sender can make them so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from runtime.failures import Transient
from schemas.dead_letter import ErrorClass
from schemas.records import WEBHOOK_ID_HEADER, Headers, header

# The share is that of the last hour, and of no fewer records than this: of ten, eight bad ones mean nothing.
_WINDOW_SECONDS: Final = 3600.0
_LEAST_RECORDS: Final = 500
# Each of these has had all its time, and stopping would only take others' time as well; another amount is a question to
# a person about a conversion that is stored.
_OUT_OF_TIME: Final = frozenset({ErrorClass.SESSION_NOT_FOUND, ErrorClass.EXPIRED, ErrorClass.AMOUNT_CHANGED})
# The door writes neither: what a webhook's sender has sent can always be read.
_NOBODYS: Final = frozenset({ErrorClass.UNDECODABLE, ErrorClass.SCHEMA_UNKNOWN})
NOBODY: Final = ""
# What a log says of Breaker.passed.
WALL_OF_ONE: Final = (
    "everything that this sender sends is refused and becomes dead letters, while the others go on: `goalpost dlq ls`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A record that is refused: whose it is (:data:`NOBODY` where that cannot be said) and why."""

    sender: str
    error_class: ErrorClass


def reject(headers: Headers, error_class: ErrorClass, *, otherwise: str = NOBODY) -> Reject:
    """Return the reject of a record with these headers; ``otherwise`` is whose it is where they name no webhook."""
    if error_class in _NOBODYS:
        return Reject(sender=NOBODY, error_class=error_class)
    return Reject(sender=header(headers, WEBHOOK_ID_HEADER) or otherwise, error_class=error_class)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many records in a row may be refused (0: any number), and which share of them (1: all)."""

    run: int
    share: float


class TooManyRejects(Transient):
    """More is refused than a stage may refuse. The same records are tried again after ``pause_seconds``."""

    # Long enough that trying again costs nothing, short enough that nobody has to help when the cause is mended.
    pause_seconds: Final = 30.0

    def __init__(self, what: str, classes: Counter[ErrorClass]) -> None:
        mostly = ", ".join(error_class.value for error_class, _ in classes.most_common(2))
        super().__init__(
            f"{what} (mostly {mostly}): that is an outage, so nothing of it is acknowledged or dead-lettered. Mend the "
            f"cause: the same records are tried every {self.pause_seconds:.0f} s, and work goes on by itself. If they "
            "are really bad, start the process once with GOALPOST_REJECT_RUN=0 and GOALPOST_REJECT_SHARE=1."
        )


@dataclass(slots=True)
class _Tally:
    """Records, and the rejects among them by sender."""

    records: int = 0
    rejects: Counter[str] = field(default_factory=Counter)

    def with_(self, other: _Tally) -> _Tally:
        return _Tally(self.records + other.records, self.rejects + other.rejects)

    def counted(self) -> tuple[int, int]:
        """Return records and rejects without those of one sender that outnumber everything else."""
        named = (count for sender, count in self.rejects.items() if sender != NOBODY)
        excess = max(0, 2 * max(named, default=0) - self.records)
        return self.records - excess, self.rejects.total() - excess


class Breaker:
    """Remembers how a stage's last records ended. ``clock`` is monotonic, in seconds. For one thread.

    What it knows ends with the process: after a restart it takes as many rejects as the limit until it stops again,
    which is why a stage that has stopped stays alive, holds what it has, and is not restarted by its supervisor.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._batches: deque[tuple[float, _Tally]] = deque()
        self._hour = _Tally()
        self._run = _Tally()

    def check(self, records: int, refused: Sequence[Reject]) -> None:
        """See whether ``refused`` of ``records`` may become dead letters. Nothing is remembered.

        Raises:
            TooManyRejects: they may not.
        """
        batch = _tally(records, refused)
        if not batch.rejects:
            return
        classes = Counter(one.error_class for one in refused if one.error_class not in _OUT_OF_TIME)
        _, in_a_row = self._run_with(batch).counted()
        if self._limits.run and in_a_row > self._limits.run:
            raise TooManyRejects(f"{in_a_row} records in a row are refused", classes)
        of_all, bad = self._last_hour().with_(batch).counted()
        if of_all >= _LEAST_RECORDS and bad > self._limits.share * of_all:
            raise TooManyRejects(f"{bad} of the last {of_all} records are refused", classes)

    def passed(self, records: int, refused: Sequence[Reject]) -> str | None:
        """Remember what became of a batch.

        Returns the sender with whom a wall has just begun that stops nobody: more in a row than the limit, nearly all
        of them its own.
        """
        if not records:
            return None
        batch = _tally(records, refused)
        before, self._run = self._run, self._run_with(batch)
        self._batches.append((self._clock(), batch))
        self._hour = self._hour.with_(batch)
        begun = before.rejects.total() <= self._limits.run < self._run.rejects.total()
        return self._run.rejects.most_common(1)[0][0] if self._limits.run and begun else None

    def _run_with(self, batch: _Tally) -> _Tally:
        """Count the rejects since something went well; where in a batch that was does not matter."""
        return self._run.with_(batch) if batch.rejects.total() == batch.records else _Tally()

    def _last_hour(self) -> _Tally:
        while self._batches and self._clock() - self._batches[0][0] > _WINDOW_SECONDS:
            _, gone = self._batches.popleft()
            self._hour = _Tally(self._hour.records - gone.records, self._hour.rejects - gone.rejects)
        return self._hour


def _tally(records: int, refused: Sequence[Reject]) -> _Tally:
    return _Tally(records, Counter(one.sender for one in refused if one.error_class not in _OUT_OF_TIME))
