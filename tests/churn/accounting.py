"""Where every event of a round is at its end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.records import EVENT_ID_HEADER, Incoming, header
from streams.waiting import released_by

Place = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An event that Kafka has acknowledged, at ``place`` (partition and offset) of ``crm.events.raw``.

    ``rows`` are the analytics rows that it may be joined with; ``session_was_first`` promises that it is with one.
    """

    event_id: str
    place: Place
    rows: frozenset[str]
    session_was_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the topics hold. ``converted`` lists the row (or ``None``) of each conversion of an event."""

    converted: Mapping[str, list[str | None]]
    waiting: frozenset[str]
    dead: frozenset[str]
    committed: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How many events are where, and which ones are where they must not be.

    ``lost`` are nowhere although their offset is committed, ``unread`` are nowhere and not committed either.
    ``contradicted`` are converted and dead at once. ``misjoined`` have another row than theirs, or none although
    their session was there first.
    """

    events: int
    converted: int
    waiting: int
    dead: int
    repeats: int
    lost: tuple[Sent, ...]
    unread: tuple[Sent, ...]
    contradicted: tuple[Sent, ...]
    misjoined: tuple[Sent, ...]

    @property
    def complete(self) -> bool:
        """Every event is somewhere."""
        return not self.lost and not self.unread

    @property
    def clean(self) -> bool:
        """Every event is in exactly one place, and in the right one."""
        return self.complete and not self.contradicted and not self.misjoined


def still_waiting(records: Iterable[Incoming]) -> frozenset[str]:
    """Return the events that the records of ``crm.events.waiting`` leave in the waiting room."""
    room: dict[Place, str] = {}
    for record in records:
        released = released_by(record.headers)
        if released is not None:
            room.pop((record.partition, released), None)
        if record.value is not None:
            room[record.partition, record.offset] = header(record.headers, EVENT_ID_HEADER) or ""
    return frozenset(room.values())


def account(sent: Iterable[Sent], found: Found) -> Account:
    """Say where each event of ``sent`` is. One that is converted and waits as well is a repeat, not a contradiction."""
    events = list(sent)
    converted = [event for event in events if event.event_id in found.converted]
    rest = [event for event in events if event.event_id not in found.converted]
    dead = [event for event in rest if event.event_id in found.dead]
    waiting = [event for event in rest if event.event_id in found.waiting - found.dead]
    nowhere = [event for event in rest if event.event_id not in found.waiting | found.dead]
    return Account(
        events=len(events),
        converted=len(converted),
        waiting=len(waiting),
        dead=len(dead),
        repeats=sum(len(found.converted[event.event_id]) - 1 for event in converted),
        lost=tuple(event for event in nowhere if _committed(event, found)),
        unread=tuple(event for event in nowhere if not _committed(event, found)),
        contradicted=tuple(event for event in converted if event.event_id in found.dead),
        misjoined=tuple(event for event in [*converted, *dead] if _misjoined(event, found)),
    )


def _committed(event: Sent, found: Found) -> bool:
    partition, offset = event.place
    return offset < found.committed.get(partition, 0)


def _misjoined(event: Sent, found: Found) -> bool:
    """Joined with a row that is not its own, or with none although its session was there first.

    What went ahead is converted without a row first; the conversion that follows has it.
    """
    rows = {row for row in found.converted.get(event.event_id, ()) if row is not None}
    return bool(rows - event.rows) or (event.session_was_first and not rows)
