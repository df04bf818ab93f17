"""Carries out what the plan says, chunk by chunk: effects first, acknowledged, then the marks that they happened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Protocol

from goalpost.dead_letters.journal import Journal, mark
from goalpost.dead_letters.letter import Letter
from goalpost.dead_letters.plan import (
    Action,
    Blocked,
    Republish,
    ResetRow,
    RowState,
    action_for,
    needs_row,
    republished,
)
from schemas.records import Outgoing

# What a run that is killed between effect and mark may do twice at most.
CHUNK_LETTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A letter and what happens to it, or in a dry run would."""

    letter: Letter
    action: Action


class RowAccess(Protocol):
    """The rows of conversions."""

    def states(self, event_ids: Iterable[str]) -> dict[str, RowState]:
        """Return the rows that exist, by event id."""

    def reset(self, event_ids: Iterable[str]) -> frozenset[str]:
        """Make failed rows pending again; return which were."""


class Send(Protocol):
    """Writes records to Kafka."""

    def send(self, records: Iterable[Outgoing]) -> None:
        """Return when all are acknowledged."""


def planned(
    letters: Iterable[Letter], *, journal: Journal, rows: RowAccess, max_replays: int, now_ms: int
) -> Iterator[list[Decided]]:
    """Yield chunks of letters with what is to happen to each."""
    remaining = iter(letters)
    while chunk := list(islice(remaining, CHUNK_LETTERS)):
        states = rows.states({letter.event_id for letter in chunk if needs_row(letter)})
        yield [
            Decided(
                letter=letter,
                action=action_for(
                    letter,
                    row=states.get(letter.event_id),
                    replayed=letter.place in journal.replayed,
                    earlier_replays=journal.replays_by_event.get(letter.event_id, 0),
                    max_replays=max_replays,
                    now_ms=now_ms,
                ),
            )
            for letter in chunk
        ]


def carried_out(chunk: list[Decided], *, rows: RowAccess, sender: Send, run_id: str) -> list[Decided]:
    """Do what is decided and return it; a row that changed meanwhile comes back as blocked.

    Raises:
        runtime.kafka.DeliveryFailed: Kafka did not acknowledge; this chunk may be replayed again by the next run.
        sinks.postgres.connection.PostgresUnavailable: likewise.
    """
    sender.send(
        republished(decided.letter, decided.action) for decided in chunk if isinstance(decided.action, Republish)
    )
    reset = rows.reset({decided.action.event_id for decided in chunk if isinstance(decided.action, ResetRow)})
    done = [_after_reset(decided, reset) for decided in chunk]
    sender.send(
        mark(decided.letter.place, event_id=decided.letter.event_id, run_id=run_id)
        for decided in done
        if isinstance(decided.action, Republish | ResetRow)
    )
    return done


def _after_reset(decided: Decided, reset: frozenset[str]) -> Decided:
    if isinstance(decided.action, ResetRow) and decided.action.event_id not in reset:
        return replace(decided, action=Blocked(why="its row changed meanwhile; look at it with `goalpost trace`"))
    return decided
