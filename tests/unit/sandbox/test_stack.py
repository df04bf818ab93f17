"""A part that is started again keeps nobody waiting: the services are looked after meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from sandbox.part import PartFailed
from sandbox.stack import KAFKA, Stack


class Running:
    """A part that has died; its start takes until the test lets it go on."""

    def __init__(self, *, fails: bool = False) -> None:
        self.part = SimpleNamespace(name=KAFKA, address="127.0.0.1:1")
        self.dead = True
        self.pid = None
        self.go_on = threading.Event()
        self.started = 0
        self._fails = fails

    def start(self) -> None:
        self.dead = False
        assert self.go_on.wait(10)
        if self._fails:
            raise PartFailed("kafka ended with exit code 1 before it was ready")
        self.started += 1

    def abandon(self) -> None:
        self.go_on.set()

    def stop(self, _seconds: float) -> None:
        """It has no process."""


def stack(tmp_path: Path, running: Running) -> Stack:
    made = Stack(tmp_path)
    made._running[KAFKA] = cast(Any, running)
    return made


def test_tending_returns_at_once_while_a_part_takes_its_time(tmp_path: Path) -> None:
    running = Running()
    made = stack(tmp_path, running)
    for _ in range(100):
        made.tend()
    assert running.started == 0
    running.go_on.set()
    _until(lambda: running.started == 1)
    running.dead = True

    def tended() -> bool:
        made.tend()
        return running.started == 2

    _until(tended)


def test_a_part_that_does_not_start_any_more_is_told_at_the_next_look(tmp_path: Path) -> None:
    running = Running(fails=True)
    made = stack(tmp_path, running)
    made.tend()
    running.go_on.set()

    def told() -> bool:
        try:
            made.tend()
        except PartFailed:
            return True
        return False

    _until(told)


def test_a_stop_does_not_wait_for_a_start(tmp_path: Path) -> None:
    running = Running()
    made = stack(tmp_path, running)
    made.tend()
    made.stop()
    assert running.go_on.is_set()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)
