"""Starting the simulator as a child process and ending exactly that process: for tests, the demo and load runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from sandbox.metrika.configuration import Configuration, as_json

READY = "METRIKA_API_URL="

_STOP_SECONDS = 10


class SimulatorNotStarted(RuntimeError):
    """The simulator's process ended before it was ready; its own output on stderr says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningSimulator:
    """A simulator that answers at `url`; the same address serves as `METRIKA_API_URL` and `YANDEX_OAUTH_URL`."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def running(*, database: Path, port: int = 0, configuration: Configuration | None = None) -> Iterator[RunningSimulator]:
    """Run the simulator while the block lasts. Raises `SimulatorNotStarted`."""
    defaults, wanted = as_json(Configuration()), as_json(configuration or Configuration())
    settings = orjson.dumps({name: value for name, value in wanted.items() if value != defaults[name]}).decode()
    arguments = ["--database", str(database), "--port", str(port), "--configuration", settings]
    with subprocess.Popen(
        [sys.executable, "-m", "sandbox.metrika", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield RunningSimulator(url=_address(process), process=process)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101 -- stdout=PIPE above; for the type checker
    line = process.stdout.readline().strip()
    if not line.startswith(READY):
        raise SimulatorNotStarted(f"exit code {process.wait(_STOP_SECONDS)}")
    return line.removeprefix(READY)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
