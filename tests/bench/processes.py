"""The processes that are measured: each started alone, its CPU seconds counted exactly, ended by its own handle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import requests

from runtime.settings import all_names

_ROOT: Final = Path(__file__).resolve().parents[2]
_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0
# What a reference without HTTP prints once it waits for its first event.
READY_LINE: Final = "ready"


class NeverReady(Exception):
    """A process ended, or did not become ready in time."""


class Process:
    """A Python module in a process of its own, from the start of the block to its end."""

    def __init__(self, name: str, arguments: Sequence[str], *, home: Path, settings: Mapping[str, str]) -> None:
        """Describe ``python -m <arguments>``; it works in ``home`` and logs there, with no setting but ``settings``."""
        self.name = name
        self.log = home / f"{name}.log"
        self._argv = (sys.executable, "-m", *arguments)
        self._home = home
        self._env = self.environment(settings)
        self._running: subprocess.Popen[bytes] | None = None

    @staticmethod
    def environment(settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a process that has no setting but ``settings``, whatever a person has set."""
        inherited = {name: value for name, value in os.environ.items() if name not in all_names()}
        return {**inherited, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", **settings}

    def __enter__(self) -> Self:
        with self.log.open("wb") as output:
            self._running = subprocess.Popen(
                self._argv, env=self._env, cwd=self._home, stdout=output, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._started
        running.send_signal(signal.SIGCONT)
        running.terminate()
        try:
            running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    def cpu_seconds(self) -> float:
        """CPU time, user and system, that this process and its children have used so far."""
        process = psutil.Process(self._started.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return float(sum(time.user + time.system for time in times))

    def pause(self) -> None:
        """Keep the process from working until :meth:`resume`; call it only for seconds, or Kafka takes it for dead."""
        self._started.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the process go on."""
        self._started.send_signal(signal.SIGCONT)

    def require_alive(self) -> None:
        """Fail at once when the process has ended.

        Raises:
            NeverReady: with the end of its log.
        """
        if self._started.poll() is not None:
            raise NeverReady(f"{self.name} ended with exit code {self._started.returncode}:\n{self._last_words()}")

    def wait_until_ready(self, url: str | None = None) -> None:
        """Return when ``url`` answers and not with 5xx, or without one when the log has the ready line.

        Raises:
            NeverReady: not within two minutes.
        """
        ready: Callable[[], bool] = self._says_ready if url is None else lambda: _answers(url)
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            self.require_alive()
            if time.monotonic() > deadline:
                raise NeverReady(f"{self.name} was not ready after {_READY_SECONDS:.0f} s:\n{self._last_words()}")
            time.sleep(0.05)

    def _says_ready(self) -> bool:
        return READY_LINE in self.log.read_text(errors="replace").splitlines()

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._running is not None, "only inside its with block"
        return self._running


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code < 500
    except requests.RequestException:
        return False
