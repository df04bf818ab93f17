"""The spool from an event loop: everything that comes while one commit runs shares the next one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from producers.publisher import NotAcknowledged
from producers.spool import Kept, Spool, size_of
from runtime.logs import logger
from runtime.metrics import SPOOL_BYTES, SPOOL_OLDEST, SPOOL_RECORDS
from schemas.events import EpochMillis
from schemas.records import Outgoing

# One window on its way to Kafka: enough for full batches, little enough to hold twice in memory.
_WINDOW_RECORDS: Final = 1000
_WINDOW_BYTES: Final = 8 * 1024 * 1024
# Less room than this is none: what a service says of itself must not depend on one request's size.
_ROOM_BYTES: Final = 1024 * 1024
# How long a disk that has failed is left alone, unless somebody wants to add something.
_PAUSE_SECONDS: Final = 1.0

_Addition = tuple[Sequence[Outgoing], "asyncio.Future[range]"]


class SpoolWriter:
    """Adds to, removes from and reads a :class:`Spool`; made inside the running loop."""

    def __init__(self, spool: Spool, *, max_bytes: int, clock_ms: Callable[[], EpochMillis]) -> None:
        self._spool = spool
        self._max_bytes = max_bytes
        self._clock_ms = clock_ms
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._added: list[_Addition] = []
        self._removed: list[int] = []
        self._failed = self._resting = False
        self._writing: asyncio.Task[None] | None = None
        totals = spool.totals()
        self.records, self.size, self.oldest_at = totals.records, totals.size, totals.oldest_at
        self._show()

    @property
    def full(self) -> bool:
        """Whether a request of the usual size would find no room, or a disk that has just failed."""
        return self._failed or self.size + _ROOM_BYTES > self._max_bytes

    def notes(self) -> dict[str, str]:
        """Return what people who look at the service's state should know; nothing while the spool is empty."""
        if not self.records:
            return {}
        age = max(0, self._clock_ms() - (self.oldest_at or self._clock_ms())) / 1000
        share = self.size / self._max_bytes if self._max_bytes else 1.0
        return {"spool": f"{self.records} records wait for Kafka, the oldest for {age:.0f} s; {share:.0%} full"}

    async def add(self, records: Sequence[Outgoing]) -> range:
        """Return the places of ``records`` as soon as they are on the disk.

        Raises:
            NotAcknowledged: there is no room for them, or the disk fails.
        """
        size = sum(map(size_of, records))
        if self.size + size > self._max_bytes:
            raise NotAcknowledged("Kafka does not answer and the spool is full")
        self._count(len(records), size)
        stored: asyncio.Future[range] = self._loop.create_future()
        self._added.append((records, stored))
        self._begin()
        try:
            return await asyncio.shield(stored)
        except (OSError, sqlite3.Error) as exc:
            self._count(-len(records), -size)
            raise NotAcknowledged("Kafka does not answer and the spool cannot be written") from exc

    def remove(self, places: Sequence[int], *, size: int) -> None:
        """Forget records that Kafka has; with the next commit that succeeds.

        Until then a crash has them sent again, but this process does not.
        """
        self._count(-len(places), -size)
        self._removed += places
        self._begin()

    async def window(self, place: int) -> list[Kept]:
        """Return the next records behind ``place``, those included that are being added now."""
        await self.settled()
        removed = set(self._removed)  # what the disk would not forget
        while read := await self._loop.run_in_executor(self._thread, self._after, place):
            if found := [kept for kept in read if kept.place not in removed]:
                if place == 0:
                    self.oldest_at = found[0].kept_at
                    self._show()
                return found
            place = read[-1].place
        return []

    async def settled(self) -> None:
        """Return when everything that was asked for is committed or has failed."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    async def close(self) -> None:
        """Commit what is asked for and give the file back."""
        await self.settled()
        await self._loop.run_in_executor(self._thread, self._spool.close)
        self._thread.shutdown(wait=False)

    def _after(self, place: int) -> list[Kept]:
        return self._spool.after(place, records=_WINDOW_RECORDS, size=_WINDOW_BYTES)

    def _begin(self) -> None:
        if self._writing is None:
            self._writing = self._loop.create_task(self._write())

    def _begin_again(self) -> None:
        self._resting = False
        self._begin()

    async def _write(self) -> None:
        try:
            while self._added or (self._removed and not self._resting):
                await self._commit()
        finally:
            self._writing = None

    async def _commit(self) -> None:
        added, self._added = self._added, []
        removed, self._removed = self._removed, []
        records = [record for group, _ in added for record in group]
        try:
            place = await self._loop.run_in_executor(self._thread, self._to_disk, records, removed)
        except (OSError, sqlite3.Error) as exc:
            logger().error("spool.failed", error=str(exc), records=len(records))
            self._removed = removed + self._removed
            if not self._resting:
                self._resting = True
                self._loop.call_later(_PAUSE_SECONDS, self._begin_again)
            self._failed = True
            for _, stored in added:
                stored.set_exception(exc)
            return
        self._failed = False
        for group, stored in added:
            stored.set_result(range(place, place + len(group)))
            place += len(group)

    def _to_disk(self, added: Sequence[Outgoing], removed: Sequence[int]) -> int:
        if self._failed and not self.records:
            self._spool.start_over()  # on a full disk there is no room to delete in
            return 0
        return self._spool.write(added, removed, now=self._clock_ms())

    def _count(self, records: int, size: int) -> None:
        if self.records == 0:
            self.oldest_at = self._clock_ms()
        self.records += records
        self.size += size
        if self.records == 0:
            self.oldest_at = None
        self._show()

    def _show(self) -> None:
        SPOOL_RECORDS.set(self.records)
        SPOOL_BYTES.set(self.size)
        SPOOL_OLDEST.set((self.oldest_at or 0) / 1000)
