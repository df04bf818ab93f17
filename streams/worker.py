"""One join worker from its parts: Faust's app, the follower of its state, the writer, the releases; how they end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final

from runtime import metrics
from runtime.attention import Attention
from runtime.failures import Fatal
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import logger
from schemas.events import EpochMillis
from schemas.topics import RAW
from streams.app import build_app
from streams.join import Join
from streams.ledger import Run
from streams.patience import StoppedWaiting
from streams.releases import Releases
from streams.state.follower import Follower
from streams.webhooks import Webhooks
from streams.writer import Writer

_REPORT_SECONDS: Final = 5.0
# After a failure there is nothing to wait for; leaving the group properly lets another worker take over at once.
_LEAVE_SECONDS: Final = 5.0


class WorkerFailed(Fatal):
    """A part of the worker ended with an unexpected error. The kind and the place are named, never the content."""

    def __init__(self, error: BaseException) -> None:
        place, traced = "an unknown place", error.__traceback__
        while traced is not None:
            place, traced = f"{traced.tb_frame.f_code.co_filename}:{traced.tb_lineno}", traced.tb_next
        super().__init__(f"{type(error).__name__} at {place}. What was in hand will be read again; please report this.")


class Silent(Fatal):
    """Faust gets no events although there are some. Its client cannot be replaced inside the process."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the join reads no events: {problem}. A new process takes over; what is in hand is read again."
        )


class Worker:
    """Runs until it is asked to stop or a part of it fails."""

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        folder: Path,
        join: Join,
        follower: Follower,
        writer: Writer,
        webhooks: Webhooks,
        heartbeat: Heartbeat,
        stop: Stop,
        drain_seconds: float,
        clock: Callable[[], EpochMillis],
        report: Callable[[], None],
        attention: Attention,
    ) -> None:
        """Has to be called in the event loop. ``report`` is called every few seconds, on some thread; ``attention``
        watches the reading of events.
        """
        self._attention = attention
        self._join = join
        self._follower = follower
        self._writer = writer
        self._webhooks = webhooks
        self._heartbeat = heartbeat
        self._stop = stop
        self._drain_seconds = drain_seconds
        self._show = report
        self._loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._ending = threading.Event()
        self._releases = Releases(rooms=follower, join=join, submit=writer.submit, clock=clock)
        self._app = build_app(
            bootstrap_servers=bootstrap_servers,
            folder=folder,
            ready=follower.ready,
            alive=heartbeat.beat,
            attention=attention,
            on_assigned=self._own,
            on_revoked=self._pause,
            write=self._write,
            failed=self._fail,
        )

    async def run(self) -> None:
        """Work until asked to stop; then finish what is in hand.

        Raises:
            Fatal: a part failed. What was in hand is unacknowledged and will be read again.
        """
        self._attention.begin()
        self._attention.excuse()  # what it has waited for before is not the group's fault
        self._follower.listen(self._something_changed)
        threads = [
            self._thread("state", partial(self._follower.follow, self._ending)),
            self._thread("webhooks", partial(self._webhooks.follow, self._ending)),
            self._thread("writer", self._writer.work),
        ]
        tasks = [
            asyncio.create_task(work)
            for work in (self._start(), self._app.wait_until_stopped(), self._releases.run(), self._report())
        ]
        asked = asyncio.create_task(asyncio.to_thread(self._stop.wait, threading.TIMEOUT_MAX))
        ends: set[asyncio.Future[Any]] = {*tasks, asked, self._failure}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        error = self._what_failed(tasks)
        self._stop.request()
        tasks[2].cancel()
        try:
            await self._leave(error)
        finally:
            self._writer.close()
            self._ending.set()
            for thread in threads:
                await asyncio.to_thread(thread.join, _LEAVE_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, asked, return_exceptions=True)
        if error is not None:
            raise error

    def _own(self, partitions: frozenset[int]) -> None:
        self._follower.own(partitions)
        self._attention.owns((RAW.name, number) for number in partitions)

    def _pause(self) -> None:
        self._follower.pause()
        self._attention.owns(())

    def _write(self, run: Run) -> Future[None]:
        number = run.records[0].partition
        return self._writer.submit(lambda: self._join.run(run.records, self._follower.store(number)))

    async def _start(self) -> None:
        await self._app.start()
        await asyncio.Event().wait()  # started is no reason to end

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_SECONDS)
            if self._follower.owned() == frozenset():
                self._heartbeat.beat()  # a spare worker has nothing to do, and that is all right
            self._attention.joined(self._app.consumer.member_id())  # type: ignore[attr-defined]  # it is a RunConsumer
            metrics.BEHIND.labels("events").set(self._attention.behind())
            if self._attention.silent():
                raise Silent(self._attention.obstacle() or "it is silent")
            await asyncio.to_thread(self._show)

    def _something_changed(self) -> None:
        """Called on the follower's thread, perhaps after the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._look_again)

    def _look_again(self) -> None:
        self._releases.nudge()
        self._app.consumer.nudge()  # type: ignore[attr-defined]  # it is a RunConsumer

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - whatever ends a thread must end the process
                self._loop.call_soon_threadsafe(self._fail, error)

        context = contextvars.copy_context()  # so that its log lines name the process
        thread = threading.Thread(target=context.run, args=(guarded,), name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    def _what_failed(self, tasks: list[asyncio.Task[None]]) -> Fatal | None:
        """The error that ended the work, or ``None`` if it was a request to stop."""
        found: list[BaseException | None] = [self._app.crash_reason]
        for ended in (self._failure, *tasks):
            if ended.done() and not ended.cancelled():
                found.append(ended.exception())
        error = next((error for error in found if error is not None), None)
        if error is None and not self._stop.requested:
            return Fatal("Faust stopped by itself. What was in hand will be read again; its own log lines say more.")
        if error is None or isinstance(error, StoppedWaiting):
            return None
        return error if isinstance(error, Fatal) else WorkerFailed(error)

    async def _leave(self, error: Fatal | None) -> None:
        """Stop Faust: it waits for what is in hand, unless that has failed or fails now."""
        if error is not None:
            await self._app.crash(error)
        stopping = asyncio.create_task(self._app.stop())
        seconds = self._drain_seconds if error is None else _LEAVE_SECONDS
        hopeless = () if self._failure.done() else (self._failure,)
        await asyncio.wait({stopping, *hopeless}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            logger().warning("join.stopped_with_work_in_hand", hint="it is not acknowledged and will be read again")
            await self._app.crash(StoppedWaiting("the join"))
            await asyncio.wait({stopping}, timeout=_LEAVE_SECONDS)
