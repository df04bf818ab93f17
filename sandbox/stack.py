"""Kafka, schema registry and PostgreSQL of one sandbox, started together, kept together, ended together."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self, TextIO

from runtime.failures import Fatal
from runtime.private_files import make_private
from sandbox import artifacts, ports
from sandbox.kafka import Kafka
from sandbox.leash import alive
from sandbox.logs import fresh_log
from sandbox.part import Part, RunningPart
from sandbox.postgres import Postgres
from sandbox.registry import Registry
from sandbox.reviving import Reviving

KAFKA, REGISTRY, POSTGRES = "kafka", "registry", "postgres"
# The settings of DESIGN section 8 that name a server to be used instead of our own.
SETTINGS = {KAFKA: "KAFKA_BOOTSTRAP_SERVERS", REGISTRY: "SCHEMA_REGISTRY_URL", POSTGRES: "DATABASE_URL"}
STOP_SECONDS = 10.0
# How long the children of a killed sandbox may take to end; their wardens give them three seconds.
LEFTOVERS_SECONDS = 15.0
LOCK = "lock"
LOCK_PAUSE_SECONDS = 0.1


class HomeInUse(Fatal):
    """Another sandbox runs in this folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the three parts are, in the form of the settings of the same name."""

    kafka_bootstrap_servers: str
    schema_registry_url: str
    database_url: str


class Stack:
    """The three parts of one sandbox.

    All of it lives below `home` and survives a restart: data, ports, password. `given` holds settings from the
    environment; a part whose address is there is not started, and its address is passed on. `report` gets one line
    at a time for people. `fresh` empties the folder at the start. All methods may be called from any thread.
    """

    def __init__(
        self,
        home: Path,
        *,
        given: Mapping[str, str] = {},
        report: Callable[[str], None] = lambda _: None,
        fresh: bool = False,
    ) -> None:
        self.home = home.absolute()
        self._given = {part: given[name] for part, name in SETTINGS.items() if given.get(name)}
        self._report = report
        self._fresh = fresh
        self._running: dict[str, RunningPart] = {}
        self._lock_file: TextIO | None = None
        self._block: ports.PortBlock | None = None
        self._busy = RLock()
        self._reviving = Reviving()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Addresses:
        """Starts what is not given, all at once, and returns when all of it is ready.

        Raises ArtifactsMissing, HomeInUse or PartFailed; then nothing is left running.
        """
        with self._busy:
            try:
                self._start()
            except BaseException:
                self.stop()
                raise
            return self.addresses()

    def addresses(self) -> Addresses:
        """Where the parts are; only after `start`."""
        found = self._given | {name: running.part.address for name, running in self._running.items()}
        return Addresses(
            kafka_bootstrap_servers=found[KAFKA], schema_registry_url=found[REGISTRY], database_url=found[POSTGRES]
        )

    def stop(self) -> None:
        """Ends the parts, gracefully within ten seconds, else by force. Does nothing when nothing runs."""
        with self._busy:
            self._reviving.give_up()
            self._each(list(self._running.values()), lambda running: running.stop(STOP_SECONDS))
            self._running.clear()
            if self._block is not None:
                self._block.close()
                self._block = None
            if self._lock_file is not None:
                self._lock_file.close()
                self._lock_file = None

    def pids(self) -> dict[str, int]:
        """The process ids of the parts that run now, by name: of the servers themselves."""
        return {name: pid for name, running in list(self._running.items()) if (pid := running.pid) is not None}

    @property
    def keep_open(self) -> tuple[int, ...]:
        """File descriptors that a process must hold open so that the next sandbox in this folder waits for its end."""
        return () if self._lock_file is None else (self._lock_file.fileno(),)

    def kill(self, part: str) -> None:
        """Ends a part with SIGKILL and leaves it so, as a fault test wants it."""
        self._running[part].kill()

    def restart(self, part: str) -> None:
        """Stops a part if it runs, and starts it at the same address with the same data. Returns when it is ready."""
        self._running[part].restart(STOP_SECONDS)

    def revive(self) -> list[str]:
        """Starts the parts that have died, and returns their names. Raises PartFailed when one won't start."""
        dead = self._dead()
        self._each(dead, RunningPart.start)
        return [running.part.name for running in dead]

    def tend(self) -> None:
        """Has the parts that have died started on a thread, since that takes seconds, and returns at once.

        Raises PartFailed, in a later call, when one won't start.
        """
        if not self._reviving.under_way() and (dead := self._dead()):
            self._reviving.begin(dead, lambda: self._each(dead, lambda running: running.start()))

    def _dead(self) -> list[RunningPart]:
        dead = [running for running in list(self._running.values()) if running.dead]
        for running in dead:
            self._report(f"{running.part.name} has died and is started again")
        return dead

    def _start(self) -> None:
        wanted = [name for name in SETTINGS if name not in self._given and name not in self._running]
        locked = artifacts.programs()
        folders = artifacts.provide(
            [locked[name] for name in wanted if name in locked],
            cache=artifacts.cache_folder(os.environ),
            report=self._report,
        )
        if self._lock_file is None:
            self._take_home()
            if self._fresh:
                self._empty_home()
        for part in self._parts(wanted, folders):
            log = fresh_log(self.home / "logs", part.name)
            self._running[part.name] = RunningPart(part, log=log, keep_open=self.keep_open)
        self._each([self._running[name] for name in wanted], self._start_one)

    def _start_one(self, running: RunningPart) -> None:
        began = time.monotonic()
        running.start()
        self._report(f"{running.part.name} is ready after {time.monotonic() - began:.1f} s")

    def _parts(self, wanted: list[str], folders: Mapping[str, Path]) -> list[Part]:
        if not wanted:
            return []
        block = self._block = self._block or ports.claim(self.home / "ports")
        made: dict[str, Callable[[], Part]] = {
            KAFKA: lambda: Kafka(
                folder=self.home / KAFKA, program=folders[KAFKA], port=block.port(1), controller_port=block.port(2)
            ),
            REGISTRY: lambda: Registry(
                folder=self.home / REGISTRY,
                program=folders[REGISTRY],
                port=block.port(3),
                management_port=block.port(4),
            ),
            POSTGRES: lambda: Postgres(folder=self.home / POSTGRES, port=block.port(5)),
        }
        return [made[name]() for name in wanted]

    def _take_home(self) -> None:
        """Locks the folder. The wardens hold the lock, too, so it says whether anything of a killed run is left."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(self.home)
        self._lock_file = lock_file = (self.home / LOCK).open("a+")
        deadline = time.monotonic() + LEFTOVERS_SECONDS
        while not _locked(lock_file):
            lock_file.seek(0)
            owner = int(lock_file.read() or 0)
            if (owner and alive(owner)) or time.monotonic() > deadline:
                who = f"process {owner}" if owner and alive(owner) else "processes that a killed sandbox has left"
                raise HomeInUse(f"{self.home} is in use by {who}: end that first, or choose another folder")
            time.sleep(LOCK_PAUSE_SECONDS)
        lock_file.truncate(0)
        lock_file.write(str(os.getpid()))
        lock_file.flush()

    def _empty_home(self) -> None:
        for entry in self.home.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()

    @staticmethod
    def _each(parts: list[RunningPart], act: Callable[[RunningPart], None]) -> None:
        """Does the same to several parts at once. When one fails, or we are interrupted, all of them are ended."""
        if not parts:
            return
        with ThreadPoolExecutor(len(parts)) as pool:
            futures = [pool.submit(act, running) for running in parts]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            except BaseException:
                for running in parts:
                    running.abandon()
                raise


def owner_of(home: Path) -> int | None:
    """The process that runs a sandbox in this folder, or has left parts that still end there; None if nothing runs.

    What a file says about a process id is true only as long as somebody holds the lock on that file.
    """
    try:
        with (home / LOCK).open("r+") as file:
            return None if _locked(file) else int(file.read() or 0) or None
    except FileNotFoundError:
        return None


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
