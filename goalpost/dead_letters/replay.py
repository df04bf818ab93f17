"""Carries out what the plan says, chunk by chunk: rows first, then what goes to Kafka together with its marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, assert_never

from goalpost.dead_letters.journal import Fate, Journal, mark
from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.plan import (
    Action,
    Blocked,
    Failed,
    Limits,
    Republish,
    ResetRow,
    RowState,
    Settle,
    Skipped,
    Untouched,
    action_for,
    needs_row,
)
from goalpost.dead_letters.remake import Partly, Records
from schemas.events import EpochMillis
from schemas.records import Outgoing

# Letters in one transaction of Kafka and one question to Postgres; fewer where they are large, which bounds memory.
CHUNK_LETTERS: Final = 500
CHUNK_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A letter, what happens to it or in a dry run would, and the records that it becomes."""

    letter: Letter
    action: Action
    records: tuple[Outgoing, ...] = ()


class RowAccess(Protocol):
    """The rows of conversions."""

    def states(self, event_ids: Iterable[str]) -> dict[str, RowState]:
        """Return the rows that exist, by event id."""

    def reset(self, event_ids: Iterable[str]) -> frozenset[str]:
        """Make failed rows pending again; return which were."""


class Send(Protocol):
    """Writes records to Kafka."""

    def send(self, records: Iterable[Outgoing]) -> None:
        """Return when all are there; raise when none is."""


Remake = Callable[[Letter], Records | Partly | Failed | Untouched]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planner:
    """Decides about letters. ``fixes`` says that values are changed on the way."""

    journal: Journal
    rows: RowAccess
    remake: Remake
    limits: Limits
    now_ms: EpochMillis
    fixes: bool = False

    def planned(self, letters: Iterable[Letter], *, chunk_letters: int = CHUNK_LETTERS) -> Iterator[list[Decided]]:
        """Yield chunks of letters with what is to happen to each."""
        for chunk in chunks(letters, most=chunk_letters):
            states = self.rows.states({letter.event_id for letter in chunk if needs_row(letter)})
            yield [self._decided(letter, states.get(letter.event_id)) for letter in chunk]

    def _decided(self, letter: Letter, row: RowState | None) -> Decided:
        fate = self.journal.fate(letter.identity)
        action = action_for(letter, row=row, fate=fate, limits=self.limits, now_ms=self.now_ms)
        if isinstance(action, ResetRow) and self.fixes:
            return Decided(
                letter=letter, action=Blocked(why="its row is stored; correct the row, then replay as it is")
            )
        if not isinstance(action, Republish):
            return Decided(letter=letter, action=action)
        made = self.remake(letter)
        if isinstance(made, Failed | Untouched):
            return Decided(letter=letter, action=made)
        partly = isinstance(made, Partly)
        records = made.records if isinstance(made, Partly) else made
        action = replace(action, topic=records[0].topic, fixed=self.fixes, partly=partly)
        return Decided(letter=letter, action=action, records=records)


def chunks(letters: Iterable[Letter], *, most: int = CHUNK_LETTERS) -> Iterator[list[Letter]]:
    """Yield ``letters`` some at a time."""
    chunk: list[Letter] = []
    size = 0
    for letter in letters:
        chunk.append(letter)
        size += len(letter.record.value or b"")
        if len(chunk) >= most or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def carried_out(chunk: list[Decided], *, rows: RowAccess, sender: Send, run_id: str) -> list[Decided]:
    """Do what is decided and return it; a row that changed meanwhile comes back as blocked.

    Rows are reset before the marks are written: a run that dies in between finds them pending next time, and closes
    their letters without resetting them once more.

    Raises:
        runtime.kafka.DeliveryFailed, goalpost.cluster.ClusterUnavailable: nothing of this chunk went to Kafka.
        sinks.postgres.connection.PostgresUnavailable: nothing of this chunk was done.
    """
    reset = rows.reset({decided.action.event_id for decided in chunk if isinstance(decided.action, ResetRow)})
    done = [_after_reset(decided, reset) for decided in chunk]
    sender.send([record for decided in done for record in (*decided.records, *_marks(decided, run_id))])
    return done


def _after_reset(decided: Decided, reset: frozenset[str]) -> Decided:
    if isinstance(decided.action, ResetRow) and decided.action.event_id not in reset:
        return replace(decided, action=Blocked(why="its row changed meanwhile; look at it with `goalpost trace`"))
    return decided


def _marks(decided: Decided, run_id: str) -> tuple[Outgoing, ...]:
    fate = fate_of(decided.action)
    letter = decided.letter
    return () if fate is None else (mark(letter.identity, fate, event_id=letter.event_id, run_id=run_id),)


def fate_of(action: Action) -> Fate | None:
    """Return what becomes of a letter by an action; ``None`` where it stays as it was."""
    match action:
        case Republish(partly=True):
            return None
        case Republish(fixed=fixed):
            return Fate.FIXED if fixed else Fate.REPLAYED
        case ResetRow():
            return Fate.REPLAYED
        case Settle():
            return Fate.SETTLED
        case Blocked() | Skipped() | Untouched() | Failed():
            return None
        case _:
            assert_never(action)
