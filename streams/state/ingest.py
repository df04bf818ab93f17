"""Records of one partition's ``web.sessions`` and ``crm.events.waiting``, turned into changes of its store.

Reads the store, never writes it: what comes out is applied together with the offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from schemas.codec import Undecodable
from schemas.events import EpochMillis, Session
from schemas.identity import SESSION_PREFIX, VISITOR_PREFIX
from schemas.records import Incoming, Outgoing
from schemas.topics import WAITING
from streams.letters import letter, undecodable
from streams.sessions import displaces, pack, unpack
from streams.state import entries
from streams.state.keys import awaited_key, due_key, entry_key, overtaken_key, since_value
from streams.state.store import Changes
from streams.waiting import released_by, ticket_of

VISITOR: Final = VISITOR_PREFIX.encode()
_KEYS: Final = (SESSION_PREFIX.encode(), VISITOR)
_PRESENT: Final = b""


class Values(Protocol):
    """What the changes are made against."""

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is stored under each key, in order."""


class Ingest:
    """One batch of records of one partition; afterwards its fields say what to do.

    ``changes`` and ``offsets`` are to be written together, after ``letters`` have been sent; ``overtaken`` says that
    a visitor's later session has to be put back behind an older one. ``arrived`` are the keys of sessions that came.
    """

    def __init__(self, stored: Values, decode: Callable[[bytes | None], Session], *, now: EpochMillis) -> None:
        self._stored = stored
        self._decode = decode
        self._now = now
        self.changes: Changes = {}
        self.letters: list[Outgoing] = []
        self.offsets: dict[str, int] = {}
        self.overtaken = False
        self.arrived: list[bytes] = []

    def take(self, records: Sequence[Incoming]) -> None:
        """Take in ``records``, which are in the order of their offsets within each topic."""
        known = self._known(records)
        for record in records:
            self.offsets[record.topic] = record.offset + 1
            try:
                if record.topic == WAITING.name:
                    self._waiting(record)
                else:
                    self._session(record, known)
            except Undecodable as error:
                self.letters.append(letter(record, undecodable(error), now=self._now))

    def _known(self, records: Iterable[Incoming]) -> dict[bytes, bytes | None]:
        """What is stored about the visitors that the batch names, in one read."""
        visitors = {record.key for record in records if record.key and record.key.startswith(VISITOR)}
        wanted = [key for visitor in visitors for key in (visitor, overtaken_key(visitor))]
        return dict(zip(wanted, self._stored.read(wanted), strict=True)) if wanted else {}

    def _session(self, record: Incoming, known: dict[bytes, bytes | None]) -> None:
        key = record.key
        if key is None or not key.startswith(_KEYS):
            raise Undecodable("its key is neither s:<session_id> nor u:<ym_uid>")
        if record.value is None:
            self._change(known, key, None)
            return
        session = self._decode(record.value)
        # Only visitors have rivals: under s: the last record stands, as in the compacted topic.
        present = known.get(key) if key.startswith(VISITOR) else None
        if present is not None and not displaces(session, unpack(present)):
            # The topic now ends with the older session, and compaction would keep only that one.
            self._change(known, overtaken_key(key), _PRESENT)
            self.overtaken = True
            return
        self._change(known, key, pack(session))
        self.arrived.append(key)
        if known.get(overtaken_key(key)) is not None:
            self._change(known, overtaken_key(key), None)

    def _change(self, known: dict[bytes, bytes | None], key: bytes, value: bytes | None) -> None:
        self.changes[key] = known[key] = value

    def _waiting(self, record: Incoming) -> None:
        released = released_by(record.headers)
        if record.value is not None:
            ticket = ticket_of(record.headers)
            self.changes[entry_key(record.offset)] = entries.pack(record)
            due = due_key(ticket.due, record.offset)
            self.changes[due] = since_value(ticket.since)
            self.changes[awaited_key(record.key, record.offset)] = due
        if released is not None:
            self._forget(released, record)

    def _forget(self, offset: int, by: Incoming) -> None:
        """Forget what stands at ``offset``; a foreign record that names the place of another's event ends nothing."""
        key = entry_key(offset)
        packed = self.changes[key] if key in self.changes else self._stored.read([key])[0]
        waiting = None if packed is None else entries.unpack(packed)
        if waiting is not None and waiting.key == by.key:
            self.changes[key] = None
            self.changes[due_key(ticket_of(waiting.headers).due, offset)] = None
            self.changes[awaited_key(waiting.key, offset)] = None


def ingested(
    records: Sequence[Incoming], stored: Values, decode: Callable[[bytes | None], Session], *, now: EpochMillis
) -> Ingest:
    """Return ``records`` taken in."""
    ingest = Ingest(stored, decode, now=now)
    ingest.take(records)
    return ingest
