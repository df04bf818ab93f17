"""Finds what belongs to an event: first in Postgres, then, bounded and by headers, in the topics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from goalpost.dead_letters.letter import letter_of
from goalpost.dead_letters.reading import LETTER_TOPICS
from goalpost.lineage.answer import EventLineage, Lineage, NotAsked, StoredRow
from goalpost.lineage.question import Question, question
from goalpost.lineage.reading import Decoder, Topics, Wanted
from goalpost.lineage.stored import MOST_EVENTS, stored_rows
from goalpost.lineage.way import event_id_of, place_of, way_of
from runtime.failures import Fatal, Transient
from runtime.postgres import Answers
from runtime.registry import Registry
from schemas.records import Incoming
from schemas.topics import CONVERSIONS, RAW, SESSIONS, UNFETCHED, WAITING
from sinks.postgres.connection import BadData

# Records of an event are written after its id is made, but clocks differ.
_CLOCK_SKEW_MS: Final = 60_000
# Every statement finds its rows by an index: a server that has not answered by then does not answer.
_ANSWER_SECONDS: Final = 15.0
POSTGRES: Final = "postgres"

# What Postgres does not tell of an event that it has, and all that tells of one that it does not have.
_UNSTORED: Final = (WAITING.name, UNFETCHED.name, *LETTER_TOPICS)
_EVERYTHING: Final = (RAW.name, CONVERSIONS.name, *_UNSTORED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Who is asked: addresses as in the settings of the same names."""

    bootstrap_servers: str
    registry_url: str
    database_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """What is known before the topics are read through: the question, and the record that it led to."""

    meant: Question
    record: Incoming | None = None
    remark: str | None = None

    @property
    def event_ids(self) -> frozenset[str]:
        event_id = None if self.record is None else event_id_of(self.record)
        return frozenset() if event_id is None else frozenset({event_id})


def lineage(asked: str, servers: Servers, *, since_ms: int, within_seconds: float) -> Lineage:
    """Return the way of every event that ``asked`` may name (``goalpost.lineage.question``).

    Topics are read from ``since_ms`` (epoch milliseconds) to their ends at the start, for ``within_seconds`` at most:
    all of them where Postgres does not know the event; where it does, only what it does not tell, the waiting room and
    dead letters. Who does not answer is named in ``not_asked``; what the others know is returned all the same.
    """
    return _Search(servers, until=time.monotonic() + within_seconds).of(asked, since_ms)


class _Search:
    """One search, and those whom it asks."""

    def __init__(self, servers: Servers, *, until: float) -> None:
        self._database_url = servers.database_url
        self._decoder = Decoder(Registry(servers.registry_url))
        self._topics = Topics(servers.bootstrap_servers, until=until)
        self._postgres: NotAsked | None = None

    def of(self, asked: str, since_ms: int) -> Lineage:
        """Ask everybody."""
        start = self._start(question(asked))
        rows = self._stored(start)
        if not rows and start.record is None and start.meant.identity is not None:
            start = self._of_letter(start)
            rows = self._stored(start) if start.event_ids else rows
        shown = {row.event_id: row for row in rows[:MOST_EVENTS]}
        found = self._found(start, shown, since_ms)
        letters = {letter_of(one).identity: name for name in found for one in found[name] if one.topic in LETTER_TOPICS}
        marks = self._topics.marks({*shown, *found}, letters, since_ms=self._since(start, shown, since_ms))
        events = tuple(
            self._way(name, shown.get(name), found.get(name, []), marks.get(name, []))
            for name in dict.fromkeys([*shown, *found])
        )
        return Lineage(
            asked=asked,
            events=events,
            truncated=len(rows) > MOST_EVENTS,
            not_asked=tuple(filter(None, (self._postgres, self._topics.not_asked, self._decoder.not_asked))),
            remark=start.remark,
        )

    def _start(self, meant: Question) -> _Start:
        """Follow a place to the event or the session of the record that stands there."""
        if meant.place is None:
            return _Start(meant=meant)
        found = self._topics.at(meant.place)
        if not isinstance(found, Incoming):
            return _Start(meant=meant, remark=found)
        if found.topic == SESSIONS.name and found.key is not None:
            return _Start(meant=question(found.key.decode("utf-8", "replace")))
        if event_id_of(found) is None and found.topic not in LETTER_TOPICS:
            return _Start(meant=meant, remark=f"the record at {meant.place} is of no event")
        return _Start(meant=meant, record=found)

    def _of_letter(self, start: _Start) -> _Start:
        """See whether the id is that of a dead letter; these are few, and kept for longer than events."""
        letter = self._topics.letter(LETTER_TOPICS, str(start.meant.identity), since_ms=0)
        return start if letter is None else _Start(meant=start.meant, record=letter)

    def _stored(self, start: _Start) -> tuple[StoredRow, ...]:
        if self._postgres is not None:
            return ()
        answers = Answers(lambda: _ANSWER_SECONDS)
        try:
            return stored_rows(self._database_url, start.meant, known_ids=start.event_ids, answers=answers)
        except (Transient, Fatal, BadData) as exc:
            self._postgres = NotAsked(what=POSTGRES, why=str(exc))
            return ()

    def _found(self, start: _Start, shown: dict[str, StoredRow], since_ms: int) -> dict[str, list[Incoming]]:
        exact = _is_exact(start, shown)
        event_ids = {*shown, *start.event_ids}
        if not exact:
            event_ids |= start.meant.event_ids(self._topics.webhook_ids())
        wanted = Wanted(start.meant, event_ids, self._decoder, by_value=not exact)
        topics = _UNSTORED if shown else _EVERYTHING
        found = self._topics.by_event(topics, wanted.event_of, since_ms=self._since(start, shown, since_ms))
        record = start.record
        if record is not None and event_id_of(record) is None:
            found[place_of(record)] = [record]
        return found

    def _since(self, start: _Start, shown: dict[str, StoredRow], since_ms: int) -> int:
        if start.record is not None:
            first = letter_of(start.record).origin_ms if start.record.topic in LETTER_TOPICS else since_ms
            return min(since_ms, first, start.record.timestamp) - _CLOCK_SKEW_MS
        if _is_exact(start, shown):
            return max(since_ms, _first_moment(shown.values()))
        return since_ms if shown else max(since_ms, _made_at(start.meant))

    def _way(self, name: str, row: StoredRow | None, records: list[Incoming], replayed: list[Incoming]) -> EventLineage:
        fields = (self._decoder.fields(one) for one in records if row is None)
        notes = next((found["notes"] for found in fields if found and found.get("notes")), None)
        is_body = row is None and all(event_id_of(one) is None for one in records)
        return way_of("" if is_body else name, row=row, records=records, replayed=replayed, notes=notes)


def _is_exact(start: _Start, shown: dict[str, StoredRow]) -> bool:
    """Tell whether one event is meant, and nothing else that may be called so."""
    return start.record is not None or str(start.meant.identity) in shown


def _first_moment(rows: Iterable[StoredRow]) -> int:
    return min(row.received_at or row.created_at for row in rows) - _CLOCK_SKEW_MS


def _made_at(meant: Question) -> int:
    """Return when a UUIDv7 was made, less a skew: nothing of that event is older. Else 0."""
    made = meant.identity
    return (made.int >> 80) - _CLOCK_SKEW_MS if made is not None and made.version == 7 else 0
