"""Lets waiting events go when they are due, or their session came: sleeps until the earliest, or a change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final, Protocol

from schemas.events import EpochMillis
from schemas.records import Incoming, Outgoing
from streams.join import Join
from streams.state import entries
from streams.state.store import Store

# What is released in one go: bounds memory where a body of a megabyte waits.
_ENTRIES: Final = 50


class Rooms(Protocol):
    """The waiting rooms of the partitions that are ours and caught up."""

    def ready(self) -> frozenset[int]:
        """Their numbers."""

    def stores(self) -> Mapping[int, Store]:
        """The state of each partition."""


class Releases:
    """Releases what is due, partition by partition, each in the order (due, offset)."""

    def __init__(
        self,
        *,
        rooms: Rooms,
        join: Join,
        submit: Callable[[Callable[[], Sequence[Outgoing]]], Future[None]],
        clock: Callable[[], EpochMillis],
    ) -> None:
        self._rooms = rooms
        self._join = join
        self._submit = submit
        self._clock = clock
        self._changed = asyncio.Event()

    def nudge(self) -> None:
        """Look again at what is due. To be called in the event loop."""
        self._changed.set()

    async def run(self) -> None:
        """Release until cancelled. Raises whatever a release raised."""
        while True:
            self._changed.clear()
            due = [store.earliest_due() for store in self._ready()]
            earliest = min((time for time in due if time is not None), default=None)
            await self._sleep_until(earliest)
            for store in self._ready():
                await self.release_arrived(store)
                await self.release(store)

    async def release(self, store: Store) -> None:
        """Resolve what is due in ``store`` again, and forget it once the outcome is written."""
        while found := store.due(self._clock(), _ENTRIES):
            waiting: list[Incoming] = [entries.unpack(packed) for _, packed in found]
            await asyncio.wrap_future(self._submit(lambda waiting=waiting: self._join.due(waiting, store)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            store.remove([key for key, _ in found])

    async def release_arrived(self, store: Store) -> None:
        """Resolve what waits for sessions that came, whenever it is due; what they do not resolve waits on."""
        while found := store.arrived(_ENTRIES):
            waiting: list[Incoming] = [entries.unpack(packed) for _, packed in found]
            done: set[int] = set()
            await asyncio.wrap_future(
                self._submit(lambda waiting=waiting, done=done: self._join.arrived(waiting, store, done))  # type: ignore[misc]  # as above
            )
            keys = [key for (key, _), record in zip(found, waiting, strict=True) if record.offset in done]
            store.remove(keys)

    async def _sleep_until(self, earliest: EpochMillis | None) -> None:
        seconds = None if earliest is None else max(0.0, (earliest - self._clock()) / 1000)
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            return

    def _ready(self) -> list[Store]:
        ready = self._rooms.ready()
        return [store for number, store in sorted(self._rooms.stores().items()) if number in ready]
