"""The state of one partition on disk: sessions, the waiting room, and how far its topics have been read.

RocksDB without a write-ahead log: the topics are the log. A batch of changes and the offsets behind it are written
together, so whatever survives a crash is a state that once was, and following its topics from its offsets leads on.
"""

from __future__ import annotations

import gc
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from rocksdict import Cache, ReadOptions, WriteBatch, WriteOptions

from runtime.logs import logger
from schemas.events import EpochMillis, Session
from streams.sessions import unpack
from streams.state import entries
from streams.state.database import Damaged, guarded, opened
from streams.state.keys import (
    DUE,
    OVERTAKEN,
    SINCE,
    awaited_by,
    awaited_key,
    behind,
    entry_key,
    moment_in,
    number_in,
    number_value,
    offset_in,
    since_key,
)

_OFFSET: Final = b"m:offset:"
_FOLLOWED: Final = b"m:followed"
_WAITING: Final = b"m:waiting"

# web.sessions forgets its tombstones a day after they were compacted; a state that slept longer could keep what was
# deleted. Half of that leaves room for clocks and slow starts.
_STALE_MS: Final = 12 * 3600 * 1000

# Of waiting records whose session came, so many are remembered at a time; others are looked at when they are due.
_MOST_ARRIVED: Final = 10_000

# What to write: a value, or None to delete the key.
Changes = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRoom:
    """How many events wait in a partition, since when the first of them does, and when the next one is due."""

    waiting: int = 0
    since: EpochMillis | None = None
    due: EpochMillis | None = None


class Store:
    """One partition's RocksDB. One thread follows the topics with it; any may read, and forget what was released."""

    def __init__(self, path: Path, cache: Cache) -> None:
        """Open or create it.

        Raises:
            Damaged: it has to be thrown away first.
            Fatal: another live process has it open and keeps it, or the disk is full.
        """
        self._path = path
        self._db = opened(path, cache)
        # Two threads forget entries; the count has to see each of them go once.
        self._counting = threading.Lock()
        self._waiting = self._number(_WAITING) or 0
        self._arrived: deque[bytes] = deque()
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # a property, stubbed as a method

    def sessions(self, keys: Sequence[bytes]) -> list[Session | None]:
        """The session under each key, in order."""
        return [None if value is None else unpack(value) for value in self.read(keys)]

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What is stored under each key, in order."""
        with guarded(self._path):
            return list(self._db.get(list(keys)) or ())

    def write(self, changes: Changes, offsets: Mapping[str, int], *, now: EpochMillis) -> None:
        """Apply ``changes`` and remember the next offset to read of each topic, all or nothing."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        for topic, offset in offsets.items():
            batch.put(_OFFSET + topic.encode(), number_value(offset))
        batch.put(_FOLLOWED, number_value(now))
        self._write(batch, {key: value for key, value in changes.items() if key.startswith(DUE)})

    def _write(self, batch: WriteBatch, due: Changes) -> None:
        """Write ``batch``, in which the entries ``due`` come and go, and keep their count and their order by age."""
        with self._counting:
            waiting = self._waiting
            for key, before in zip(due, self.read(list(due)) if due else (), strict=True):
                since = due[key]
                waiting += (since is not None) - (before is not None)
                if before is not None:
                    batch.delete(since_key(before, key))
                if since is not None:
                    batch.put(since_key(since, key), b"")
            if due:
                batch.put(_WAITING, number_value(waiting))
            with guarded(self._path):
                self._db.write(batch, self._unlogged)
            self._waiting = waiting

    def next_offset(self, topic: str) -> int | None:
        """Where to go on reading ``topic``; ``None`` at its beginning."""
        return self._number(_OFFSET + topic.encode())

    def followed_at(self) -> EpochMillis | None:
        """When its topics were last followed."""
        return self._number(_FOLLOWED)

    def due(self, now: EpochMillis, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` waiting records whose time has come, the longest due first: (its due key, the record)."""
        keys: list[bytes] = []
        for key, _ in self._scan(DUE):
            if moment_in(key) > now or len(keys) == limit:
                break
            keys.append(key)
        packed = self.read([entry_key(offset_in(key)) for key in keys])
        found = [(key, entry) for key, entry in zip(keys, packed, strict=True) if entry is not None]
        if len(found) == len(keys):
            return found
        # A topic that has lost records gives their offsets anew: then two times point to one record, and the second
        # one would stay due, and be looked at again and again, for good.
        self.remove([key for key, entry in zip(keys, packed, strict=True) if entry is None])
        return found or self.due(now, limit)

    def sessions_came(self, keys: Iterable[bytes]) -> bool:
        """Note that sessions came under ``keys``; say whether a waiting record has waited for one of them."""
        if not self._waiting:
            return False
        room = _MOST_ARRIVED - len(self._arrived)
        awaiting = list(islice((due for key in keys for _, due in self._scan(awaited_by(key))), max(room, 0)))
        self._arrived.extend(awaiting)
        return bool(awaiting)

    def arrived(self, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to ``limit`` waiting records whose session has come since they were asked for last, as :meth:`due`."""
        found: dict[bytes, bytes] = {}
        while self._arrived and not found:
            keys = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
            packed = self.read([entry_key(offset_in(key)) for key in keys])
            found = {key: entry for key, entry in zip(keys, packed, strict=True) if entry is not None}
        return list(found.items())

    def earliest_due(self) -> EpochMillis | None:
        """When the next waiting record is due."""
        return next((moment_in(key) for key, _ in self._scan(DUE)), None)

    def room(self) -> WaitingRoom:
        """How the waiting room is; costs the same however many wait."""
        since = next((moment_in(key) for key, _ in self._scan(SINCE)), None)
        return WaitingRoom(waiting=self._waiting, since=since, due=self.earliest_due())

    def remove(self, due_keys: Sequence[bytes]) -> None:
        """Forget waiting records that have been released."""
        batch = WriteBatch(raw_mode=True)
        offsets = [offset_in(key) for key in due_keys]
        packed = self.read([entry_key(offset) for offset in offsets]) if offsets else []
        for key, offset, entry in zip(due_keys, offsets, packed, strict=True):
            batch.delete(key)
            batch.delete(entry_key(offset))
            if entry is not None:
                batch.delete(awaited_key(entries.unpack(entry).key, offset))
        self._write(batch, dict.fromkeys(due_keys))

    def overtaken(self) -> list[bytes]:
        """The visitors whose last record in the topic is not their latest session."""
        return [key[len(OVERTAKEN) :] for key, _ in self._scan(OVERTAKEN)]

    def session_keys(self) -> int:
        """About how many keys are stored."""
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def flush(self) -> None:
        """Write everything to disk. The database itself is closed when the last reader lets go of this object."""
        with guarded(self._path):
            self._db.flush()

    def _number(self, key: bytes) -> int | None:
        (value,) = self.read([key])
        return None if value is None else number_in(value)

    def _scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        within = ReadOptions()
        within.set_iterate_upper_bound(behind(prefix))
        iterator = self._db.iter(within)
        iterator.seek(prefix)
        while iterator.valid():
            yield iterator.key(), iterator.value()
            iterator.next()
        with guarded(self._path):
            iterator.status()


def usable(path: Path, cache: Cache, *, now: EpochMillis) -> Store:
    """Open a state; one that is damaged, or has slept for too long, is thrown away, and its topics build it anew."""
    store, problem = _opened(path, cache, now)
    if store is not None:
        return store
    logger().warning("state.discarded", path=str(path), reason=problem)
    gc.collect()  # what an error's frames hold of the database would keep it locked
    shutil.rmtree(path)
    return Store(path, cache)


def _opened(path: Path, cache: Cache, now: EpochMillis) -> tuple[Store | None, str]:
    """Open a state, or say why it has to be thrown away."""
    try:
        store = Store(path, cache)
    except Damaged as problem:
        return None, str(problem)
    followed_at = store.followed_at()
    if followed_at is None or now - followed_at < _STALE_MS:
        return store, ""
    return None, "it was not followed for half a day"
