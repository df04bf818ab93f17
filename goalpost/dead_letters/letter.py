"""A dead letter as its headers describe it, and which letters a person means: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.dead_letter import REPLAY_COUNT_HEADER, REPLAY_RUN_HEADER, Stage
from schemas.records import EVENT_ID_HEADER, IGNORED_HEADER, WEBHOOK_ID_HEADER, Incoming
from schemas.topics import IGNORED, REJECTED

UNKNOWN = "unknown"

# Topics of request bodies as they came, by the webhook that they were sent to.
BODY_TOPICS = frozenset({REJECTED.name, IGNORED.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. Texts are ``unknown`` or empty where another tool wrote the record without our headers.

    ``record`` says where the letter stands; ``origin_*`` where its record first stood, and since when (epoch
    milliseconds). ``run_id`` is the replay that it came back from.
    """

    record: Incoming
    letter_id: str
    origin_topic: str
    origin_partition: str
    origin_offset: str
    origin_ms: int
    stage: str
    error_class: str
    message: str
    event_id: str
    webhook_id: str
    replays: int
    run_id: str
    effects_done: str

    @property
    def place(self) -> str:
        """``topic:partition:offset`` of the letter itself."""
        return f"{self.record.topic}:{self.record.partition}:{self.record.offset}"

    @property
    def identity(self) -> str:
        """What the letter is called in the journal: its id, which its repeats share, else its place."""
        return self.letter_id or self.place

    @property
    def day(self) -> str:
        """The day on which it was written, in UTC."""
        return datetime.fromtimestamp(self.record.timestamp / 1000, UTC).date().isoformat()


def letter_of(record: Incoming) -> Letter:
    """Read the headers of a record of a dead-letter topic; the value is not touched."""
    headers = dict(record.headers)  # of a repeated name the last counts

    def text(name: str, default: str = "") -> str:
        return (headers.get(name) or b"").decode("utf-8", "replace") or default

    def number(name: str, default: int) -> int:
        found = text(name)
        return int(found) if found.isascii() and found.isdigit() else default

    ignored = text(IGNORED_HEADER) if record.topic == IGNORED.name else ""
    return Letter(
        record=record,
        letter_id=text("dlq.id"),
        origin_topic=text("dlq.original.topic", UNKNOWN),
        origin_partition=text("dlq.original.partition"),
        origin_offset=text("dlq.original.offset"),
        origin_ms=number("dlq.original.timestamp", record.timestamp),
        stage=text("dlq.stage", Stage.PARSE.value if ignored else UNKNOWN),
        error_class=text("dlq.error.class", ignored or UNKNOWN),
        message=text("dlq.error.message"),
        event_id=text(EVENT_ID_HEADER),
        webhook_id=text(WEBHOOK_ID_HEADER) or _webhook_by_key(record),
        replays=number(REPLAY_COUNT_HEADER, 0),
        run_id=text(REPLAY_RUN_HEADER),
        effects_done=text("dlq.effects.done"),
    )


def _webhook_by_key(record: Incoming) -> str:
    keyed = record.topic in BODY_TOPICS and record.key is not None
    return record.key.decode("utf-8", "replace") if keyed and record.key is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which letters are meant; an empty field means all. Times are epoch milliseconds of the letter's own record.

    ``ids`` are letters' ids, event ids or places (``topic:partition:offset``), ``keys`` records' keys as text,
    ``headers`` names with values, of which each has to be there.
    """

    error_classes: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    webhooks: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    headers: frozenset[tuple[str, str]] = frozenset()
    since_ms: int = 0
    until_ms: int | None = None

    def includes(self, letter: Letter) -> bool:
        """Tell whether ``letter`` is meant."""
        record = letter.record
        return (
            (not self.error_classes or letter.error_class in self.error_classes)
            and (not self.stages or letter.stage in self.stages)
            and (not self.webhooks or letter.webhook_id in self.webhooks)
            and (not self.ids or not self.ids.isdisjoint((letter.letter_id, letter.event_id, letter.place)))
            and (not self.keys or (record.key or b"").decode("utf-8", "replace") in self.keys)
            and (not self.headers or self.headers <= _named_values(record))
            and record.timestamp >= self.since_ms
            and (self.until_ms is None or record.timestamp < self.until_ms)
        )


def _named_values(record: Incoming) -> set[tuple[str, str]]:
    return {(name, (value or b"").decode("utf-8", "replace")) for name, value in record.headers}
