"""A dead letter as its headers describe it, and which letters a person means: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from goalpost.moment import iso
from schemas.dead_letter import Stage
from schemas.fitting import CUT_HEADER
from schemas.history import ORIGIN_TIMESTAMP, ORIGIN_TOPIC, REPLAY_COUNT_HEADER, REPLAY_RUN_HEADER, count
from schemas.records import EVENT_ID_HEADER, IGNORED_HEADER, WEBHOOK_ID_HEADER, Incoming, whole_number
from schemas.topics import IGNORED, REJECTED

UNKNOWN = "unknown"

# Topics of request bodies as they came, by the webhook that they were sent to.
BODY_TOPICS = frozenset({REJECTED.name, IGNORED.name})

# What is longer was not written by goalpost: it is no name of anything, and other texts are cut.
_LONGEST_NAME_BYTES: Final = 300
_LONGEST_BYTES: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. Texts are ``unknown`` or empty where another tool wrote the record without our headers.

    ``record`` says where the letter stands; ``origin_*`` where its record first stood, and since when (epoch
    milliseconds). ``run_id`` is the replay that it came back from, ``cut`` what of the record was too large to be kept.
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
    cut: str = ""

    @property
    def place(self) -> str:
        """``topic:partition:offset`` of the letter itself."""
        return f"{self.record.topic}:{self.record.partition}:{self.record.offset}"

    @property
    def origin(self) -> str:
        """``topic:partition:offset`` of the record that failed."""
        return f"{self.origin_topic}:{self.origin_partition}:{self.origin_offset}"

    @property
    def identity(self) -> str:
        """What the letter is called in the journal: its id, which its repeats share, else its place."""
        return self.letter_id or self.place

    @property
    def day(self) -> str:
        """The day on which it was written, in UTC."""
        return iso(self.record.timestamp).partition("T")[0]


def letter_of(record: Incoming) -> Letter:
    """Read the headers of a record of a dead-letter topic; the value is not touched."""
    headers = dict(record.headers)  # of a repeated name the last counts

    def text(name: str, default: str = "") -> str:
        return (headers.get(name) or b"")[:_LONGEST_BYTES].decode("utf-8", "replace") or default

    def name_in(name: str) -> str:
        # What something is known by is taken as a whole or not at all: the beginning of an id is another's.
        return text(name) if len(headers.get(name) or b"") <= _LONGEST_NAME_BYTES else ""

    ignored = text(IGNORED_HEADER) if record.topic == IGNORED.name else ""
    origin_ms = whole_number(text(ORIGIN_TIMESTAMP))
    return Letter(
        record=record,
        letter_id=name_in("dlq.id"),
        origin_topic=name_in(ORIGIN_TOPIC) or UNKNOWN,
        origin_partition=text("dlq.original.partition"),
        origin_offset=text("dlq.original.offset"),
        origin_ms=record.timestamp if origin_ms is None else origin_ms,
        stage=text("dlq.stage", Stage.PARSE.value if ignored else UNKNOWN),
        error_class=text("dlq.error.class", ignored or UNKNOWN),
        message=text("dlq.error.message"),
        event_id=name_in(EVENT_ID_HEADER),
        webhook_id=name_in(WEBHOOK_ID_HEADER) or _webhook_by_key(record),
        replays=count(text(REPLAY_COUNT_HEADER)),
        run_id=name_in(REPLAY_RUN_HEADER),
        effects_done=text("dlq.effects.done"),
        cut=text(CUT_HEADER),
    )


def _webhook_by_key(record: Incoming) -> str:
    key = record.key if record.topic in BODY_TOPICS else None
    return key.decode("utf-8", "replace") if key is not None and len(key) <= _LONGEST_NAME_BYTES else ""


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
