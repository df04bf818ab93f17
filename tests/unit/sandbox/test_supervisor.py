"""Services are kept running, and a death is said once, followed by a pause that grows."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import supervisor as supervision
from sandbox.leash import alive
from sandbox.supervisor import Service, Supervisor, pause_seconds

STAYS = "import time; print('hello', flush=True); time.sleep(600)"
DIES = "raise SystemExit(3)"


class Watched:
    """A supervisor with what it said, whom it started, and the lines that it passed on."""

    def __init__(self, logs: Path, **programs: str) -> None:
        self.said: list[str] = []
        self.started: list[str] = []
        self.lines: list[tuple[str, str]] = []
        services = [
            Service(name=name, argv=(sys.executable, "-c", program), env=dict(os.environ))
            for name, program in programs.items()
        ]
        self.supervisor = Supervisor(
            services,
            logs=logs,
            report=self.said.append,
            on_start=self.started.append,
            echo=lambda name, line: self.lines.append((name, line)),
        )

    def poll_until(self, condition: Callable[[], object]) -> None:
        """Do what the caller of a supervisor does, until the condition holds."""
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "it did not become so in time"
            self.supervisor.poll()
            time.sleep(0.01)


Make = Callable[..., Watched]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(supervision, "FIRST_PAUSE_SECONDS", 0.01)
    made: list[Watched] = []

    def make_one(**programs: str) -> Watched:
        made.append(Watched(tmp_path / "logs", **programs))
        return made[-1]

    yield make_one
    for watched in made:
        watched.supervisor.stop(1)


def test_the_pause_doubles_with_every_quick_death_up_to_a_limit() -> None:
    assert [pause_seconds(deaths) for deaths in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert pause_seconds(10_000) == 5


def test_a_killed_service_is_started_again_and_the_death_is_said_once(make: Make) -> None:
    watched = make(webhook=STAYS, stream=STAYS)
    watched.supervisor.start()
    before = watched.supervisor.pids()
    os.kill(before["webhook"], signal.SIGKILL)
    watched.poll_until(lambda: watched.started == ["webhook", "stream", "webhook"])
    after = watched.supervisor.pids()
    assert after["webhook"] != before["webhook"]
    assert after["stream"] == before["stream"]
    assert len(watched.said) == 1
    assert watched.said[0].startswith("webhook ended with exit code 137 and is started again in 0.01 s")


def test_a_service_that_dies_at_once_is_tried_again_and_again_ever_more_slowly(make: Make) -> None:
    watched = make(webhook=DIES)
    watched.supervisor.start()
    watched.poll_until(lambda: len(watched.said) == 3)
    assert [line.split(" in ")[1].split(" s")[0] for line in watched.said] == ["0.01", "0.02", "0.04"]
    assert all("exit code 3" in line for line in watched.said)


def test_a_service_that_ran_steadily_gets_the_short_pause(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "STEADY_SECONDS", 0.0)
    watched = make(webhook=DIES)
    watched.supervisor.start()
    watched.poll_until(lambda: len(watched.said) == 3)
    assert all("in 0.01 s" in line for line in watched.said)


def test_what_a_service_writes_is_in_its_log_and_passed_on_line_by_line(make: Make, tmp_path: Path) -> None:
    watched = make(
        webhook="import sys; print('out', flush=True); print('err', file=sys.stderr); import time; time.sleep(600)"
    )
    watched.supervisor.start()
    watched.poll_until(lambda: len(watched.lines) == 2)
    assert watched.lines == [("webhook", "out"), ("webhook", "err")]
    assert (tmp_path / "logs" / "webhook.log").read_text() == "out\nerr\n"


def test_the_log_of_the_run_before_is_kept(make: Make, tmp_path: Path) -> None:
    for _ in range(2):
        watched = make(webhook=STAYS)
        watched.supervisor.start()
        watched.poll_until(watched.lines.copy)
        watched.supervisor.stop(5)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["webhook.log", "webhook.log.1"]


def test_a_restart_gives_a_new_process(make: Make) -> None:
    watched = make(webhook=STAYS)
    watched.supervisor.start()
    before = watched.supervisor.pids()["webhook"]
    watched.supervisor.restart("webhook")
    assert not alive(before)
    assert alive(watched.supervisor.pids()["webhook"])
    assert watched.said == [], "a restart that was asked for is no death"


def test_after_a_stop_nothing_runs_and_nothing_is_started_again(make: Make) -> None:
    watched = make(webhook=STAYS, stream=DIES)
    watched.supervisor.start()
    pid = watched.supervisor.pids()["webhook"]
    watched.supervisor.stop(5)
    watched.supervisor.stop(5)
    started = list(watched.started)
    watched.supervisor.poll()
    assert not alive(pid)
    assert watched.supervisor.pids() == {}
    assert watched.started == started
