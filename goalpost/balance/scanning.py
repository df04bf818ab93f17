"""Reads the topics in the direction in which events flow, so that one that moves meanwhile is met at least once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Final

from confluent_kafka import TopicPartition

from goalpost.balance.sightings import Sighting, Sightings, event_key
from goalpost.balance.standing import Seen
from goalpost.cluster import Place, broker_calls, reader, records, spans
from goalpost.dead_letters.journal import Fate, Journal
from goalpost.dead_letters.letter import letter_of
from runtime import kafka
from schemas.events import EpochMillis
from schemas.history import ORIGIN_OFFSET, ORIGIN_PARTITION, ORIGIN_TOPIC, believed
from schemas.records import EVENT_ID_HEADER, Incoming, header, whole_number
from schemas.topics import CONVERSIONS, JOIN_APP, POSTGRES_SINK_GROUP, RAW, REJECTED, REPLAYS, WAITING

_SECONDS: Final = 10.0
_BATCH: Final = 5_000
_OPEN: Final = "open"

_LETTERS: Final = {
    None: Seen.LETTER_OPEN,
    Fate.DISCARDED: Seen.LETTER_DISCARDED,
    Fate.REPLAYED: Seen.LETTER_DONE,
    Fate.FIXED: Seen.LETTER_DONE,
    Fate.SETTLED: Seen.LETTER_DONE,
}
_OF_EVENTS: Final = (RAW, WAITING, CONVERSIONS)

Committed = dict[int, int]


class Scan:
    """Takes in topics from ``since_ms`` to their ends."""

    def __init__(self, bootstrap_servers: str, sightings: Sightings, *, since_ms: EpochMillis) -> None:
        """Note first how far the stages have come: whatever they have committed has to be found behind them.

        Raises:
            goalpost.cluster.ClusterUnavailable, runtime.failures.Fatal: no answer, or no such topic.
        """
        self._servers = bootstrap_servers
        self._sightings = sightings
        self._since_ms = since_ms
        self._joined = _committed(bootstrap_servers, JOIN_APP, RAW.name)
        self._stored = _committed(bootstrap_servers, POSTGRES_SINK_GROUP, CONVERSIONS.name)
        self.read: dict[Place, tuple[int, int]] = spans(bootstrap_servers, [RAW.name], since_ms=since_ms)
        self.bodies: Counter[str] = Counter()

    def run(self, report: Callable[[str], None]) -> None:
        """Read everything; ``report`` is told what is being read."""
        report(REPLAYS.name)
        # Before all: a replay's mark and its record came together, so whatever is marked here is met below as well.
        journal = Journal(records(self._servers, [REPLAYS.name]))
        for topic, sight in ((RAW, self._raw), (WAITING, self._waiting), (CONVERSIONS, self._conversion)):
            report(topic.name)
            self._take(topic.name, sight)
        self._sightings.note_who_waits()
        for topic in _OF_EVENTS:
            report(topic.dead_letters)
            self._take(topic.dead_letters, lambda record: self._letter(record, journal))
        report(REJECTED.name)
        for record in records(self._servers, [REJECTED.name], since_ms=self._since_ms):
            fate = journal.fate(letter_of(record).identity)
            self.bodies[_OPEN if fate is None else fate.value] += 1

    def _take(self, topic: str, sight: Callable[[Incoming], Sighting | None]) -> None:
        # Of a record with its body only a few numbers are kept before the next one is read.
        found = _all(map(sight, records(self._servers, [topic], since_ms=self._since_ms)))
        while batch := list(islice(found, _BATCH)):
            self._sightings.see(batch)

    def _raw(self, record: Incoming) -> Sighting:
        # Under its visitor's key an event stands there a second time, and a replay is no new delivery; only what a
        # kept body reports comes in by a replay, and names no topic that it was in before.
        again = header(record.headers, "waiting.over") or ORIGIN_TOPIC in believed(record)
        ahead = record.offset >= self._joined.get(record.partition, 0)
        return Sighting(
            event=event_key(header(record.headers, EVENT_ID_HEADER), _first_place(record)),
            seen=Seen.RAW_AHEAD if ahead else Seen.RAW_BEHIND,
            at=record.timestamp,
            place=_place(record),
            delivery=not again,
        )

    def _waiting(self, record: Incoming) -> Sighting | None:
        event = None
        if record.value is not None:
            event = event_key(header(record.headers, EVENT_ID_HEADER), _first_place(record))
            # What waits only for its session has gone ahead: it is somewhere further on, or it is missing.
            if header(record.headers, "waiting.ahead") is None:
                self._sightings.wait(record.partition, record.offset, event)
        released = whole_number(header(record.headers, "waiting.released"))
        if released is not None:
            event = self._sightings.release(record.partition, released) or event
        return None if event is None else Sighting(event=event, seen=Seen(0), at=record.timestamp, place=_place(record))

    def _conversion(self, record: Incoming) -> Sighting | None:
        event_id = header(record.headers, EVENT_ID_HEADER)
        if event_id is None:  # of a foreign producer: the sink's letter is all there will ever be of it
            return None
        ahead = record.offset >= self._stored.get(record.partition, 0)
        return Sighting(
            event=event_key(event_id, ""),
            seen=Seen.RESOLVED_AHEAD if ahead else Seen.RESOLVED_BEHIND,
            at=record.timestamp,
            place=_place(record),
        )

    def _letter(self, record: Incoming, journal: Journal) -> Sighting | None:
        letter = letter_of(record)
        if not letter.event_id and letter.origin_topic == CONVERSIONS.name:
            return None
        place = f"{RAW.name}:{letter.origin_partition}:{letter.origin_offset}"
        return Sighting(
            event=event_key(letter.event_id or None, place),
            seen=_LETTERS[journal.fate(letter.identity)],
            at=record.timestamp,
            place=letter.place,
        )


def _all(sightings: Iterable[Sighting | None]) -> Iterator[Sighting]:
    return (one for one in sightings if one is not None)


def _place(record: Incoming) -> str:
    return f"{record.topic}:{record.partition}:{record.offset}"


def _first_place(record: Incoming) -> str:
    """Return where the event of a raw or waiting record first stood."""

    earlier = believed(record)
    waited = {name: header(record.headers, f"waiting.raw.{name}") for name in ("partition", "offset")}
    if earlier.get(ORIGIN_TOPIC) == RAW.name and {ORIGIN_PARTITION, ORIGIN_OFFSET} <= earlier.keys():
        return f"{RAW.name}:{earlier[ORIGIN_PARTITION]}:{earlier[ORIGIN_OFFSET]}"
    if None in waited.values():
        return _place(record)
    return f"{RAW.name}:{waited['partition']}:{waited['offset']}"


def _committed(bootstrap_servers: str, group: str, topic: str) -> Committed:
    """Return where the group goes on, by partition; one that it has never finished anything of is left out."""
    with broker_calls(), closing(reader(bootstrap_servers, group)) as client:
        places = [TopicPartition(topic, partition) for partition in kafka.partitions_of(client, topic)]
        found = client.committed(places, timeout=_SECONDS)
    return {place.partition: place.offset for place in found if place.offset >= 0}
