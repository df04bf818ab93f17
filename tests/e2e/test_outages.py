"""What the pipeline depends on fails while events come: nothing is lost, doubled, or taken for bad data."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]  # psutil comes without stubs
import psycopg
import pytest
import requests

from runtime import kafka
from sandbox.pipeline import Pipeline
from schemas.topics import CONVERSIONS, RAW, SESSIONS, WAITING
from tests.e2e.outside import Outside, eventually

pytestmark = pytest.mark.promise

EVENTS = 150
# Five seconds of events: long enough that each outage begins and ends among them.
EVENTS_PER_SECOND = 30
SESSIONS_USED = 10
_LETTERS = tuple(topic.dead_letters for topic in (RAW, SESSIONS, WAITING, CONVERSIONS))
_SERVICES = ("webhook", "stream", "sink_postgres", "sink_metrika")


@pytest.fixture
def outside(pipeline: Pipeline) -> Iterator[Outside]:
    yield Outside(pipeline)
    _until_ready(pipeline)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process and its children are there and answer nothing, which is worse than gone."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(processes):
            if process.is_running():
                process.resume()


def kill(*names: str) -> Callable[[Pipeline], None]:
    """An outage: these processes are killed at once, and started again by whoever keeps them."""

    def strike(pipeline: Pipeline) -> None:
        pids = pipeline.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)

    return strike


def freeze_while_services_start(part: str, seconds: float) -> Callable[[Pipeline], None]:
    """An outage: ``part`` does not answer, and all services have to start meanwhile."""

    def strike(pipeline: Pipeline) -> None:
        with frozen(pipeline.pids()[part]):
            kill(*_SERVICES)(pipeline)
            time.sleep(seconds)

    return strike


def metrika_fails(*faults: str) -> Callable[[Pipeline], None]:
    """An outage: the simulator's next requests fail in these ways."""

    def strike(pipeline: Pipeline) -> None:
        rules = [{"match": "upload", "fault": fault, "seconds": 2} for fault in faults]
        requests.post(f"{pipeline.metrika_api_url}/_control/faults", json=rules, timeout=10).raise_for_status()

    return strike


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(kill("postgres"), id="postgres-killed"),
        pytest.param(kill("registry", "stream"), id="registry-killed-and-the-join-with-it"),
        pytest.param(kill("kafka"), id="kafka-killed"),
        pytest.param(freeze_while_services_start("postgres", 4), id="postgres-silent-at-every-services-start"),
        pytest.param(freeze_while_services_start("registry", 4), id="registry-silent-at-every-services-start"),
        pytest.param(
            metrika_fails("503", "cut_after_accept", "hang_after_accept", "malformed", "429", "504_after_accept"),
            id="metrika-fails-in-every-way",
        ),
    ],
)
def test_an_outage_loses_nothing_doubles_nothing_and_spoils_nothing(
    outside: Outside, strike: Callable[[Pipeline], None]
) -> None:
    pipeline = outside.pipeline
    letters_before = _letters(pipeline)
    run = uuid.uuid4().hex[:12]
    sessions = [f"{run}-{place}" for place in range(SESSIONS_USED)]
    visitors = [str(time.time_ns())[:16] + f"{place:03d}" for place in range(SESSIONS_USED)]
    outside.visit(*({"session_id": s, "ym_uid": v} for s, v in zip(sessions, visitors, strict=True)))

    began = time.monotonic()
    with ThreadPoolExecutor(5) as senders:
        sent = [senders.submit(_deliver, outside, run, sessions, number, began) for number in range(EVENTS)]
        time.sleep(1)
        strike(pipeline)
        ids = [one.result() for one in sent]

    assert len(set(ids)) == EVENTS
    stored = eventually(lambda: _stored(outside, run), lambda rows: _all_sent(rows, ids), within_seconds=60)
    assert set(stored) == set(ids)
    goals = Counter(goal["event_id"] for session in sessions for goal in outside.goals(session))
    assert goals == Counter(ids)
    uploaded = Counter(row["Target"] for row in outside.accepted_rows() if row["Target"].startswith(run))
    assert uploaded == Counter(f"{run}_{number}" for number in range(EVENTS))
    assert _letters(pipeline) == letters_before


def _deliver(outside: Outside, run: str, sessions: Sequence[str], number: int, began: float) -> str:
    """Send an event at its time, as a CRM that repeats until it is told that the event was taken."""
    time.sleep(max(0.0, began + number / EVENTS_PER_SECOND - time.monotonic()))
    session = sessions[number % len(sessions)]
    body = {"session_id": session, "goal_name": f"{run}_{number}", "goal_value": 1, "event_id": f"{run}-{number}"}

    def answer() -> requests.Response | None:
        try:
            return outside.convert(body)
        except requests.RequestException:
            return None

    taken = eventually(answer, lambda one: one is not None and one.status_code != 503, within_seconds=60)
    assert taken is not None
    assert taken.status_code == 202, taken.text
    return str(taken.json()["event_ids"][0])


def _stored(outside: Outside, run: str) -> dict[str, str]:
    """The statuses of the stored conversions; none while Postgres is only just coming back."""
    try:
        rows = outside.query("SELECT id::text, status FROM webhook_conversions WHERE target LIKE %s", f"{run}%")
    except psycopg.OperationalError:
        return {}
    return {row["id"]: row["status"] for row in rows}


def _all_sent(rows: dict[str, str], ids: Sequence[str]) -> bool:
    return len(rows) >= len(ids) and set(rows.values()) == {"sent"}


def _letters(pipeline: Pipeline) -> dict[str, Any]:
    """How far each dead-letter topic goes."""
    client = kafka.consumer(
        pipeline.addresses.kafka_bootstrap_servers, group=f"test-{uuid.uuid4()}", client_id="test-outages"
    )
    try:
        return {topic: kafka.end_offsets(client, topic, kafka.partitions_of(client, topic)) for topic in _LETTERS}
    finally:
        client.close()


def _until_ready(pipeline: Pipeline) -> None:
    """Leave a healthy pipeline to the next test."""
    requests.delete(f"{pipeline.metrika_api_url}/_control/faults", timeout=10).raise_for_status()
    for address in pipeline.health.values():
        eventually(lambda at=address: _status(at), lambda status: status == 200, within_seconds=60)  # type: ignore[misc]  # mypy cannot infer a lambda with a default


def _status(address: str) -> int | str | None:
    """200, or what the service waits for."""
    try:
        answer = requests.get(f"{address}/readyz", timeout=5)
    except requests.RequestException:
        return None
    return answer.status_code if answer.ok else answer.text
