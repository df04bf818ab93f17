"""Log files are read as they grow, and the last run's is kept."""

from __future__ import annotations

from pathlib import Path

from sandbox.logs import Tail, fresh_log


def test_only_whole_lines_are_read_and_each_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    tail = Tail(log)
    assert tail.lines() == []
    log.write_text("one\ntw")
    assert tail.lines() == ["one"]
    log.write_text("one\ntwo\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


def test_the_log_of_the_last_run_is_set_aside(tmp_path: Path) -> None:
    fresh_log(tmp_path / "logs", "kafka").write_text("first run")
    log = fresh_log(tmp_path / "logs", "kafka")
    assert not log.exists()
    assert (tmp_path / "logs" / "kafka.log.1").read_text() == "first run"
