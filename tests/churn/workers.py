"""A round's workers: processes that are started, stopped, killed, and started again when they end by themselves."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tests.bench.processes import Process

_STOP_SECONDS: Final = 45.0


@dataclass(slots=True, kw_only=True)
class Workers:
    """``python -m <module>``, several times, numbered. Leaving the block kills what still runs.

    A worker is started beside an earlier self that has been asked to end and still finishes its work, as in a rolling
    update. ``happened`` counts what was not asked for.
    """

    module: str
    home: Path
    settings: Mapping[str, str]
    report: Callable[[str], None]
    happened: Counter[str] = field(default_factory=Counter)
    _wanted: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _leaving: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _host: dict[int, int] = field(default_factory=dict)
    _started: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._wanted.values(), *self._leaving):
            process.kill()
            process.wait()

    def start(self, number: int, *, elsewhere: bool = False) -> None:
        """Have worker ``number`` run; ``elsewhere`` on a host whose disk is empty."""
        if number in self._wanted:
            return
        self._started += 1
        if elsewhere:
            self._host[number] = self._started
        state = self.home / f"host-{self._host.get(number, 0)}"
        state.mkdir(exist_ok=True)
        environment = Process.environment({**self.settings, "GOALPOST_STATE_DIR": str(state)})
        with (self.home / f"worker-{number}.{self._started:03d}.log").open("wb") as log:
            self._wanted[number] = subprocess.Popen(
                [sys.executable, "-m", self.module], env=environment, cwd=state, stdout=log, stderr=subprocess.STDOUT
            )

    def stop(self, number: int) -> None:
        """Ask worker ``number`` to end, and do not wait for it."""
        process = self._wanted.pop(number)
        process.terminate()
        self._leaving.append(process)

    def kill(self, number: int) -> None:
        """Kill worker ``number``."""
        process = self._wanted.pop(number)
        process.kill()
        process.wait()

    def tend(self) -> None:
        """Start again what has ended by itself, as every supervisor does."""
        for number, process in list(self._wanted.items()):
            if process.poll() is not None:
                self.happened["ended by themselves"] += 1
                self.report(f"worker {number}: ended by itself with exit code {process.returncode}")
                del self._wanted[number]
                self.start(number)

    def stop_all(self) -> None:
        """Ask all to end and wait until they have."""
        for number in list(self._wanted):
            self.stop(number)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._leaving:
            process = self._leaving.pop()
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.happened["did not stop"] += 1
                self.report(f"a worker is still there {_STOP_SECONDS:.0f} s after SIGTERM; it is killed")
                process.kill()
                process.wait()
