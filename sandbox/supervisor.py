"""Keeps services running: starts one that died again, after a pause that grows with every quick death."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from sandbox.leash import Command, Leash
from sandbox.liveness import Liveness
from sandbox.logs import Tail, fresh_log

FIRST_PAUSE_SECONDS = 0.5
# What dies at every start costs a second of processor time each time; more often than this would starve the others.
LONGEST_PAUSE_SECONDS = 5.0
# Who ran this long did not die of how it was started; the next pause is short again.
STEADY_SECONDS = 10.0
# What a service gets to finish what it has accepted.
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A command to be kept running, with its whole environment. `name` is a word, unique, and names its log file."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    # Answers 503 when the service has stalled and a restart is the cure; not asked without one.
    health_url: str | None = None


def pause_seconds(quick_deaths: int) -> float:
    """How long to wait before starting a service that died so often in a row without having run steadily."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(quick_deaths, 10), LONGEST_PAUSE_SECONDS)


class Supervisor:
    """A set of services that run as long as this process does, and no longer, even if it is killed.

    Nothing happens by itself: call `poll` a few times a second. All methods may be called from any thread.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        logs: Path,
        report: Callable[[str], None],
        on_start: Callable[[str], None] = lambda _: None,
        echo: Callable[[str, str], None] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """`report` gets one line for people about each death.

        `on_start` gets a service's name whenever it was started (`pids` has the new id then), and `echo`, when given,
        its name and each line that it writes. `keep_open` are file descriptors that stay open until all has ended
        (`Stack.keep_open`, so that the next sandbox in the same folder waits for that).
        """
        self._report = report
        self._on_start = on_start
        self._echo = echo
        self._keep_open = keep_open
        self._running = {service.name: _Running(service, fresh_log(logs, service.name)) for service in services}
        self._busy = RLock()

    def start(self) -> None:
        """Starts every service that does not run."""
        with self._busy:
            for running in self._running.values():
                if running.leash is None:
                    self._start(running)

    def poll(self) -> None:
        """Passes on what the services wrote, notices which have died, and starts those whose pause is over."""
        with self._busy:
            for running in self._running.values():
                self._pass_on(running)
                self._end_if_stalled(running)
                self._look_after(running)

    def pids(self) -> dict[str, int]:
        """The process ids of the services that run now, by name."""
        leashes = [(name, running.leash) for name, running in self._running.items()]
        return {name: leash.pid for name, leash in leashes if leash is not None and leash.poll() is None}

    def restart(self, name: str) -> None:
        """Stops a service and starts it again at once."""
        with self._busy:
            running = self._running[name]
            if running.leash is not None:
                running.leash.stop(STOP_SECONDS)
            running.quick_deaths = 0
            self._start(running)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Asks all services at once to end, and kills those that have not done so in time. Harmless when repeated."""
        with self._busy:
            leashes = [running.leash for running in self._running.values() if running.leash is not None]
            if leashes:
                with ThreadPoolExecutor(len(leashes)) as pool:
                    list(pool.map(lambda leash: leash.stop(seconds), leashes))
            for running in self._running.values():
                self._pass_on(running)
                running.leash = None
                running.start_at = None

    def _start(self, running: _Running) -> None:
        command = Command(argv=running.service.argv, env=running.service.env, cwd=Path.cwd())
        with running.log.open("ab") as output:
            running.leash = Leash(command, output=output, keep_open=self._keep_open)
        running.started_at = time.monotonic()
        running.start_at = None
        running.liveness.forget()
        self._on_start(running.service.name)

    def _end_if_stalled(self, running: _Running) -> None:
        """Ends what says itself that it gets nowhere; it is then started again like anything that has died."""
        if running.leash is None or running.start_at is not None or (stalled := running.liveness.stalled()) is None:
            return
        self._report(f"{running.service.name} has stalled ({stalled}) and is ended; its log: {running.log}")
        running.liveness.forget()
        running.leash.kill()

    def _look_after(self, running: _Running) -> None:
        if running.leash is None or (code := running.leash.poll()) is None:
            return
        now = time.monotonic()
        if running.start_at is None:
            steady = now - running.started_at >= STEADY_SECONDS
            pause = pause_seconds(0 if steady else running.quick_deaths)
            running.quick_deaths = 1 if steady else running.quick_deaths + 1
            running.start_at = now + pause
            self._report(
                f"{running.service.name} ended with exit code {code} and is started again in {pause:g} s; "
                f"its log: {running.log}"
            )
        elif now >= running.start_at:
            running.leash.kill()  # it has ended; this gives back what was held for it
            self._start(running)

    def _pass_on(self, running: _Running) -> None:
        if self._echo is not None:
            for line in running.tail.lines():
                self._echo(running.service.name, line)


class _Running:
    """What is known of one service. `start_at` is when it is due again, after a death that was noticed."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.log = log
        self.tail = Tail(log)
        self.liveness = Liveness(service.health_url)
        self.leash: Leash | None = None
        self.started_at = 0.0
        self.start_at: float | None = None
        self.quick_deaths = 0
