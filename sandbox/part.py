"""One part of the stack while it runs: set up once, started, waited for, killed, started again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Protocol

from runtime.failures import Fatal
from runtime.private_files import make_private
from sandbox.leash import Command, Leash

READY_SECONDS = 120.0
SETUP_SECONDS = 120.0
PROBE_PAUSE_SECONDS = 0.05
LOG_LINES_SHOWN = 12


class PartFailed(Fatal):
    """A part of the stack ended, or did not answer in time."""


class Part(Protocol):
    """What Kafka, the registry and PostgreSQL have in common. Each has a folder of its own, its working folder."""

    @property
    def name(self) -> str:
        """`kafka`, `registry` or `postgres`."""

    @property
    def folder(self) -> Path:
        """Everything that the part keeps; its data is in `data` below it."""

    @property
    def address(self) -> str:
        """Where clients find it, in the form of the setting that names it."""

    def prepare(self) -> None:
        """Writes its configuration. Called before every start."""

    @property
    def setup(self) -> Command | None:
        """What has to be run once before the first start, if anything."""

    @property
    def command(self) -> Command:
        """What runs."""

    def ready(self) -> bool:
        """Whether it does its work now; takes at most a few seconds to find out."""


class RunningPart:
    """A part and its process. `keep_open` are file descriptors that the process's warden holds open.

    Any thread may call any method; a start that waits is ended by `abandon`, and by `kill`, from another one.
    """

    def __init__(self, part: Part, *, log: Path, keep_open: Sequence[int]) -> None:
        self.part = part
        self._log = log
        self._keep_open = keep_open
        self._leash: Leash | None = None
        self._abandoned = False
        self._expected = False
        self._starting = RLock()

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._leash.pid if self._leash is not None and self._leash.poll() is None else None

    @property
    def dead(self) -> bool:
        """Whether it has ended and nobody has asked it to, nor is starting it."""
        return self._expected and self.pid is None

    def start(self) -> None:
        """Returns when the part is ready. Raises PartFailed with the end of its log when it ends before that."""
        with self._starting:
            self._expected = self._abandoned = False
            try:
                self._start()
            finally:
                self._expected = True

    def restart(self, stop_seconds: float) -> None:
        """Stops it, within that time, and starts it again."""
        with self._starting:
            self.stop(stop_seconds)
            self.start()

    def abandon(self) -> None:
        """Kills it, and makes a start that waits in another thread give up."""
        self._abandoned = True
        self.kill()

    def kill(self) -> None:
        """Ends it without asking, and returns when nothing of it is left."""
        if self._leash is not None:
            self._leash.kill()

    def stop(self, seconds: float) -> None:
        """Asks it to end, and kills it after that time."""
        self._expected = False
        if self._leash is not None:
            self._leash.stop(seconds)

    def _start(self) -> None:
        self.kill()  # of a process that has died, this gives back what was held for it
        self.part.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.part.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.part.prepare()
        self._set_up()
        self._leash = self._run(self.part.command)
        deadline = time.monotonic() + READY_SECONDS
        while not self.part.ready():
            if self._leash.poll() is not None:
                raise self._failure(f"ended with exit code {self._leash.poll()} before it was ready")
            if self._abandoned or time.monotonic() > deadline:
                self.kill()
                raise self._failure("was given up" if self._abandoned else f"was not ready in {READY_SECONDS:.0f} s")
            time.sleep(PROBE_PAUSE_SECONDS)
        make_private(temporary)  # the registry's library sets the rights of its own folder there itself

    def _set_up(self) -> None:
        # Written last, so that a set-up that was interrupted is begun anew.
        done = self.part.folder / "set-up"
        command = self.part.setup
        if command is None or done.exists():
            return
        shutil.rmtree(self.part.folder / "data", ignore_errors=True)
        self._leash = self._run(command)
        code = self._leash.wait(SETUP_SECONDS)
        self._leash.kill()
        if code != 0:
            raise self._failure(f"could not be set up (exit code {code})")
        done.touch()

    def _run(self, command: Command) -> Leash:
        with self._log.open("ab") as output:
            return Leash(command, output=output, keep_open=self._keep_open)

    def _failure(self, what: str) -> PartFailed:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        said = "".join(f"\n    {line}" for line in lines) or " nothing"
        return PartFailed(f"{self.part.name} {what}. Its log is {self._log}; the last that it says there:{said}")
