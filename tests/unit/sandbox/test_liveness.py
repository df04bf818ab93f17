"""A service that says that it has stalled is ended and started again; silence and other answers are no reason."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sandbox import liveness, supervisor
from sandbox.liveness import LOOKS, Liveness, stalled_at
from sandbox.supervisor import Service, Supervisor

STAYS = "import time; time.sleep(600)"


class Page:
    """A /healthz that answers what the test says."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"status": "ok"}'
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(page.status)
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/healthz"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def page() -> Iterator[Page]:
    made = Page()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_only_the_words_of_a_stalled_service_count(page: Page) -> None:
    assert stalled_at(page.url) is None
    page.status, page.body = 503, b'{"status": "stalled", "standstill": "nothing has come"}'
    assert stalled_at(page.url) == "nothing has come"
    page.body = b'{"status": "stalled", "last_beat_seconds": 130.5}'
    assert "130.5 s" in (stalled_at(page.url) or "")
    page.body = b"<html>a proxy</html>"
    assert stalled_at(page.url) is None
    page.status = 500
    assert stalled_at(page.url) is None


def test_a_service_that_does_not_answer_is_starting_or_held_on_purpose() -> None:
    assert stalled_at("http://127.0.0.1:9/healthz") is None


def looked(reasons: list[str | None]) -> list[str | None]:
    """Look as often as there are answers; return what it counts as after each."""
    now, left, found = 0.0, list(reasons), []
    asked = threading.Event()

    def ask(_: str) -> str | None:
        reason = left.pop(0)
        asked.set()
        return reason

    made = Liveness("http://x", ask=ask, clock=lambda: now)
    assert made.stalled() is None
    for _ in reasons:
        now += liveness.LOOK_SECONDS
        asked.clear()
        made.stalled()
        assert asked.wait(10)
        _ended(made)
        found.append(made.stalled())
    return found


def _ended(made: Liveness) -> None:
    assert made._asking is not None
    made._asking.join(10)


def test_it_takes_several_answers_in_a_row() -> None:
    assert looked(["stands"] * LOOKS) == [*[None] * (LOOKS - 1), "stands"]
    assert looked(["stands", None, "stands", "stands"]) == [None] * 4


def test_a_service_without_an_address_is_never_asked() -> None:
    assert Liveness(None, ask=lambda _: pytest.fail("asked")).stalled() is None


def test_a_stalled_service_is_ended_and_started_again(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.01)
    said: list[str] = []
    service = Service(name="stream", argv=(sys.executable, "-c", STAYS), env=dict(os.environ), health_url=page.url)
    kept = Supervisor([service], logs=tmp_path / "logs", report=said.append)
    kept.start()
    try:
        before = kept.pids()["stream"]
        page.status, page.body = 503, b'{"status": "stalled", "standstill": "nothing has come"}'
        _poll_until(kept, lambda: kept.pids().get("stream", before) != before)
        assert "stream has stalled (nothing has come)" in said[0]
    finally:
        kept.stop(1)


def _poll_until(kept: Supervisor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        kept.poll()
        time.sleep(0.01)
