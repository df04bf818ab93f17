"""Start and stop of a process: SIGTERM drains, and /healthz, /readyz and /metrics say how it is.

Live means that the main loop moves; ready means that it can do its work now. The two are different questions.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from socketserver import ThreadingMixIn
from types import FrameType
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from runtime.failures import Fatal
from runtime.logs import logger

# A loop that has not come round for this long is stuck: long enough for the slowest single dependency call.
STALLED_AFTER_SECONDS: Final = 120.0

# `timeout` and some supervisors signal a process and its group: that is one request, not impatience.
_ECHO_SECONDS: Final = 1.0

_REQUEST_SECONDS: Final = 10.0

# What stands in the way of the work, by dependency; empty means ready.
Readiness = Callable[[], Mapping[str, str]]
# What does not get on although there is work and nothing stands in its way, in words; a restart is the cure.
Standstill = Callable[[], str | None]


def _nothing() -> Mapping[str, str]:
    return {}


def _moving() -> None:
    return None


class Stop:
    """Set by SIGTERM or SIGINT; loops look at it between batches."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._asked_at = 0.0

    def listen(self) -> None:
        """Take SIGTERM and SIGINT from now on; a second one, a second later, ends the process at once."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if self._event.is_set() and time.monotonic() - self._asked_at > _ECHO_SECONDS:
            raise SystemExit(128 + number)
        self._asked_at = self._asked_at or time.monotonic()
        self._event.set()

    def request(self) -> None:
        """Ask for the stop from inside the process."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether the process should end after the batch in hand."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past a stop. Returns whether the stop was requested."""
        return self._event.wait(seconds)


class Heartbeat:
    """Beaten by the main loop; liveness is its age."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def beat(self) -> None:
        """Say that the loop came round."""
        self._last = self._clock()

    def age_seconds(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._last


class _Threads(ThreadingMixIn, WSGIServer):
    """Answers each request on a thread: one that takes its time must not look like a process that has stalled."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that said nothing, or hung up, is no news; an error of a page itself is answered with 500."""


class _Quiet(WSGIRequestHandler):
    # A client that says nothing is let go.
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is wsgiref's
        """Probes are no news."""


StartResponse = Callable[[str, list[tuple[str, str]]], object]


class _ThreadsOverIPv6(_Threads):
    address_family = socket.AF_INET6


class HealthServer:
    """/healthz, /readyz and /metrics on a thread of their own, at an address that is nobody else's."""

    def __init__(
        self,
        port: int,
        *,
        heartbeat: Heartbeat,
        readiness: Readiness,
        host: str = "127.0.0.1",
        notes: Readiness = _nothing,
        standstill: Standstill = _moving,
    ) -> None:
        """``notes`` are told beside what ``readiness`` says, and stand in nobody's way.

        Raises:
            Fatal: the address is taken, or none of this machine.
        """
        self._heartbeat = heartbeat
        self._readiness = readiness
        self._notes = notes
        self._standstill = standstill
        threads = _ThreadsOverIPv6 if ":" in host else _Threads
        try:
            self._server = make_server(host, port, self._answer, server_class=threads, handler_class=_Quiet)
        except OSError as exc:
            raise Fatal(
                f"/readyz and /metrics cannot listen on {host} port {port} ({os.strerror(exc.errno or 0)}). "
                "Set GOALPOST_HEALTH_HOST and GOALPOST_HEALTH_PORT to a free address of this machine."
            ) from exc
        self.host, self.port = host, self._server.server_port

    def start(self) -> None:
        """Serve until the process ends."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()
        logger().info("health.started", host=self.host, port=self.port)

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        status, content_type, body = self._page(str(environ.get("PATH_INFO", "")))
        start_response(f"{status.value} {status.phrase}", [("Content-Type", content_type)])
        return [body]

    def _page(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
        if path == "/healthz":
            return health(self._heartbeat, self._standstill())
        if path == "/readyz":
            return readiness_page(self._readiness(), self._notes())
        return HTTPStatus.NOT_FOUND, "application/json", b'{"error": "there are /healthz, /readyz and /metrics"}'


def health(heartbeat: Heartbeat, standstill: str | None = None) -> tuple[HTTPStatus, str, bytes]:
    """Return the /healthz answer: 503 when the loop has stalled, or when it goes round and gets nowhere."""
    age = heartbeat.age_seconds()
    well = age < STALLED_AFTER_SECONDS and standstill is None
    content = {"status": "ok" if well else "stalled", "last_beat_seconds": round(age, 3)}
    if standstill is not None:
        content["standstill"] = standstill
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(content).encode()


def readiness_page(
    obstacles: Mapping[str, str], notes: Mapping[str, str] | None = None
) -> tuple[HTTPStatus, str, bytes]:
    """Return the /readyz answer: 503 with what stands in the way, by dependency; ``notes`` are told, but do not."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if obstacles else HTTPStatus.OK
    content = {"status": "waiting" if obstacles else "ready", "waiting_for": dict(obstacles)}
    if notes:
        content["notes"] = dict(notes)
    return status, "application/json", json.dumps(content).encode()
