"""One visitor, and every trace of theirs in the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from goalpost.dead_letters.letter import Letter, letter_of
from goalpost.dead_letters.reading import KEPT_TOPICS
from goalpost.retention.policy import kept_at_most_ms
from schemas.codec import Codec, Undecodable
from schemas.events import Session
from schemas.identity import session_key, visitor_key
from schemas.records import EVENT_ID_HEADER, Incoming, Outgoing, header
from schemas.topics import SESSIONS, TOPICS, Topic

_DAY_MS: Final = 86_400_000
_TELLING_LENGTH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The ids by which goalpost knows one person: of each browser the ``ym_uid``, and sessions.

    ``event_ids`` are conversions that name the person otherwise, ``written`` how records may do so, in lower case.
    """

    ym_uids: frozenset[str]
    session_ids: frozenset[str]
    event_ids: frozenset[str] = frozenset()
    written: frozenset[bytes] = field(default=frozenset(), repr=False)

    @property
    def keys(self) -> frozenset[bytes]:
        """The keys of the visitor's records."""
        return frozenset({*map(visitor_key, self.ym_uids), *map(session_key, self.session_ids)})

    def removals(self) -> list[Outgoing]:
        """The records that remove the visitor from ``web.sessions``, and from every join that reads it."""
        return [Outgoing(topic=SESSIONS.name, key=key, value=None) for key in sorted(self.keys)]

    def is_in(self, record: Incoming) -> bool:
        """Whether a record of any topic holds the visitor: in its key or headers, or anywhere in its value."""
        if self._is_of(record):
            return True
        value = record.value or b""
        ids = (one.encode() in value for one in (*self.session_ids, *self.ym_uids))
        return any(ids) or (bool(self.written) and any(one in value.lower() for one in self.written))

    def owns(self, record: Incoming) -> bool:
        """Whether a record is the visitor's beyond doubt: a short id in a value may be a part of anything."""
        telling = (one.encode() for one in (*self.session_ids, *self.ym_uids) if len(one) >= _TELLING_LENGTH)
        return self._is_of(record) or any(one in (record.value or b"") for one in telling)

    def _is_of(self, record: Incoming) -> bool:
        return record.key in self.keys or header(record.headers, EVENT_ID_HEADER) in self.event_ids


def find(read: Callable[[], Iterable[Incoming]], codec: Codec[Session], known: Visitor) -> Visitor:
    """Return a visitor of whom a few ids are known, with all sessions that ``web.sessions`` knows.

    ``read`` reads the topic anew. A session leads to its visitor, and so to the visitor's other sessions.
    """
    ym_uids, session_ids = set(known.ym_uids), set(known.session_ids)
    if session_ids:
        told = (session for session in _sessions(read(), codec) if session.session_id in session_ids)
        last = {session.session_id: session.ym_uid for session in told}
        ym_uids |= {ym_uid for ym_uid in last.values() if ym_uid is not None}
    if ym_uids:
        session_ids |= {session.session_id for session in _sessions(read(), codec) if session.ym_uid in ym_uids}
    return replace(known, ym_uids=frozenset(ym_uids), session_ids=frozenset(session_ids))


def _sessions(records: Iterable[Incoming], codec: Codec[Session]) -> Iterator[Session]:
    for record in records:
        try:
            if record.value is not None:
                yield codec.decode(record.value)
        except Undecodable:
            continue


@dataclass(slots=True, kw_only=True)
class Traces:
    """How many records of each topic hold a visitor's ids, and when the last of them is gone.

    ``letters`` are the dead letters among them that must not be replayed, by what the journal calls them.
    """

    found: dict[str, int] = field(default_factory=dict)
    gone_by_ms: dict[str, int] = field(default_factory=dict)
    letters: dict[str, Letter] = field(default_factory=dict)

    def take(self, topic: Topic, record: Incoming) -> None:
        """Count one record."""
        self.found[topic.name] = self.found.get(topic.name, 0) + 1
        gone_by = record.timestamp + kept_at_most_ms(topic) + _DAY_MS
        self.gone_by_ms[topic.name] = max(gone_by, self.gone_by_ms.get(topic.name, 0))


def traces(read: Callable[[str], Iterable[Incoming]], visitor: Visitor) -> Traces:
    """Look for the visitor in every topic that forgets by age; ``read`` reads the topic of a name."""
    result = Traces()
    for topic in TOPICS:
        if topic.compacted:
            continue
        for record in read(topic.name):
            if visitor.is_in(record):
                result.take(topic, record)
                if topic.name in KEPT_TOPICS and visitor.owns(record):
                    letter = letter_of(record)
                    result.letters[letter.identity] = letter
    return result


def as_lines(found: Mapping[str, int], gone_by: Mapping[str, str]) -> list[str]:
    """Say for people what stays in the topics, and until when."""
    return [f"{number:>10}  records of {topic}, gone by {gone_by[topic]}" for topic, number in found.items()]
