"""Every process is killed at random while events come at full speed: nothing is lost and nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from sandbox.pipeline import Pipeline
from tests.e2e.outside import Outside, eventually

pytestmark = pytest.mark.promise

SERVICES = ("webhook", "stream", "sink_postgres", "sink_metrika")
EVENTS = int(os.environ.get("KILL_TEST_EVENTS", "3000"))
SESSIONS = 100
SENDERS = 8


@pytest.mark.timeout(600)
def test_kill_9_of_each_process_at_random_loses_nothing_and_doubles_nothing(
    pipeline: Pipeline, promise_seed: int
) -> None:
    outside = Outside(pipeline)
    run = uuid.uuid4().hex[:12]
    print(f"kill test: run {run}, seed {promise_seed}, {EVENTS} events")
    sessions = [f"{run}-{place}" for place in range(SESSIONS)]
    visitors = [str(time.time_ns())[:16] + f"{place:03d}" for place in range(SESSIONS)]
    outside.visit(
        *({"session_id": s, "ym_uid": v, "analytics_data": {"k": s}} for s, v in zip(sessions, visitors, strict=True))
    )
    killer = Killer(pipeline, random.Random(promise_seed))
    killer.start()
    with ThreadPoolExecutor(SENDERS) as pool:
        ids = list(pool.map(lambda n: _deliver(outside, run, sessions[n % SESSIONS], n), range(EVENTS)))
    killer.finish()
    print(f"kill test: killed {dict(killer.kills)}")

    assert len(set(ids)) == EVENTS
    assert set(killer.kills) == set(SERVICES)
    stored = eventually(
        lambda: {
            row["id"]: row["status"]
            for row in outside.query("SELECT id::text, status FROM webhook_conversions WHERE target LIKE %s", f"{run}%")
        },
        lambda rows: len(rows) >= EVENTS and set(rows.values()) == {"sent"},
        within_seconds=180,
    )
    assert set(stored) == set(ids)
    _assert_each_once("analytics_data", Counter(_appended(outside, sessions)), ids)
    uploaded = [row["Target"] for row in outside.accepted_rows() if row["Target"].startswith(run)]
    _assert_each_once("simulator", Counter(uploaded), [f"{run}_{n}" for n in range(EVENTS)])


class Killer(threading.Thread):
    """Sends SIGKILL to one of the services at random times until it is told to finish."""

    def __init__(self, pipeline: Pipeline, choice: random.Random) -> None:
        super().__init__(name="killer")
        self.kills: Counter[str] = Counter()
        self._pipeline = pipeline
        self._random = choice
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._random.uniform(0.3, 1.5)):
            self._kill(self._random.choice(SERVICES))

    def finish(self) -> None:
        """Stop killing; each service that chance has spared is killed once."""
        self._done.set()
        self.join()
        for name in SERVICES:
            if not self.kills[name]:
                self._kill(name)

    def _kill(self, name: str) -> None:
        pid = self._pipeline.pids().get(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.kills[name] += 1


def _deliver(outside: Outside, run: str, session: str, number: int) -> str:
    """Send one event as a CRM that repeats until it is told that the event was taken."""
    body = {"session_id": session, "goal_name": f"{run}_{number}", "goal_value": 1, "event_id": f"{run}-{number}"}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            answer = outside.convert(body)
        except requests.RequestException:
            time.sleep(0.1)
            continue
        if answer.status_code == 202:
            return str(answer.json()["event_ids"][0])
        assert answer.status_code == 503, answer.text
        time.sleep(0.1)
    raise AssertionError(f"event {number} was not taken within two minutes")


def _appended(outside: Outside, sessions: Sequence[str]) -> list[str]:
    rows = outside.query(
        """
        SELECT goal ->> 'event_id' AS id FROM user_analytics,
            jsonb_array_elements(analytics_data #> '{target_actions,yandex_goals_triggered}') AS goal
        WHERE session_id = ANY(%s)
        """,
        list(sessions),
    )
    return [row["id"] for row in rows]


def _assert_each_once(place: str, seen: Counter[str], expected: Sequence[str]) -> None:
    lost = [name for name in expected if not seen[name]]
    doubled = [name for name, count in seen.items() if count > 1]
    print(f"kill test: {place}: {len(lost)} lost, {len(doubled)} doubled of {len(expected)}")
    assert not lost
    assert not doubled
    assert set(seen) == set(expected)
