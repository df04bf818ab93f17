"""One visitor, and every trace of theirs in the topics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.codec import Codec, Undecodable
from schemas.events import Session
from schemas.identity import session_key, visitor_key
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS, TOPICS, Topic

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The ids by which goalpost knows one person: a browser's ``ym_uid``, if any, and its sessions."""

    ym_uid: str | None
    session_ids: frozenset[str]

    @property
    def keys(self) -> frozenset[bytes]:
        """The keys of the visitor's records."""
        visitors = {visitor_key(self.ym_uid)} if self.ym_uid else set()
        return frozenset(visitors | {session_key(session_id) for session_id in self.session_ids})

    def removals(self) -> list[Outgoing]:
        """The records that remove the visitor from ``web.sessions``, and from every join that reads it."""
        return [Outgoing(topic=SESSIONS.name, key=key, value=None) for key in sorted(self.keys)]

    def is_in(self, record: Incoming) -> bool:
        """Whether a record of any topic holds one of the visitor's ids: in its key, or anywhere in its value."""
        if record.key in self.keys:
            return True
        ids = [*self.session_ids, *([self.ym_uid] if self.ym_uid else [])]
        return record.value is not None and any(one.encode() in record.value for one in ids)


def find(
    read: Callable[[], Iterable[Incoming]], codec: Codec[Session], *, ym_uid: str | None, session_id: str | None
) -> Visitor:
    """Return the visitor that a ``ym_uid`` or a session id names, with all sessions that ``web.sessions`` knows.

    ``read`` reads the topic anew. A session id leads to its visitor, and so to the visitor's other sessions.
    """
    if ym_uid is None:
        named = [session for session in _sessions(read(), codec) if session.session_id == session_id]
        ym_uid = named[-1].ym_uid if named else None
    found = {session_id} if session_id is not None else set()
    if ym_uid is not None:
        found |= {session.session_id for session in _sessions(read(), codec) if session.ym_uid == ym_uid}
    return Visitor(ym_uid=ym_uid, session_ids=frozenset(found))


def _sessions(records: Iterable[Incoming], codec: Codec[Session]) -> Iterator[Session]:
    for record in records:
        try:
            if record.value is not None:
                yield codec.decode(record.value)
        except Undecodable:
            continue


@dataclass(slots=True, kw_only=True)
class Traces:
    """How many records of each topic hold a visitor's ids, and when the last of them is gone."""

    found: dict[str, int] = field(default_factory=dict)
    gone_by_ms: dict[str, int] = field(default_factory=dict)

    def take(self, topic: Topic, record: Incoming) -> None:
        """Count one record."""
        self.found[topic.name] = self.found.get(topic.name, 0) + 1
        gone_by = record.timestamp + topic.retention_ms + _DAY_MS
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
    return result


def as_lines(found: Mapping[str, int], gone_by: Mapping[str, str]) -> list[str]:
    """Say for people what stays in the topics, and until when."""
    return [f"{number:>10}  records of {topic}, gone by {gone_by[topic]}" for topic, number in found.items()]
