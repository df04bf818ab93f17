"""Whether so many records are refused that the cause is an outage and not the records: pure.

A wall of rejects is nearly always somebody's mistake with all records alike: a wrong registry, a changed schema, tables
of another version. A stage that meets it has to stop un-acknowledged and say so; to pour its topic into the dead-letter
topic would turn one mistake into a million letters.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.failures import Transient
from schemas.dead_letter import ErrorClass

# The share is that of the last hour, and of no fewer records than this: of ten, eight bad ones mean nothing.
_WINDOW_SECONDS: Final = 3600.0
_LEAST_RECORDS: Final = 500
# Each of these has had all its time, and stopping would only take others' time as well; another amount is a question to
# a person about a conversion that is stored.
_OUT_OF_TIME: Final = frozenset({ErrorClass.SESSION_NOT_FOUND, ErrorClass.EXPIRED, ErrorClass.AMOUNT_CHANGED})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    at: float
    records: int
    rejects: int


class Breaker:
    """Remembers how a stage's last records ended. ``clock`` is monotonic, in seconds. For one thread.

    What it knows ends with the process: after a restart it takes as many rejects as the limit until it stops again,
    which is why a stage that has stopped stays alive, holds what it has, and is not restarted by its supervisor.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._batches: deque[_Batch] = deque()
        self._run = 0

    def check(self, records: int, refused: Sequence[ErrorClass]) -> None:
        """See whether ``refused`` of ``records`` may become dead letters. Nothing is remembered.

        Raises:
            TooManyRejects: they may not.
        """
        classes = Counter(one for one in refused if one not in _OUT_OF_TIME)
        rejects = classes.total()
        if not rejects:
            return
        in_a_row = self._in_a_row(records, rejects)
        if self._limits.run and in_a_row > self._limits.run:
            raise TooManyRejects(f"{in_a_row} records in a row are refused", classes)
        of_all = records + sum(batch.records for batch in self._recent())
        bad = rejects + sum(batch.rejects for batch in self._recent())
        if of_all >= _LEAST_RECORDS and bad > self._limits.share * of_all:
            raise TooManyRejects(f"{bad} of the last {of_all} records are refused", classes)

    def passed(self, records: int, refused: Sequence[ErrorClass]) -> None:
        """Remember what became of a batch."""
        if records:
            rejects = sum(one not in _OUT_OF_TIME for one in refused)
            self._run = self._in_a_row(records, rejects)
            self._batches.append(_Batch(at=self._clock(), records=records, rejects=rejects))

    def _in_a_row(self, records: int, rejects: int) -> int:
        """Count the rejects since something went well; where in a batch that was does not matter."""
        return self._run + rejects if rejects == records else 0

    def _recent(self) -> Sequence[_Batch]:
        while self._batches and self._clock() - self._batches[0].at > _WINDOW_SECONDS:
            self._batches.popleft()
        return self._batches
