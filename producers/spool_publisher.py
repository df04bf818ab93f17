"""Keeps the promise of a 202 while Kafka does not answer: what Kafka does not take in time goes to the disk.

*Directly*: records go to Kafka, and only what is not acknowledged in time is written to the spool as well. Kafka's
client keeps trying with that, and when it succeeds after all, the record is taken out of the spool again: so an outage
doubles nothing unless the process dies in it. *Diverting*, from the first late acknowledgement on: records go to the
spool at once and from there to Kafka, in order. Directly again: when Kafka has acknowledged everything that its client
holds, or has refused it for good, and the rest of the spool is queued in front of the requests that come next.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from producers.publisher import Delivery, KafkaPublisher, NotAcknowledged
from producers.spool import Kept, size_of
from producers.spool_writer import SpoolWriter
from runtime.failures import Fatal
from runtime.logs import logger
from runtime.metrics import SPOOLED
from schemas.records import Outgoing

# How often acknowledgements are looked at for being late: the timeout is this inexact.
_LOOK_SECONDS: Final = 0.025
# So few records are queued at once, while the requests of that moment wait: a few milliseconds.
_LAST_RECORDS: Final = 500
# After errors that waiting inside the client does not mend, for example a topic without write permission.
_PAUSE_SECONDS: Final = 5.0
# With Kafka gone there is nothing to wait for: what its client holds is on the disk as well.
_FLUSH_SECONDS_WITHOUT_KAFKA: Final = 1.0
_LATE: Final = "LATE"
# librdkafka's word for a client that can never send again; a new process can.
_DEAD_CLIENT: Final = "_FATAL"


class SpoolPublisher:
    """A :class:`producers.publisher.Publisher`; made inside the running loop, and closed before the loop ends.

    ``on_failure`` is called when only a new process can empty the spool.
    """

    def __init__(
        self,
        client: KafkaPublisher,
        spool: SpoolWriter,
        *,
        timeout_seconds: float,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._client = client
        self._spool = spool
        self._timeout_seconds = timeout_seconds
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._sent: deque[tuple[float, Delivery]] = deque()
        # The places in the spool of what Kafka's client holds; how many late requests are on their way into the spool.
        self._held: set[int] = set()
        self._late = 0
        self._nothing_late = _set_event()
        self._nothing_held = _set_event()
        self._passable = _set_event()
        # Places that became free after the window in hand was read; what came of the last diversion and the last pass.
        self._freed: set[int] = set()
        self._answered = False
        self._refused = ""
        self._draining: asyncio.Task[None] | None = None
        self._looking = self._loop.create_task(self._look())
        self.diverting = False
        if spool.records:
            self._divert("LEFT_FROM_BEFORE")

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """As :meth:`producers.publisher.Publisher.publish`."""
        if not self._passable.is_set():
            await self._passable.wait()
        if self.diverting:
            await self._keep(records)
            return
        try:
            delivery = self._client.send(records)
        except NotAcknowledged as exc:
            self._divert(str(exc))
            await self._keep(records)
            return
        self._sent.append((self._loop.time(), delivery))
        error = await delivery.outcome
        if error is not None:
            self._divert(error)
            await self._keep_late(records, delivery)

    def offer(self, record: Outgoing) -> None:
        """As :meth:`producers.publisher.Publisher.offer`: only while Kafka answers."""
        if not self.diverting:
            with contextlib.suppress(NotAcknowledged):
                self._client.send([record])

    async def close(self, seconds: float) -> int:
        """Stop; what is not in Kafka after ``seconds`` stays in the spool. Returns how many records that are."""
        self._looking.cancel()
        if self._draining is not None:
            self._draining.cancel()
        await self._client.close(min(seconds, _FLUSH_SECONDS_WITHOUT_KAFKA) if self.diverting else seconds)
        await self._spool.close()
        return self._spool.records

    async def _keep(self, records: Sequence[Outgoing]) -> range:
        places = await self._spool.add(records)
        SPOOLED.inc(len(records))
        return places

    async def _keep_late(self, records: Sequence[Outgoing], delivery: Delivery) -> None:
        """Write what Kafka's client holds to the spool, and take it out again when the client succeeds."""
        self._late += 1
        self._nothing_late.clear()
        self._nothing_held.clear()
        try:
            places = await self._keep(records)
            self._hold(zip(places, map(size_of, records), strict=True), delivery)
        finally:
            self._late -= 1
            self._let_go()

    def _hold(self, kept: Iterable[tuple[int, int]], delivery: Delivery) -> None:
        sizes = dict(kept)
        self._held.update(sizes)
        self._nothing_held.clear()

        def reported(error: str | None) -> None:
            self._held.difference_update(sizes)
            self._answered = True
            if error is None:
                self._freed.update(sizes)
                self._spool.remove(list(sizes), size=sum(sizes.values()))
            else:
                self._refused = error
            self._let_go()

        delivery.then(reported)

    def _let_go(self) -> None:
        if not self._late:
            self._nothing_late.set()
            if not self._held:
                self._nothing_held.set()

    def _divert(self, why: str) -> None:
        if not self.diverting:
            logger().warning("spool.diverted", why=why, records=self._spool.records)
            self.diverting = True
            self._answered = False
        if self._draining is None:
            self._draining = self._loop.create_task(self._drain())
            self._draining.add_done_callback(self._drained)

    async def _drain(self) -> None:
        """Go through the spool until it is empty; what Kafka refuses in one pass is tried again in the next."""
        while self._spool.records or self._late:
            self._refused = ""
            await self._pass()
            await self._nothing_held.wait()
            if self._refused == _DEAD_CLIENT:
                raise Fatal("Kafka's client cannot go on. A new process sends the spool.")
            if self._refused:
                logger().error("spool.refused", why=self._refused, records=self._spool.records)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _drained(self, draining: asyncio.Task[None]) -> None:
        self._draining = None
        if draining.cancelled():
            return
        if (failure := draining.exception()) is not None:
            self._on_failure(failure)
        elif self._spool.records:
            self._divert("NEW_RECORDS")
        else:
            self.diverting = False
            logger().info("spool.emptied")

    async def _pass(self) -> None:
        """Hand everything over once, window by window, and let requests through again if Kafka takes it."""
        place = 0
        while True:
            await self._nothing_held.wait()
            window = await self._window(place)
            if not window or (len(window) <= _LAST_RECORDS and (self._answered or not self.diverting)):
                await self._catch_up(place)
                return
            if not self._hand_over(window):
                return
            place = window[-1].place

    async def _catch_up(self, place: int) -> None:
        """Queue the rest of the spool in front of the requests that come next: they keep their place behind it."""
        self._passable.clear()
        try:
            while window := await self._window(place):
                if not self._hand_over(window):
                    return
                place = window[-1].place
            self.diverting = False
        finally:
            self._passable.set()

    async def _window(self, place: int) -> list[Kept]:
        self._freed = set()
        try:
            window = await self._spool.window(place)
        except sqlite3.Error as exc:
            raise Fatal(f"the spool cannot be read ({exc}). Check the disk of GOALPOST_SPOOL_DIR.") from exc
        # Of what was just written, Kafka's client may have something that is not among the held ones yet.
        await self._nothing_late.wait()
        return window

    def _hand_over(self, window: Sequence[Kept]) -> bool:
        """Queue what the client does not have yet. Returns whether it has all of the window now."""
        for kept in window:
            if kept.place in self._held or kept.place in self._freed:
                continue
            try:
                delivery = self._client.send([kept.record])
            except NotAcknowledged as exc:
                self._refused = str(exc)
                return False
            self._hold([(kept.place, kept.size)], delivery)
        return True

    async def _look(self) -> None:
        """End the wait of requests whose records are not acknowledged in time."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            since = self._loop.time() - self._timeout_seconds
            sent = self._sent
            while sent and (sent[0][0] < since or sent[0][1].reported):
                _, delivery = sent.popleft()
                if not delivery.outcome.done():
                    delivery.outcome.set_result(_LATE)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
