"""One round: a Kafka of its own, traffic, workers that come and go, a broker that goes away, and a count at the end."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, assert_never

from goalpost.topics.commands import apply
from sandbox.stack import Addresses, Stack
from schemas.topics import DEFAULT_PARTITIONS, JOIN_APP
from tests.churn.accounting import Account, Sent, account
from tests.churn.control import CONTROL_APP
from tests.churn.display import Display
from tests.churn.reading import Reading
from tests.churn.schedule import WORKERS, Action, Blow, Outage, schedule
from tests.churn.sender import Sender
from tests.churn.traffic import traffic
from tests.churn.workers import Workers
from tests.integration.join_world import World

# The last one has to outlast a broker's absence: only then must every session that was there first be found.
_DELAYS_SECONDS: Final = (1.0, 2.0, 15.0)
# What has an id of its own goes ahead of its session after the first two.
_SHORT_WAIT_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.1
_LOOK_AT_TOPICS_SECONDS: Final = 2.0
# After this nothing more will come: Kafka misses a dead worker after ten seconds, and on a busy machine a worker needs
# as long again to start and to read its state.
_QUIET_SECONDS: Final = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What is put to the test: the module of its worker, its consumer group, and whether poison is fair to it."""

    name: str
    module: str
    group: str
    poison: bool


GOALPOST: Final = System(name="goalpost", module="streams", group=JOIN_APP, poison=True)
CONTROL: Final = System(name="stock Faust", module="tests.churn.control", group=CONTROL_APP, poison=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A round. The same seed makes the same traffic and the same blows; how they meet is up to the machine."""

    seed: int
    seconds: float
    rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a round: where its events are, how often what was done, and what nobody had asked for."""

    account: Account
    done: Mapping[str, int]
    happened: Mapping[str, int]
    seconds: float


@dataclass(slots=True, kw_only=True)
class Round:
    """One round of ``plan`` with ``system``, all of its files below ``home``."""

    plan: Plan
    system: System
    home: Path
    display: Display
    _began: float = field(default_factory=time.monotonic)

    def run(self) -> Outcome:
        """Play it. Nothing of it runs any more when this returns."""
        # Nobody here needs Postgres, and a part whose address is given is not started.
        with Stack(self.home / "stack", given={"DATABASE_URL": "postgresql://nobody"}) as stack:
            addresses = stack.start()
            servers, registry = addresses.kafka_bootstrap_servers, addresses.schema_registry_url
            apply(servers, registry, partitions=DEFAULT_PARTITIONS, replication=1)
            world = World(servers, registry)
            workers = Workers(
                module=self.system.module, home=self.home, settings=_settings(addresses), report=self._say
            )
            with workers:
                sent, done = self._churn(stack, world, workers)
                counted = self._drain(Reading(world, self.system.group), workers, sent)
        seconds = time.monotonic() - self._began
        return Outcome(account=counted, done=done, happened=workers.happened, seconds=seconds)

    def _churn(self, stack: Stack, world: World, workers: Workers) -> tuple[list[Sent], Counter[str]]:
        """Let the traffic flow and the blows fall; return what was sent and what was done."""
        choice = random.Random(self.plan.seed)
        steps = schedule(choice, seconds=self.plan.seconds)
        arrivals = traffic(
            choice,
            seconds=self.plan.seconds,
            rate_per_s=self.plan.rate_per_s,
            waiting_seconds=sum(_DELAYS_SECONDS),
            poison=self.system.poison,
        )
        sender = Sender(world, arrivals)
        done: Counter[str] = Counter()
        restarts: list[Future[None]] = []
        for number in range(WORKERS):
            workers.start(number)
        sender.start()
        self._began = time.monotonic()
        # The broker takes seconds to come back; meanwhile the workers are not spared.
        with ThreadPoolExecutor(1) as aside:
            for step in steps:
                self._wait(workers, until=step.at)
                self._say(str(step))
                if isinstance(step, Outage):
                    done["broker down"] += 1
                    restarts.append(aside.submit(_take_down, stack, step))
                else:
                    done[step.action.value] += 1
                    _strike(step, workers)
            while sender.is_alive():
                self._wait(workers, until=self._seconds() + _LOOK_SECONDS)
        for restart in restarts:
            restart.result()
        self._say(f"traffic is over: {len(sender.sent)} events were acknowledged, {sender.refused} were not")
        return sender.sent, done

    def _drain(self, reading: Reading, workers: Workers, sent: list[Sent]) -> Account:
        """Let the workers finish, stop them, and count. What is missing gets a second chance: all are started anew."""
        for _ in range(2):
            for number in range(WORKERS):
                workers.start(number)
            self._until_quiet(reading, workers)
            workers.stop_all()
            counted = account(sent, reading.found())
            if counted.complete:
                break
            self._say(f"{len(counted.lost)} lost and {len(counted.unread)} unread: all workers once more")
        return counted

    def _until_quiet(self, reading: Reading, workers: Workers) -> None:
        """Return when everything is committed, or nothing moves any more."""
        moved_at, seen = time.monotonic(), None
        while time.monotonic() - moved_at < _QUIET_SECONDS:
            done, now = reading.progress()
            if done:
                return
            if now != seen:
                moved_at, seen = time.monotonic(), now
            self._wait(workers, until=self._seconds() + _LOOK_AT_TOPICS_SECONDS)

    def _wait(self, workers: Workers, *, until: float) -> None:
        while (now := self._seconds()) < until:
            self.display.moved(now / self.plan.seconds)
            workers.tend()
            time.sleep(_LOOK_SECONDS)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _say(self, line: str) -> None:
        self.display.line(f"{self._seconds():6.1f} s  {line}")


def _settings(addresses: Addresses) -> Mapping[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka_bootstrap_servers,
        "SCHEMA_REGISTRY_URL": addresses.schema_registry_url,
        "GOALPOST_STREAM_PORT": "0",
        "GOALPOST_WAITING_DELAYS_SECONDS": ",".join(str(delay) for delay in _DELAYS_SECONDS),
        "GOALPOST_SHORT_WAIT_SECONDS": str(_SHORT_WAIT_SECONDS),
    }


def _take_down(stack: Stack, outage: Outage) -> None:
    if outage.killed:
        stack.kill("kafka")
    stack.restart("kafka")


def _strike(blow: Blow, workers: Workers) -> None:
    match blow.action:
        case Action.START:
            workers.start(blow.worker)
        case Action.START_ELSEWHERE:
            workers.start(blow.worker, elsewhere=True)
        case Action.STOP:
            workers.stop(blow.worker)
        case Action.KILL:
            workers.kill(blow.worker)
        case _:
            assert_never(blow.action)
