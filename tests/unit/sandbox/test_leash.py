"""No process outlives the one that started it, and nothing of a process outlives the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from sandbox.leash import Command, Identity, Leash, alive

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
)
# Starts a process in a session of its own, as PostgreSQL does, prints its id, and stays.
FAMILY = (
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    "print(child.pid, flush=True); time.sleep(600)",
)
# A parent in its own process: prints the ids of the server and of the warden, and waits to be killed.
PARENT = """
import os, sys, time
from pathlib import Path
from sandbox.leash import Command, Leash
with open(sys.argv[1], "wb") as output:
    leash = Leash(Command(argv=tuple(sys.argv[2:]), env=dict(os.environ), cwd=Path.cwd()), output=output)
print(leash.pid, leash._warden.pid, flush=True)
time.sleep(600)
"""

Start = Callable[..., Leash]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet (in a container without init) counts as ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    leashes: list[Leash] = []

    def start_one(*argv: str, identity: Identity | None = None) -> Leash:
        command = Command(argv=argv, env=dict(os.environ), cwd=Path.cwd(), identity=identity)
        with log.open("ab") as output:
            leashes.append(Leash(command, output=output))
        return leashes[-1]

    yield start_one
    for leash in leashes:
        leash.kill()


def test_the_pid_is_the_servers_own(start: Start) -> None:
    leash = start(*SLEEP)
    until(lambda: psutil.Process(leash.pid).cmdline()[1:] == list(SLEEP[1:]))


def test_a_server_is_stopped_by_its_signal(start: Start) -> None:
    leash = start(*SLEEP)
    leash.stop(10)
    assert leash.poll() == 128 + signal.SIGTERM
    assert not alive(leash.pid)


def test_a_server_that_ignores_its_signal_is_killed(start: Start, log: Path) -> None:
    leash = start(*DEAF)
    until(log.read_bytes)
    leash.stop(0.2)
    assert leash.poll() == 128 + signal.SIGKILL


def test_the_exit_code_is_the_servers(start: Start) -> None:
    assert start(sys.executable, "-c", "raise SystemExit(7)").wait(20) == 7


def test_a_server_that_cannot_be_started_says_so_in_its_log(start: Start, log: Path) -> None:
    assert start("no-such-program").wait(20) == 127
    assert "no-such-program" in log.read_text()


def test_a_server_takes_what_it_started_with_it(start: Start, log: Path) -> None:
    leash = start(*FAMILY)
    until(lambda: log.read_text().endswith("\n"))
    child = int(log.read_text())
    assert alive(child)
    leash.kill()
    assert not alive(child)


def test_signals_for_our_terminal_do_not_reach_a_server(start: Start) -> None:
    leash = start(*SLEEP)
    assert os.getsid(leash.pid) != os.getsid(0)


def test_a_server_hears_the_signals_that_its_warden_ignores(start: Start) -> None:
    leash = start(*SLEEP)
    leash.send(signal.SIGHUP)
    assert leash.wait(20) == 128 + signal.SIGHUP


@pytest.mark.parametrize("argv", [SLEEP, DEAF, FAMILY], ids=["obedient", "deaf", "family"])
def test_kill_9_of_the_parent_leaves_nothing(log: Path, argv: tuple[str, ...]) -> None:
    with subprocess.Popen((sys.executable, "-c", PARENT, str(log), *argv), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        if argv is not SLEEP:
            until(lambda: log.read_text().endswith("\n"))
        if argv is FAMILY:
            pids.append(int(log.read_text()))
        assert all(alive(pid) for pid in pids)
        parent.kill()
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_kill_9_of_the_warden_takes_the_server_with_it(start: Start) -> None:
    leash = start(*SLEEP)
    psutil.Process(leash.pid).parent().kill()
    until(lambda: gone(leash.pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_server_of_another_user_is_held_as_fast(start: Start) -> None:
    leash = start(*SLEEP, identity=Identity(uid=65534, gid=65534, capability=1))
    assert psutil.Process(leash.pid).uids().effective == 65534
    psutil.Process(leash.pid).parent().kill()
    until(lambda: gone(leash.pid))
