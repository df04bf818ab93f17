"""``goalpost up`` and ``goalpost demo`` as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil comes without stubs
import requests

from producers.dialects import DIALECTS
from tests.e2e.outside import eventually

_START_SECONDS = 120
_NO_SETTINGS = {name: value for name, value in os.environ.items() if not name.startswith(("GOALPOST_", "METRIKA_"))}


@contextmanager
def up(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``goalpost up`` until the block ends."""
    environ = _NO_SETTINGS | {"GOALPOST_HOME": str(home)}
    cache = os.environ.get("GOALPOST_CACHE_DIR")
    process = subprocess.Popen(
        (sys.executable, "-m", "goalpost", "up"),
        env=environ | ({"GOALPOST_CACHE_DIR": cache} if cache else {}),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def published(home: Path) -> dict[str, str]:
    """What ``up`` has written to its env file."""
    try:
        lines = (home / "env").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines)


def ready(home: Path) -> dict[str, str]:
    """Wait for the env file."""
    return eventually(lambda: published(home), bool, within_seconds=_START_SECONDS)


def pids(env: dict[str, str]) -> dict[str, int]:
    """The published process ids."""
    return {name: int(value) for name, value in env.items() if name.startswith("PID_")}


def open_to_others(folder: Path) -> list[str]:
    """Every file and folder below that somebody else than its owner may read, write or enter, with its mode."""
    found = [folder, *folder.rglob("*")]
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in found if path.exists() and not path.is_symlink()}
    return [f"{path.relative_to(folder)} {mode:o}" for path, mode in modes.items() if mode & 0o077]


def test_up_publishes_everything_a_client_needs_and_restarts_what_dies(tmp_path: Path) -> None:
    former = tmp_path / "logs" / "of_an_earlier_version.log"
    former.parent.mkdir()
    former.touch(mode=0o666)
    with up(tmp_path) as process:
        env = ready(tmp_path)
        assert {
            "WEBHOOK_URL",
            "DATABASE_URL",
            "KAFKA_BOOTSTRAP_SERVERS",
            "SCHEMA_REGISTRY_URL",
            "METRIKA_API_URL",
            "WEBHOOK_ID",
            "WEBHOOK_SECRET",
            "SESSIONS_WRITE_KEY",
            *(f"HOOK_{dialect.upper()}" for dialect in DIALECTS),
            "PID_WEBHOOK",
            "PID_STREAM",
            "PID_FETCH_BITRIX24",
            "PID_SINK_POSTGRES",
            "PID_SINK_METRIKA",
            "HEALTH_WEBHOOK",
            "HEALTH_STREAM",
            "HEALTH_FETCH_BITRIX24",
            "HEALTH_SINK_POSTGRES",
            "HEALTH_SINK_METRIKA",
        } <= set(env)
        for name in (name for name in env if name.startswith("HEALTH_")):
            assert requests.get(f"{env[name]}/readyz", timeout=10).json()["status"] == "ready", name
        answer = requests.post(env["HOOK_GENERIC"], json={"session_id": "s", "goal_value": 1}, timeout=10)
        assert answer.status_code == 202
        assert open_to_others(tmp_path) == []

        os.kill(int(env["PID_STREAM"]), signal.SIGKILL)
        restarted = eventually(
            lambda: published(tmp_path),
            lambda now: now.get("PID_STREAM", env["PID_STREAM"]) != env["PID_STREAM"],
            within_seconds=30,
        )
        assert psutil.pid_exists(int(restarted["PID_STREAM"]))
        assert {**restarted, "PID_STREAM": ""} == {**env, "PID_STREAM": ""}

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert [name for name, pid in pids(restarted).items() if psutil.pid_exists(pid)] == []
    assert not (tmp_path / "env").exists()
    assert open_to_others(tmp_path) == []


def test_nothing_is_left_when_up_itself_is_killed_and_the_next_one_goes_on_with_the_same_data(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        env = ready(tmp_path)
        requests.post(env["HOOK_GENERIC"], json={"yclid": "17", "event_id": "kept"}, timeout=10).raise_for_status()
        process.kill()
        process.wait()
        eventually(
            lambda: [name for name, pid in pids(env).items() if psutil.pid_exists(pid)],
            lambda left: not left,
            within_seconds=30,
        )
    (tmp_path / "env").unlink(missing_ok=True)
    with up(tmp_path):
        again = ready(tmp_path)
        kept = ("WEBHOOK_ID", "WEBHOOK_SECRET", "SESSIONS_WRITE_KEY")
        assert [again[name] for name in kept] == [env[name] for name in kept]


def test_the_demo_ends_every_conversion_where_it_should(tmp_path: Path) -> None:
    told = subprocess.run(
        (sys.executable, "-m", "goalpost", "demo", "--once", "--json"),
        env=_NO_SETTINGS | {"GOALPOST_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    summary = json.loads(told.stdout.splitlines()[-1])
    assert summary.pop("seconds") > 0
    assert summary == {"accepted": 6, "stored": 4, "goals_appended": 4, "uploaded": 3, "dead_lettered": 3}
