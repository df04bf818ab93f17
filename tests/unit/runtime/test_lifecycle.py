"""Start and stop of a process."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest
import requests

from runtime import lifecycle, metrics
from runtime.failures import Fatal
from runtime.lifecycle import STALLED_AFTER_SECONDS, HealthServer, Heartbeat, Stop


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_healthz_turns_503_when_the_loop_has_stalled_and_200_when_it_goes_on() -> None:
    clock = Clock()
    heartbeat = Heartbeat(clock)
    server = HealthServer(0, heartbeat=heartbeat, readiness=dict)
    server.start()
    assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status_code == 200
    clock.now += STALLED_AFTER_SECONDS + 1
    assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status_code == 503
    heartbeat.beat()
    assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status_code == 200


def test_readyz_names_what_stands_in_the_way() -> None:
    obstacles = {"kafka": "does not answer"}
    server = HealthServer(0, heartbeat=Heartbeat(), readiness=lambda: obstacles)
    server.start()
    waiting = requests.get(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
    assert (waiting.status_code, waiting.json()["waiting_for"]) == (503, obstacles)
    obstacles.clear()
    assert requests.get(f"http://127.0.0.1:{server.port}/readyz", timeout=5).status_code == 200


def test_a_stage_that_goes_round_and_gets_nowhere_is_not_alive() -> None:
    stands: list[str | None] = [None]
    server = HealthServer(0, heartbeat=Heartbeat(), readiness=dict, standstill=lambda: stands[0])
    server.start()
    assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5).status_code == 200
    stands[0] = "for 301 s nothing has come, and 3980 records are to be read"
    dead = requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5)
    assert (dead.status_code, dead.json()["standstill"]) == (503, stands[0])


def test_notes_are_told_and_stand_in_nobodys_way() -> None:
    server = HealthServer(0, heartbeat=Heartbeat(), readiness=dict, notes=lambda: {"spool": "7 records wait"})
    server.start()
    ready = requests.get(f"http://127.0.0.1:{server.port}/readyz", timeout=5)
    assert (ready.status_code, ready.json()["notes"]) == (200, {"spool": "7 records wait"})


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
def test_an_address_that_cannot_be_taken_names_the_settings(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Fatal, match="GOALPOST_HEALTH_HOST and GOALPOST_HEALTH_PORT"):
            HealthServer(taken.getsockname()[1], heartbeat=Heartbeat(), readiness=dict, host=host)


def test_it_listens_where_it_is_told_and_not_on_every_address_by_itself() -> None:
    by_itself = HealthServer(0, heartbeat=Heartbeat(), readiness=dict)
    by_itself.start()
    assert by_itself.host == "127.0.0.1"
    everywhere = HealthServer(0, heartbeat=Heartbeat(), readiness=dict, host="0.0.0.0")  # noqa: S104 - what is tested
    everywhere.start()
    assert requests.get(f"http://127.0.0.1:{everywhere.port}/healthz", timeout=5).status_code == 200


def test_liveness_answers_while_another_client_says_nothing_and_a_page_takes_its_time() -> None:
    asked, answer = threading.Event(), threading.Event()

    def slow() -> dict[str, str]:
        asked.set()
        answer.wait(30)
        return {}

    server = HealthServer(0, heartbeat=Heartbeat(), readiness=slow)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        waiting = threading.Thread(target=requests.get, args=(f"http://127.0.0.1:{server.port}/readyz",))
        waiting.start()
        try:
            assert asked.wait(10)
            assert requests.get(f"http://127.0.0.1:{server.port}/healthz", timeout=10).status_code == 200
        finally:
            answer.set()
            waiting.join(10)


def test_metrics_are_served() -> None:
    metrics.RETRIED.labels("test", "kafka").inc()
    server = HealthServer(0, heartbeat=Heartbeat(), readiness=dict)
    server.start()
    page = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=5)
    assert 'pipeline_retries_total{dependency="kafka",stage="test"} 1.0' in page.text


def test_sigterm_asks_for_a_stop_and_a_second_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop = Stop()
        stop.listen()
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGTERM)  # the echo of a process group
        monkeypatch.setattr(lifecycle, "_ECHO_SECONDS", -1.0)
        with pytest.raises(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
