"""``goalpost up`` and ``down`` in a folder where something runs, or ran once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.stack import LOCK

# Every part is somebody else's, so that nothing has to be started.
_GIVEN = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "SCHEMA_REGISTRY_URL": "http://r", "DATABASE_URL": "postgresql://p/d"}
_RUNNING = """
import signal, sys
from pathlib import Path
from sandbox.stack import Stack

with Stack(Path(sys.argv[1]), given={given}) as stack:
    stack.start()
    print("running", flush=True)
    signal.pause()
"""


@contextmanager
def running(home: Path) -> Iterator[subprocess.Popen[str]]:
    argv = (sys.executable, "-c", _RUNNING.format(given=_GIVEN), str(home))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            yield process
        finally:
            process.kill()


def goalpost(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "goalpost", command),
        env=os.environ | {"GOALPOST_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_down_leaves_a_process_alone_that_only_has_the_id_of_one_that_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen((sys.executable, "-c", "import time; time.sleep(60)")) as unrelated:
        (tmp_path / LOCK).write_text(str(unrelated.pid))
        (tmp_path / "up.pid").write_text(str(unrelated.pid))
        try:
            assert goalpost("down", tmp_path).stdout == "Nothing is running here.\n"
            assert unrelated.poll() is None
        finally:
            unrelated.kill()


def test_down_returns_when_what_runs_has_ended(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        assert goalpost("down", tmp_path).stdout == "Stopped.\n"
        assert process.wait(10) == -signal.SIGTERM


def test_a_second_up_in_the_same_folder_is_refused_and_leaves_the_addresses_of_the_first(tmp_path: Path) -> None:
    with running(tmp_path):
        (tmp_path / "env").write_text("WEBHOOK_URL=http://first\n")
        refused = goalpost("up", tmp_path)
        assert refused.returncode == 1
        assert "is in use by process" in refused.stderr
        assert (tmp_path / "env").exists()
