"""Keeps the state of the assigned partitions up to date: a plain consumer beside Faust, on a thread of its own.

Faust says which partitions of ``crm.events.raw`` are ours; the same partitions of ``web.sessions`` and
``crm.events.waiting`` are read here, from the offsets that the state itself remembers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.lifecycle import Heartbeat
from runtime.logs import logger
from runtime.sending import Sends
from schemas.events import EpochMillis, Session
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS, WAITING
from streams.letters import counted
from streams.sessions import unpack
from streams.state.database import shared_cache
from streams.state.folder import Folder
from streams.state.ingest import Ingest, ingested
from streams.state.keys import overtaken_key
from streams.state.progress import Pace, Progress
from streams.state.reader import Reader
from streams.state.store import Store, usable

_TOPICS: Final = (SESSIONS.name, WAITING.name)

_REMEMBER_SECONDS: Final = 60.0
# What is in memory only is read again after a crash. Small changes would otherwise stay there for days.
_FLUSH_SECONDS: Final = 900.0
_SAY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _Assignment:
    """What Faust asked for; compared by identity, because the same partitions may be assigned twice."""

    partitions: frozenset[int]


class Follower:
    """The state of the assigned partitions."""

    def __init__(
        self,
        *,
        folder: Folder,
        reader: Reader,
        sender: Sends,
        decode: Callable[[bytes | None], Session],
        encode: Callable[[Session], bytes],
        clock: Callable[[], EpochMillis],
        heartbeat: Heartbeat,
        careful: Callable[[int, Callable[[], Ingest]], Ingest] = lambda _, take: take(),
    ) -> None:
        """``careful`` has a batch of so many records taken in, perhaps more than once, until it may be written."""
        self._folder = folder
        self._reader = reader
        self._sender = sender
        self._decode = decode
        self._encode = encode
        self._clock = clock
        self._heartbeat = heartbeat
        self._careful = careful
        self._changed: Callable[[], None] = lambda: None
        self._cache = shared_cache()
        self._progress = Progress()
        self._stores: dict[int, Store] = {}
        self._asked: _Assignment | None = None
        self._answered: _Assignment | None = None
        self._ready: frozenset[int] = frozenset()
        self._overtaken: set[int] = set()
        self._remembered_at = self._flushed_at = self._said_at = time.monotonic()
        self._pace = Pace()

    def listen(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called, on the follower's thread, whenever something may have become ready or due."""
        self._changed = changed

    def own(self, partitions: frozenset[int]) -> None:
        """Follow exactly ``partitions`` from now on; none is ready before its state has caught up."""
        self._asked = _Assignment(partitions)

    def pause(self) -> None:
        """Partitions are being reassigned: none is ready until :meth:`own` says what is ours."""
        self._asked = None

    def owned(self) -> frozenset[int] | None:
        """What :meth:`own` said last, or ``None`` while partitions are being reassigned."""
        asked = self._asked
        return None if asked is None else asked.partitions

    def ready(self) -> frozenset[int]:
        """The partitions that are ours and whose state has caught up."""
        return self._ready if self._asked is not None and self._answered is self._asked else frozenset()

    def behind(self) -> dict[int, int]:
        """How many offsets each partition that is not ready still has to read."""
        return {
            number: self._progress.behind(number) for number in sorted((self.owned() or frozenset()) - self.ready())
        }

    def store(self, partition: int) -> Store:
        """The state of a partition that is ours; ``KeyError`` if it is not ours any more."""
        return self._stores[partition]

    def stores(self) -> dict[int, Store]:
        """The state of every partition that is ours."""
        return dict(self._stores)

    def follow(self, stop: threading.Event) -> None:
        """Read until ``stop`` is set, then write everything to disk."""
        try:
            while not stop.is_set():
                asked = self._asked
                if asked is not None and asked is not self._answered:
                    self._take_up(asked)
                arrived = self._reader.poll()
                if arrived.lost:
                    self._answered = None  # what is assigned is taken up again
                for number, records in arrived.records.items():
                    self._take_in(number, records)
                for place in arrived.ended:
                    self._progress.ended(place)
                self._notice_who_caught_up()
                self._remember()
        finally:
            for store in self._stores.values():
                store.flush()
            self._reader.close()

    def _take_up(self, asked: _Assignment) -> None:
        """Open and close stores, note where the topics end now, and read on from where each state stands."""
        for number in set(self._stores) - asked.partitions:
            self._stores.pop(number).flush()
        for number in sorted(asked.partitions - set(self._stores)):
            self._stores[number] = usable(self._folder.partition(number), self._cache, now=self._clock())
        progress = Progress()
        positions = {}
        for place in [(topic, number) for number in self._stores for topic in _TOPICS]:
            first, end = self._reader.ends(place)
            stored = self._stores[place[1]].next_offset(place[0])
            # Records before the first are gone; a position behind the end belongs to a topic that has lost records.
            positions[place] = stored if stored is not None and first <= stored <= end else first
            progress.begin(place, positions[place], end)
        self._progress = progress
        self._reader.read_from(positions)
        self._overtaken = set(self._stores)
        self._ready = frozenset()
        self._answered = asked
        self._pace = Pace()
        logger().info("state.assigned", partitions=sorted(self._stores), behind=self._behind())

    def _take_in(self, number: int, records: Sequence[Incoming]) -> None:
        store = self._stores[number]
        ingest = self._careful(len(records), lambda: ingested(records, store, self._decode, now=self._clock()))
        if ingest.letters:
            self._sender.send(ingest.letters)
            counted(ingest.letters)
        store.write(ingest.changes, ingest.offsets, now=self._clock())
        for topic, offset in ingest.offsets.items():
            self._progress.read((topic, number), offset)
        self._pace.taken += len(records)
        if ingest.overtaken:
            self._overtaken.add(number)
        if number not in self._ready:
            self._heartbeat.beat()
        elif store.sessions_came(ingest.arrived) or WAITING.name in ingest.offsets:
            self._changed()

    def _notice_who_caught_up(self) -> None:
        ready = self._progress.caught_up()
        if ready != self._ready:
            logger().info("state.caught_up", partitions=sorted(ready), behind=self._behind(), **self._pace.figures())
            for number in ready - self._ready:
                self._stores[number].flush()
            self._ready = ready
            self._changed()
        for number in self._overtaken & ready:
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        """Write each visitor's latest session behind the older one that arrived late: compaction keeps the last."""
        store = self._stores[number]
        visitors = store.overtaken()
        records = [
            Outgoing(topic=SESSIONS.name, key=visitor, value=self._encode(unpack(latest)), partition=number)
            for visitor, latest in zip(visitors, store.read(visitors), strict=True)
            if latest is not None
        ]
        if records:
            self._sender.send(records)
            logger().info("sessions.put_back", partition=number, sessions=len(records))
        store.write({overtaken_key(visitor): None for visitor in visitors}, {}, now=self._clock())
        self._overtaken.discard(number)

    def _behind(self) -> int:
        return sum(self._progress.behind(number) for number in self._stores)

    def _remember(self) -> None:
        """Note in each state now and then that it is being followed, also when nothing happens; say how it loads."""
        now = time.monotonic()
        if now - self._remembered_at > _REMEMBER_SECONDS:
            self._remembered_at = now
            for store in self._stores.values():
                store.write({}, {}, now=self._clock())
        if now - self._flushed_at > _FLUSH_SECONDS:
            self._flushed_at = now
            for store in self._stores.values():
                store.flush()
        if now - self._said_at > _SAY_SECONDS:
            self._said_at = now
            if self._ready != frozenset(self._stores):
                logger().info("state.catching_up", behind=self._behind(), **self._pace.figures())
