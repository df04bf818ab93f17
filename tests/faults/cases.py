"""The faults of Metrika, of OAuth and of the network in between."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import requests

from tests.faults.drill import PASSING, Case, Drill
from tests.faults.kills import KILLS
from tests.integration.metrika_world import eventually

_FILES_HIT: Final = 3
_POISONOUS: Final = 5
_CLIENT: Final = {"YANDEX_CLIENT_ID": "app", "YANDEX_CLIENT_SECRET": "secret"}


def scripted(fault: str, *, times: int | None = _FILES_HIT, **rule: object) -> Callable[[Drill], None]:
    """The next uploads meet a fault of the simulator."""

    def play(drill: Drill) -> None:
        drill.here.script(fault, times=times, **rule)
        with drill.uploader():
            drill.store()
            drill.settle()
        drill.require(
            times is None or drill.here.control("faults") == [], "the fault did not happen as often as planned"
        )

    return play


def _nobody_listens(drill: Drill) -> None:
    with drill.uploader():
        drill.post("outage", {"seconds": 4})
        drill.store()
        drill.settle()
    attempts, files = drill.here.query("SELECT sum(attempts), count(*) FROM metrika_uploads")[0]
    drill.require(attempts > files, "no connection was refused")


def _answer_and_list_lost(drill: Drill) -> None:
    drill.here.script("503", match="list", times=_FILES_HIT)
    scripted("cut_after_accept")(drill)


def _poisonous_rows(drill: Drill) -> None:
    with drill.uploader():
        drill.store(poisonous=_POISONOUS)
        drill.settle()
    told = drill.here.value("SELECT count(*) FROM outcome_outbox WHERE outcome = 'failed'")
    drill.require(told == _POISONOUS, f"{told} dead letters instead of {_POISONOUS}")


def _random_faults(drill: Drill) -> None:
    scripted("random", match=None, times=None, probability=0.3, seed=drill.seed, among=PASSING)(drill)


def _expired_token(status: int) -> Callable[[Drill], None]:
    def play(drill: Drill) -> None:
        tokens = _authorized(drill, invalid_token_status=status)
        _end(drill, token=tokens["access_token"])
        with drill.uploader(**_CLIENT):
            drill.store()
            drill.settle()
        drill.require(drill.here.requests("token") == {"200": 1}, "not exactly one refresh")

    return play


def _refresh_refused(drill: Drill) -> None:
    _authorized(drill)
    _end(drill, login="shop")
    _wait_for_a_person(drill)


def _refresh_answer_lost(drill: Drill) -> None:
    tokens = _authorized(drill)
    _end(drill, token=tokens["access_token"])
    drill.here.script("cut_after_accept", match="token")
    _wait_for_a_person(drill)


def _wait_for_a_person(drill: Drill) -> None:
    """The account pauses, its rows wait; a person's new token lets them go on."""
    with drill.uploader(**_CLIENT):
        drill.store()
        paused = "SELECT count(*) FROM yandex_accounts WHERE paused_reason IS NOT NULL"
        eventually(lambda: drill.here.value(paused), lambda count: count == 1, 60)
        waiting = drill.here.stages()
        drill.require(not waiting.keys() - {"stored", "batched"}, f"rows did not wait: {dict(waiting)}")
        _log_in(drill, drill.post("tokens", {"login": "shop"}).json())
        drill.settle()


def _authorized(drill: Drill, **settings: object) -> dict[str, str]:
    """Give the account tokens of the simulator, which from now on takes no others."""
    drill.here.configure(strict_tokens=True, **settings)
    tokens: dict[str, str] = drill.post("tokens", {"login": "shop"}).json()
    _log_in(drill, tokens)
    return tokens


def _log_in(drill: Drill, tokens: dict[str, str]) -> None:
    """Store tokens as a person does, with goalpost's own command."""
    environ = {
        **os.environ,
        "DATABASE_URL": drill.here.database_url,
        "GOALPOST_SECRET_KEY": drill.here.secret_key,
        "METRIKA_ACCESS_TOKEN": tokens["access_token"],
        "METRIKA_REFRESH_TOKEN": tokens["refresh_token"],
    }
    command = (sys.executable, "-m", "goalpost", "admin", "account", "add", "--name", "shop", "--yandex-uid", "1")
    subprocess.run(command, env=environ, check=True, capture_output=True)


def _end(drill: Drill, **which: str) -> None:
    address = f"{drill.here.simulator_url}/_control/tokens"
    requests.delete(address, params=which, timeout=10).raise_for_status()


_FAULTS: Final = (
    Case(
        name="none",
        happens="nothing: what the others are to be compared with",
        play=scripted("500", times=None, skip=10**6),
    ),
    Case(name="refuse", happens="nobody listens for 4 s", play=_nobody_listens),
    Case(
        name="hang",
        happens="one upload is read and never answered",
        play=scripted("hang", times=1, seconds=300),
        is_slow=True,
    ),
    Case(
        name="hang after accept",
        happens="one upload is accepted and never answered",
        play=scripted("hang_after_accept", times=1, seconds=300),
        is_slow=True,
    ),
    Case(name="cut before", happens="the connection is closed, nothing was read", play=scripted("cut_before")),
    Case(name="cut after accept", happens="accepted, then closed without an answer", play=scripted("cut_after_accept")),
    Case(name="cut mid answer", happens="accepted, the answer ends in its middle", play=scripted("cut_mid_answer")),
    Case(
        name="cut after accept, no list",
        happens="the same, and Metrika's list answers 503 meanwhile",
        play=_answer_and_list_lost,
    ),
    *(
        Case(name=code, happens=f"HTTP {code}, nothing was accepted", play=scripted(code))
        for code in ("500", "502", "503", "504")
    ),
    *(
        Case(name=f"{code} after accept", happens=f"accepted, but HTTP {code}", play=scripted(f"{code}_after_accept"))
        for code in ("500", "503", "504")
    ),
    *(Case(name=name, happens=f"HTTP {name} quota_requests_by_ip", play=scripted(name)) for name in ("420", "429")),
    Case(
        name="429 parallel",
        happens="HTTP 429 quota_parallel_requests",
        play=scripted("429", error_type="quota_parallel_requests"),
    ),
    Case(name="malformed answer", happens="accepted, HTTP 200 with JSON that breaks off", play=scripted("malformed")),
    Case(name="not JSON", happens="HTTP 200 with a proxy's HTML, nothing was accepted", play=scripted("not_json")),
    Case(
        name="400 poison rows",
        happens=f"{_POISONOUS} rows that Metrika refuses, each with the whole file it is in",
        play=_poisonous_rows,
        poisonous=_POISONOUS,
    ),
    Case(name="403 no access", happens="HTTP 403 access_denied", play=scripted("forbidden", times=1), is_slow=True),
    Case(
        name="403 expired token",
        happens="HTTP 403 invalid_token until the token is refreshed",
        play=_expired_token(403),
    ),
    Case(
        name="401 expired token", happens="HTTP 401 unauthorized until the token is refreshed", play=_expired_token(401)
    ),
    Case(name="refresh refused", happens="access withdrawn: rows wait for a person's login", play=_refresh_refused),
    Case(
        name="refresh answer lost",
        happens="tokens were rotated, the answer never came: rows wait for a login",
        play=_refresh_answer_lost,
    ),
    Case(
        name="random faults",
        happens="three requests in ten, lists too, fail in any way that passes by itself",
        play=_random_faults,
    ),
)

CASES: Final = (*_FAULTS, *KILLS)
