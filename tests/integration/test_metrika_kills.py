"""kill -9 at every point of an upload: nothing is lost and nothing is sent twice. Counted at the simulator."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.stack import Addresses
from tests.integration.metrika_world import World, end, eventually, world

pytestmark = pytest.mark.promise


@pytest.fixture(name="here")
def _here(stack: Addresses, tmp_path: Path) -> Iterator[World]:
    with world(stack, tmp_path) as made:
        yield made


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"


def test_killed_before_the_request(here: World) -> None:
    """The intent is committed, but no connection comes about: the backlog of the address is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener, closing(socket.socket()) as first:
        first.connect(listener.getsockname())
        here.store(5)
        with here.sink(METRIKA_API_URL=_address(listener)) as process:
            eventually(here.uploads, lambda states: states["sending"] == 1)
            process.kill()
            process.wait()
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)
    assert here.value("SELECT attempts FROM metrika_uploads") == 2


def test_killed_while_the_request_is_under_way(here: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        here.store(5)
        with here.sink(METRIKA_API_URL=_address(listener)) as process:
            connection, _ = listener.accept()
            with closing(connection):
                assert connection.recv(4) == b"POST"
                process.kill()
                process.wait()
    assert here.uploads() == {"sending": 1}
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)


def test_killed_after_metrika_accepted_and_before_the_answer(here: World) -> None:
    here.script("hang_after_accept")
    here.store(5)
    with here.sink() as process:
        eventually(lambda: here.control("summary")["rows"], lambda rows: rows == 5)
        process.kill()
        process.wait()
    assert here.uploads() == {"sending": 1}
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)
    assert here.value("SELECT attempts FROM metrika_uploads") == 1
    assert "upload.adopted" in here.log


def test_killed_between_preparing_and_sending(here: World) -> None:
    here.script("429", times=None)
    here.store(5)
    with here.sink() as process:
        eventually(here.uploads, lambda states: states["prepared"] == 1)
        process.kill()
        process.wait()
    here.heal()
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)


def test_killed_while_a_refused_file_is_halved(here: World) -> None:
    here.store(20)
    here.store(1, target="metrika_refuses", visitor=9_000_000_000)
    for _ in range(4):
        with here.sink() as process:
            _halved_once_more(here, here.uploads()["rejected"])
            process.kill()
            process.wait()
    with here.sink():
        assert here.until_settled() == {"processed": 20, "failed": 1}
    here.assert_each_once(20)


def _halved_once_more(here: World, rejected: int) -> None:
    """Wait until another file was refused, or none is left."""
    eventually(here.uploads, lambda states: states["rejected"] > rejected or here.stages()["batched"] == 0)


def test_killed_at_random_moments_with_failing_answers(here: World, promise_seed: int) -> None:
    dice = random.Random(promise_seed)
    faults = ["cut_after_accept", "cut_before", "504_after_accept", "malformed", "500", "429", "hang_after_accept"]
    for number in range(6):
        here.store(30, visitor=10**18 * (number + 1))
        here.script(dice.choice(faults), seconds=1)
        with here.sink() as process:
            here.until_ready(start=number + 1)
            here.store(10, visitor=10**17 * (number + 1))
            with pytest.raises(subprocess.TimeoutExpired):  # it works on until it is killed
                process.wait(dice.random())
            process.kill()
            process.wait()
    here.heal()
    with here.sink():
        assert here.until_settled(within_seconds=60) == {"processed": 240}
    here.assert_each_once(240)


def test_asked_to_stop_it_cuts_off_what_outlasts_the_budget_and_loses_nothing(here: World) -> None:
    here.script("hang")
    here.store(5)
    with here.sink(GOALPOST_DRAIN_SECONDS="1") as process:
        eventually(here.uploads, lambda states: states["sending"] == 1)
        started = time.monotonic()
        assert end(process) == 0
        assert time.monotonic() - started < 10
    with here.sink():
        assert here.until_settled() == {"processed": 5}
    here.assert_each_once(5)
