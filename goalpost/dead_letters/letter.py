"""A dead letter as its headers describe it, and which letters a person means: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.dead_letter import REPLAY_COUNT_HEADER
from schemas.records import EVENT_ID_HEADER, WEBHOOK_ID_HEADER, Incoming, header
from schemas.topics import REJECTED

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. Texts are ``unknown`` or empty where another tool wrote the record without our headers.

    ``topic``, ``partition``, ``offset`` are where the letter stands; ``origin_*`` where its record first stood.
    """

    record: Incoming
    letter_id: str
    origin_topic: str
    origin_partition: str
    origin_offset: str
    stage: str
    error_class: str
    message: str
    event_id: str
    webhook_id: str
    replays: int
    effects_done: str

    @property
    def place(self) -> str:
        """``topic:partition:offset`` of the letter itself: unique, also where a letter has no id."""
        return f"{self.record.topic}:{self.record.partition}:{self.record.offset}"

    @property
    def day(self) -> str:
        """The day on which it was written, in UTC."""
        return datetime.fromtimestamp(self.record.timestamp / 1000, UTC).date().isoformat()


def letter_of(record: Incoming) -> Letter:
    """Read the headers of a record of a dead-letter topic; the value is not touched."""

    def text(name: str, default: str = "") -> str:
        return header(record.headers, name) or default

    replays = text(REPLAY_COUNT_HEADER, "0")
    return Letter(
        record=record,
        letter_id=text("dlq.id"),
        origin_topic=text("dlq.original.topic", UNKNOWN),
        origin_partition=text("dlq.original.partition"),
        origin_offset=text("dlq.original.offset"),
        stage=text("dlq.stage", UNKNOWN),
        error_class=text("dlq.error.class", UNKNOWN),
        message=text("dlq.error.message"),
        event_id=text(EVENT_ID_HEADER),
        webhook_id=text(WEBHOOK_ID_HEADER) or _webhook_by_key(record),
        replays=int(replays) if replays.isascii() and replays.isdigit() else 0,
        effects_done=text("dlq.effects.done"),
    )


def _webhook_by_key(record: Incoming) -> str:
    keyed = record.topic == REJECTED.name and record.key is not None
    return record.key.decode("utf-8", "replace") if keyed and record.key is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are meant; an empty field means all. Times are epoch milliseconds of the letter's own record.

    ``ids`` are letters' ids, event ids or places (``topic:partition:offset``).
    """

    error_classes: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    webhooks: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    since_ms: int = 0
    until_ms: int | None = None

    def includes(self, letter: Letter) -> bool:
        """Tell whether ``letter`` is meant."""
        named = {letter.letter_id, letter.event_id, letter.place}
        return (
            (not self.error_classes or letter.error_class in self.error_classes)
            and (not self.stages or letter.stage in self.stages)
            and (not self.webhooks or letter.webhook_id in self.webhooks)
            and (not self.ids or not self.ids.isdisjoint(named))
            and letter.record.timestamp >= self.since_ms
            and (self.until_ms is None or letter.record.timestamp < self.until_ms)
        )
