"""kill -9 of the uploader at moments that the simulator or Postgres sees; nothing in the uploader knows of it."""

from __future__ import annotations

import random
import socket
import time
from contextlib import closing
from typing import Final

import psycopg

from tests.faults.drill import PASSING, PATIENT, Case, Drill
from tests.integration.metrika_world import eventually

_WAITING_FOR_A_LOCK: Final = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')
"""


def _before_the_request(drill: Drill) -> None:
    """`sending` is committed, but no connection comes about: the backlog of the address is full."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener, closing(socket.socket()) as first:
        host, port = listener.getsockname()
        first.connect((host, port))
        drill.store()
        with drill.uploader(METRIKA_API_URL=f"http://{host}:{port}") as kill:
            eventually(drill.here.uploads, lambda states: states["sending"] > 0, 60)
            kill()
    _finish(drill)


def _during_the_request(drill: Drill) -> None:
    """The simulator has read the file and holds it; the killed client's file is never accepted."""
    _killed_while_held(drill, "hang")


def _before_the_answer(drill: Drill) -> None:
    """The simulator has accepted the file and holds the answer."""
    _killed_while_held(drill, "hang_after_accept")


def _killed_while_held(drill: Drill, fault: str) -> None:
    drill.store()
    for _ in range(drill.kills):
        drill.here.script(fault, seconds=300)
        with drill.uploader(**PATIENT) as kill:
            drill.until_held()
            kill()
        eventually(lambda: drill.here.control("held"), lambda held: held == [])
    _finish(drill)


def _before_the_commit(drill: Drill) -> None:
    """The answer has come; what it makes of the ledger waits for a lock that is ours when the kill comes."""
    drill.store()
    for _ in range(drill.kills):
        drill.here.script("hang_after_accept", seconds=300)
        with drill.uploader(**PATIENT) as kill, psycopg.connect(drill.here.database_url) as other:
            drill.until_held()
            other.execute("SELECT FROM metrika_uploads WHERE state = 'sending' FOR UPDATE")
            drill.post("release")
            waiting = eventually(lambda: drill.here.query(_WAITING_FOR_A_LOCK), lambda found: len(found) > 0, 60)
            kill()
            # Else the server would still do what the dead client asked for.
            for (pid,) in waiting:
                drill.here.query("SELECT pg_terminate_backend(%s, 5000)", pid)
            other.rollback()
        drill.require(drill.here.uploads()["sending"] > 0, "the kill came too late")
    _finish(drill)


def _at_random_moments(drill: Drill) -> None:
    dice = random.Random(drill.seed)
    drill.store()
    drill.here.script("random", match=None, times=None, probability=0.2, seed=drill.seed, among=PASSING)
    for _ in range(drill.kills * 3):
        with drill.uploader() as kill:
            time.sleep(dice.random())  # the moment itself is what is tried out
            kill()
    drill.here.heal()
    _finish(drill)


def _finish(drill: Drill) -> None:
    with drill.uploader():
        drill.settle()


KILLS: Final = (
    Case(
        name="kill before the POST",
        happens="killed when the intent is committed and no connection has come about",
        play=_before_the_request,
    ),
    Case(
        name="kill during the POST",
        happens="killed three times while Metrika reads; the files are not accepted",
        play=_during_the_request,
    ),
    Case(
        name="kill before the answer",
        happens="killed three times when Metrika has accepted and not yet answered",
        play=_before_the_answer,
    ),
    Case(
        name="kill before the commit",
        happens="killed three times when the answer has come and is not yet in the ledger",
        play=_before_the_commit,
    ),
    Case(
        name="kills at random",
        happens="killed nine times at random, one request in five failing",
        play=_at_random_moments,
    ),
)
