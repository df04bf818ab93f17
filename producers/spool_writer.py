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
        self._writing: asyncio.Task[None] | None = None
        totals = spool.totals()
        self.records, self.size, self.oldest_at = totals.records, totals.size, totals.oldest_at
        self._show()

    @property
    def full(self) -> bool:
        """Whether a request of the usual size would find no room."""
        return self.size + _ROOM_BYTES > self._max_bytes

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
        except sqlite3.Error as exc:
            self._count(-len(records), -size)
            raise NotAcknowledged("Kafka does not answer and the spool cannot be written") from exc

    def remove(self, places: Sequence[int], *, size: int) -> None:
        """Forget records that Kafka has; with the next commit. Until then a crash has them sent again."""
        self._count(-len(places), -size)
        self._removed += places
        self._begin()

    async def window(self, place: int) -> list[Kept]:
        """Return the next records behind ``place``, those included that are being added now."""
        await self.settled()
        found = await self._loop.run_in_executor(self._thread, self._after, place)
        if found and place == 0:
            self.oldest_at = found[0].kept_at
            self._show()
        return found

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

    async def _write(self) -> None:
        try:
            while self._added or self._removed:
                await self._commit()
        finally:
            self._writing = None

    async def _commit(self) -> None:
        added, self._added = self._added, []
        removed, self._removed = self._removed, []
        records = [record for group, _ in added for record in group]
        try:
            place = await self._loop.run_in_executor(
                self._thread, lambda: self._spool.write(records, removed, now=self._clock_ms())
            )
        except sqlite3.Error as exc:
            # What could not be removed stays and is sent again after a restart: a repeat with the same event_id.
            logger().error("spool.failed", error=str(exc), records=len(records))
            for _, stored in added:
                stored.set_exception(exc)
            return
        for group, stored in added:
            stored.set_result(range(place, place + len(group)))
            place += len(group)

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
