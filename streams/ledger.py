"""Which fetched runs of a partition are done, and therefore up to which offset may be committed. Pure.

Faust's own bookkeeping is not used for commits: it counts offsets, skips over holes of one (Faust issue 606), takes the
inside of a run for a gap, and acknowledges runs of an earlier assignment that it throws away. A run counts as done only
when its outputs are acknowledged, and only the runs before the first one that is not done are committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.records import Incoming

# What a record costs in memory besides its value: the objects around it.
_RECORD_BYTES: Final = 1024


@dataclass(slots=True, eq=False)
class Run:
    """Consecutively fetched records of one partition; ``done`` once everything that follows from them is written.

    ``fetched_at`` is monotonic, in seconds.
    """

    records: Sequence[Incoming]
    fetched_at: float = 0.0
    done: bool = False
    first_offset: int = field(init=False)
    last_offset: int = field(init=False)
    bytes_held: int = field(init=False)

    def __post_init__(self) -> None:
        self.first_offset, self.last_offset = self.records[0].offset, self.records[-1].offset
        self.bytes_held = sum([len(record.value or b"") + _RECORD_BYTES for record in self.records])

    def finish(self) -> None:
        """Say that everything is written. The records are let go; the offsets stay until they are committed."""
        self.done, self.records = True, ()


class Ledger:
    """The runs of one partition in the order in which they were fetched."""

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()

    def fetched(self, run: Run) -> None:
        """Note a run. Runs at or behind its first record were fetched before a seek back and will be read again."""
        while self._runs and self._runs[-1].last_offset >= run.first_offset:
            self._runs.pop()
        self._runs.append(run)

    def committable(self) -> int | None:
        """The offset behind the runs that are done, up to the first one that is not; ``None`` if there is none."""
        offset = None
        for run in self._runs:
            if not run.done:
                break
            offset = run.last_offset + 1
        return offset

    def committed(self, offset: int) -> None:
        """Forget what is before ``offset``: Kafka knows that it is done."""
        while self._runs and self._runs[0].last_offset < offset:
            self._runs.popleft()

    def uncommitted(self) -> list[Run]:
        """All runs that Kafka does not know to be done, the first fetched one first."""
        return list(self._runs)

    def unfinished(self) -> list[Run]:
        """The runs that are not done, the first fetched one first."""
        return [run for run in self._runs if not run.done]
