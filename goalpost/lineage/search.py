"""Finds what belongs to an event: first in Postgres, then, bounded and by headers, in the topics."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from goalpost.cluster import records
from goalpost.dead_letters.reading import LETTER_TOPICS, Decoder
from goalpost.lineage.stored import MOST_EVENTS, stored_rows
from goalpost.lineage.way import Lineage, StoredRow, event_id_of, way_of
from runtime.registry import Registry
from schemas.records import Incoming, header
from schemas.topics import CONVERSIONS, RAW, REPLAYS, WAITING

# Records of an event are written after its id is made, but clocks differ.
_CLOCK_SKEW_MS: Final = 60_000


def lineage(asked: str, *, bootstrap_servers: str, registry_url: str, database_url: str, since_ms: int) -> Lineage:
    """Return the way of every event that ``asked`` means: an event id, an order id, or an upload (id or token).

    Topics are read from ``since_ms`` (epoch milliseconds) to their ends at the start: all of them only where Postgres
    does not know the event; where it does, only what it does not tell, the waiting room and dead letters.

    Raises:
        sinks.postgres.connection.PostgresUnavailable, goalpost.cluster.ClusterUnavailable: no answer.
    """
    rows = stored_rows(database_url, asked)
    shown = {row.event_id: row for row in rows[:MOST_EVENTS]}
    if shown:
        topics = (WAITING.name, *LETTER_TOPICS)
        since_ms = max(since_ms, _first_moment(rows))
    else:
        topics = (RAW.name, WAITING.name, CONVERSIONS.name, *LETTER_TOPICS)
        since_ms = max(since_ms, _made_at(asked))
    wanted = _Wanted([*shown] or [asked], order_id="" if shown else asked, registry=Registry(registry_url))
    found = _by_event(records(bootstrap_servers, topics, since_ms=since_ms), wanted.event_of)
    known = {*shown, *found}
    journal = records(bootstrap_servers, [REPLAYS.name], since_ms=since_ms)
    marks = _by_event((mark for mark in journal if event_id_of(mark) in known), event_id_of)
    events = tuple(
        way_of(event_id, row=shown.get(event_id), records=found.get(event_id, []), replayed=marks.get(event_id, []))
        for event_id in dict.fromkeys([*shown, *found])
    )
    return Lineage(asked=asked, events=events, truncated=len(rows) > MOST_EVENTS)


def _first_moment(rows: tuple[StoredRow, ...]) -> int:
    return min(row.received_at or row.created_at for row in rows) - _CLOCK_SKEW_MS


def _made_at(asked: str) -> int:
    """Return when a UUIDv7 was made, less a skew: nothing of that event is older. Else 0."""
    try:
        parsed = uuid.UUID(asked)
    except ValueError:
        return 0
    return (parsed.int >> 80) - _CLOCK_SKEW_MS if parsed.version == 7 else 0


class _Wanted:
    """Which records belong to what was asked; an order is looked for in values, but only where they hold its text."""

    def __init__(self, event_ids: Iterable[str], *, order_id: str, registry: Registry) -> None:
        self._event_ids = set(event_ids)
        self._order_id = order_id
        self._needle = order_id.encode()
        self._decode = Decoder(registry)

    def event_of(self, record: Incoming) -> str | None:
        """Return the event that ``record`` belongs to if it was asked for."""
        event_id = event_id_of(record)
        if event_id is None or event_id in self._event_ids:
            return event_id
        if not self._needle or record.value is None or self._needle not in record.value:
            return None
        fields = self._decode(record)
        if fields is None or fields.get("order_id") != self._order_id:
            return None
        self._event_ids.add(event_id)
        return event_id


def _by_event(found: Iterator[Incoming], event_of: Callable[[Incoming], str | None]) -> dict[str, list[Incoming]]:
    """Group by event; the mark that ends a wait names no event, only the waiting record that it releases."""
    grouped: defaultdict[str, list[Incoming]] = defaultdict(list)
    waits: dict[tuple[int, str], str] = {}
    for record in found:
        event_id = event_of(record)
        if record.topic == WAITING.name:
            released = (record.partition, header(record.headers, "waiting.released") or "")
            event_id = event_id or waits.get(released)
            if event_id is not None:
                waits[(record.partition, str(record.offset))] = event_id
        if event_id is not None:
            grouped[event_id].append(record)
    return dict(grouped)
