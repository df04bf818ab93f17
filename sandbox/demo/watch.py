"""Where the story's conversions are seen: in the topics as they pass, and in Postgres as they change."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import psycopg
from confluent_kafka import Consumer, TopicPartition

from runtime.kafka import consumer, end_offsets, incoming, partitions_of
from schemas.records import EVENT_ID_HEADER, Incoming, header
from schemas.topics import CONVERSIONS, DEAD_LETTERS, OUTCOMES, RAW, REJECTED, WAITING

_WATCHED: Final = (RAW, WAITING, CONVERSIONS, OUTCOMES, REJECTED, *DEAD_LETTERS)
_DEAD_LETTER_TOPICS: Final = frozenset(topic.name for topic in (*DEAD_LETTERS, REJECTED))

_ROWS: Final = """
    SELECT id::text, status, stage, goal_appended, metrika_upload_id, error_class
    FROM webhook_conversions WHERE id = ANY(%s)
"""


@dataclass(slots=True, kw_only=True)
class Track:
    """What has been seen of one event so far. ``seen`` maps a place to the seconds since the story began."""

    seen: dict[str, float] = field(default_factory=dict)
    status: str | None = None
    goal_appended: bool = False
    upload_id: str | None = None
    error_class: str | None = None

    @property
    def dead_letter(self) -> bool:
        """Whether it stands in a dead-letter topic."""
        return any(place in _DEAD_LETTER_TOPICS for place in self.seen)

    @property
    def uploaded(self) -> bool:
        """Whether Metrika has taken it."""
        return self.status == "sent"


class Watch:
    """Follows events by their id (for rejected bodies: by the body itself)."""

    def __init__(
        self, bootstrap_servers: str, database_url: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tracks: defaultdict[str, Track] = defaultdict(Track)
        self._clock = clock
        self._began = clock()
        self._database = psycopg.connect(database_url, autocommit=True)
        self._consumer = consumer(bootstrap_servers, group=f"goalpost-demo-{uuid.uuid4()}", client_id="goalpost-demo")
        self._consumer.assign(list(_ends(self._consumer)))

    def elapsed(self) -> float:
        """Seconds since the watch began."""
        return self._clock() - self._began

    def look(self, seconds: float) -> list[tuple[str, str]]:
        """Look for up to ``seconds``; return what is new as (event, place)."""
        news = []
        for message in self._consumer.consume(num_messages=500, timeout=seconds):
            if message.error() is None:
                news += self._noted(incoming(message))
        return news + self._rows()

    def close(self) -> None:
        """Stop watching."""
        self._consumer.close()
        self._database.close()

    def _noted(self, record: Incoming) -> list[tuple[str, str]]:
        if record.value is None:  # a released marker of the waiting room is no new place
            return []
        event = header(record.headers, EVENT_ID_HEADER) or body_name(record.value)
        track = self.tracks[event]
        track.error_class = header(record.headers, "dlq.error.class") or track.error_class
        return self._first_time(event, record.topic)

    def _rows(self) -> list[tuple[str, str]]:
        ids = [event for event in self.tracks if not event.startswith("body:")]
        news = []
        for row in self._database.execute(_ROWS, (ids,)).fetchall():
            event, status, stage, appended, upload_id, error_class = row
            track = self.tracks[event]
            track.status, track.goal_appended, track.upload_id = status, appended, upload_id
            track.error_class = error_class or track.error_class
            news += self._first_time(event, "postgres")
            if stage not in ("stored", "batched"):
                news += self._first_time(event, f"metrika: {stage}")
        return news

    def _first_time(self, event: str, place: str) -> list[tuple[str, str]]:
        seen = self.tracks[event].seen
        if place in seen:
            return []
        seen[place] = self.elapsed()
        return [(event, place)]


def body_name(body: bytes) -> str:
    """Return the name under which a body without an event id is followed."""
    return f"body:{uuid.uuid5(uuid.NAMESPACE_OID, body.hex())}"


def _ends(client: Consumer) -> Iterable[TopicPartition]:
    for topic in _WATCHED:
        ends = end_offsets(client, topic.name, partitions_of(client, topic.name))
        yield from (TopicPartition(topic.name, partition, offset) for partition, offset in ends.items())
