"""The loop: which counters are due, and one round of work on each, side by side.

A round runs on a thread of its own under the counter's lock, so a slow or forbidden counter delays nobody else.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool

from runtime.failures import Fatal, Transient
from runtime.lifecycle import Heartbeat
from runtime.logs import logger, seldom
from runtime.metrics import PROGRESS, SECONDS
from sinks.metrika.claiming import claim, fail_hopeless
from sinks.metrika.following import follow
from sinks.metrika.publisher import Publisher
from sinks.metrika.scheduling import Lanes, Round, rounds
from sinks.metrika.sending import send_ready
from sinks.metrika.tables import counters
from sinks.metrika.watching import show_levels
from sinks.metrika.work import STAGE, Tools, Work

# Rounds at once. Each holds a connection to Postgres, and most of its time waits for Metrika.
ROUNDS: Final = 16

CHANNEL: Final = "goalpost_stored"

_LONGEST_TICK_SECONDS: Final = 1.0
_SHORTEST_TICK_SECONDS: Final = 0.05  # a burst of notifications is one piece of news
_QUIET: Final = 4  # times as long as looking for work took, nobody looks again: it must not become the work
_LONGEST_QUIET_SECONDS: Final = 30.0  # a look that took minutes has met a Postgres that stood still
_COUNT_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 2.0
_SET_ASIDE_SECONDS: Final = 60.0  # after an error that nobody foresaw, which the next round would only repeat
_FRAMES_SHOWN: Final = 5


class Misconfigured(Fatal):
    """The database is not as this version of goalpost expects it."""

    def __init__(self, cause: psycopg.ProgrammingError) -> None:
        super().__init__(
            f"Postgres refuses to work ({type(cause).__name__}). Run `goalpost migrate`, and check that the role in "
            "DATABASE_URL owns goalpost's tables."
        )


class PublisherEnded(Fatal):
    """The publisher of outcomes has ended. Its error is in the log; restart the process."""


def work_on(work: Work) -> None:
    """One round: fail what is hopeless, upload what is stored, and follow what is uploaded."""
    may_claim = work.counter.id in work.plan.claims
    if work.counter.has_expired or may_claim:
        fail_hopeless(work)
    if not work.may_ask:
        return
    if may_claim:
        claim(work)
    send_ready(work)
    follow(work)


def quiet_seconds(took: float) -> float:
    """How long nobody looks for work after a look that took so long."""
    return min(max(_SHORTEST_TICK_SECONDS, _QUIET * took), _LONGEST_QUIET_SECONDS)


class Sink:
    """Runs rounds until the stop, then lets those under way finish."""

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        pool: ConnectionPool,
        tools: Tools,
        publisher: Publisher,
        heartbeat: Heartbeat,
    ) -> None:
        self._connect = connect
        self._pool = pool
        self._tools = tools
        self._publisher = publisher
        self._heartbeat = heartbeat
        self._running: dict[UUID, tuple[threading.Thread, Round]] = {}
        self._started: dict[UUID, float] = {}
        self._set_aside: dict[UUID, float] = {}
        self._counted = float("-inf")
        self._postgres_obstacle = "not connected yet"

    def obstacles(self) -> Mapping[str, str]:
        """Return what stands in the way of the work, by dependency."""
        found = {"postgres": self._postgres_obstacle, "outcomes": self._publisher.obstacle}
        return {dependency: reason for dependency, reason in found.items() if reason}

    def run(self, *, drain_seconds: float) -> None:
        """Work until the stop.

        Raises:
            Misconfigured, PublisherEnded: this process can do no more.
        """
        publishing = threading.Thread(target=self._publisher.run, name="publisher", daemon=True)
        publishing.start()
        while not self._tools.stop.requested:
            try:
                with self._connect() as listener:
                    listener.execute(f"LISTEN {CHANNEL}")
                    self._serve(listener, publishing)
            except psycopg.OperationalError as exc:
                self._wait_for_postgres(exc)
            except psycopg.ProgrammingError as exc:
                raise Misconfigured(exc) from exc
        self._drain(publishing, time.monotonic() + drain_seconds)

    def _serve(self, listener: Connection, publishing: threading.Thread) -> None:
        tick = min(self._tools.pace.interval_seconds, _LONGEST_TICK_SECONDS)
        took = 0.0
        while not self._tools.stop.wait(quiet_seconds(took)):
            self._heartbeat.beat()
            if not publishing.is_alive():
                raise PublisherEnded(PublisherEnded.__doc__)
            began = time.monotonic()
            self._start_rounds(self._due(listener))
            took = time.monotonic() - began
            self._count(listener)
            self._postgres_obstacle = ""
            PROGRESS.labels(STAGE).set_to_current_time()
            for _ in listener.notifies(timeout=tick, stop_after=1):
                pass

    def _due(self, listener: Connection) -> list[Round]:
        moment = self._tools.moment()
        states = counters.states(listener, moment)
        self._tools.access.reopen_resumed(states, read_at=moment.now)
        return rounds(
            states,
            budget_of=self._tools.access.budgets(listener),
            closed=self._tools.access.closed,
            now=moment.now,
            interval_seconds=self._tools.pace.interval_seconds,
        )

    def _start_rounds(self, due: list[Round]) -> None:
        now = time.monotonic()
        under_way = [one for _, one in list(self._running.values())]
        lanes = Lanes(under_way, rounds=ROUNDS, of_account=self._tools.access.places())
        for one in sorted(due, key=lambda one: self._started.get(one.counter.id, 0.0)):
            if self._set_aside.get(one.counter.id, 0.0) > now or not lanes.take(one):
                continue
            self._started[one.counter.id] = now
            thread = threading.Thread(
                target=self._round, args=(one,), name=f"counter-{one.counter.number}", daemon=True
            )
            self._running[one.counter.id] = (thread, one)
            thread.start()

    def _round(self, one: Round) -> None:
        try:
            with SECONDS.labels(STAGE).time(), self._pool.connection() as connection:
                self._locked_round(connection, one)
        except (psycopg.OperationalError, Transient) as exc:
            self._leave(one, exc, _RETRY_SECONDS)
        except Exception as exc:  # noqa: BLE001 - the one per process; the other counters go on
            self._leave(one, exc, _SET_ASIDE_SECONDS)
        finally:
            del self._running[one.counter.id]
            self._publisher.wake()

    def _locked_round(self, connection: Connection, one: Round) -> None:
        with counters.locked(connection, one.counter.number) as held:
            # Asked again, because whoever held the lock before has changed things.
            found = counters.states(connection, self._tools.moment(), only=one.counter.id) if held else []
            for current in found:
                plan = one.plan_for(current)
                work_on(Work(connection=connection, counter=current, plan=plan, tools=self._tools))

    def _leave(self, one: Round, error: Exception, seconds: float) -> None:
        self._set_aside[one.counter.id] = time.monotonic() + seconds
        # Never the error's message: Postgres quotes values in it, and they are people's data.
        frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:])
        seldom(
            "round.left",
            counter=one.counter.number,
            error=f"{type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".strip(),
            at=" < ".join(f"{frame.name}:{frame.lineno}" for frame in frames),
            retry_seconds=seconds,
        )

    def _count(self, connection: Connection) -> None:
        if time.monotonic() - self._counted >= _COUNT_SECONDS:
            show_levels(connection, self._tools.access.budgets(connection))
            self._counted = time.monotonic()

    def _wait_for_postgres(self, error: psycopg.OperationalError) -> None:
        self._postgres_obstacle = type(error).__name__
        self._heartbeat.beat()
        seldom("postgres.unavailable", dependency="postgres", cause=type(error).__name__)
        self._tools.stop.wait(_RETRY_SECONDS)

    def _drain(self, publishing: threading.Thread, deadline: float) -> None:
        # Uploads that outlast the budget are cut off; the next start finds them in the ledger as sending.
        for thread, _ in list(self._running.values()):
            thread.join(max(deadline - time.monotonic(), 0))
        self._publisher.finish()
        publishing.join(max(deadline - time.monotonic(), 0))
        logger().info("sink.stopped", cut_off=len(self._running), outcomes_left=publishing.is_alive())
