"""HTTP load from a process of its own, with every answer and its exact latency: ``python -m tests.bench.load``.

One thread, one selector, keep-alive connections with one request each in flight. The latency of a request counts from
when it was due, also where no connection was free by then, so that a slow answer cannot hide the ones behind it.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.processes import Process

_DRAIN_SECONDS: Final = 20.0
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to send. ``body`` holds ``%(session)06d`` and ``%(number)010d``, so that every request is another one.

    ``rate_per_s`` of 0 means: the next request on a connection as soon as the last one is answered.
    """

    port: int
    path: str
    body: str
    connections: int
    seconds: float
    rate_per_s: float = 0.0
    first_number: int = 0
    sessions: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back. Per answer, in the order in which they came: status, body, latency, and when it was complete.

    Times are of ``time.monotonic``, which all processes share.
    """

    statuses: list[int]
    bodies: list[str]
    latencies_seconds: list[float]
    answered_at: list[float]
    seconds: float
    cpu_seconds: float

    def event_ids(self) -> list[str]:
        """The ids of the events that were taken."""
        return [event_id for body in self.bodies for event_id in json.loads(body)["event_ids"]]


def drive(plan: Plan, home: Path) -> Outcome:
    """Run ``plan`` in a process of its own that keeps its files in ``home``."""
    asked, answered = home / "load-plan.json", home / "load-outcome.json"
    asked.write_text(json.dumps(asdict(plan)))
    command = (sys.executable, "-m", __name__, str(asked), str(answered))
    subprocess.run(command, check=True, cwd=home, env=Process.environment({}))
    return Outcome(**json.loads(answered.read_text()))


class _Requests:
    """The requests of a plan, made as they are needed, and when each is due."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._begin = time.monotonic()
        self._sent = 0
        self._body = plan.body.encode()
        lines = {"Host": "127.0.0.1", "Content-Length": str(len(self._body_of(0))), **plan.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._head = f"POST {plan.path} HTTP/1.1\r\n{head}\r\n".encode()

    def due(self, now: float) -> float | None:
        """When the next request is due; ``None`` after the last one."""
        offset = self._sent / self._plan.rate_per_s if self._plan.rate_per_s else now - self._begin
        return self._begin + offset if offset < self._plan.seconds else None

    def next(self) -> bytes:
        """The next request."""
        self._sent += 1
        return self._head + self._body_of(self._plan.first_number + self._sent - 1)

    def _body_of(self, number: int) -> bytes:
        return self._body % {b"number": number, b"session": number % self._plan.sessions}


class _Connection:
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._received = b""

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Read what is there; return status and body once the answer is complete."""
        chunk = self.socket.recv(65_536)
        if not chunk:
            raise ConnectionError("the server closed a connection in use")
        self._received += chunk
        head, end, body = self._received.partition(_HEAD_END)
        if not end:
            return None
        length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return None
        self._received = b""
        return int(head[9:12]), body


def run(plan: Plan) -> Outcome:
    """Send what ``plan`` asks for and wait for every answer.

    Raises:
        TimeoutError: answers are missing long after the last request.
    """
    found = Outcome(statuses=[], bodies=[], latencies_seconds=[], answered_at=[], seconds=0, cpu_seconds=0)
    selector = selectors.DefaultSelector()
    idle = deque(_Connection(plan.port) for _ in range(plan.connections))
    for connection in idle:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    requests = _Requests(plan)
    began, cpu_began = time.monotonic(), time.process_time()
    while True:
        now = time.monotonic()
        due = requests.due(now)
        while due is not None and due <= now and idle:
            idle.popleft().send(requests.next(), due)
            due = requests.due(now)
        if due is None and len(idle) == plan.connections:
            break
        if now > began + plan.seconds + _DRAIN_SECONDS:
            raise TimeoutError(f"{plan.connections - len(idle)} requests were never answered")
        patience = due - now if due is not None and idle else 1.0
        for key, _ in selector.select(patience):
            connection = key.data
            answer = connection.receive()
            if answer is not None:
                _note(found, answer, connection.due)
                idle.append(connection)
    return Outcome(
        **{**_shallow(found), "seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu_began}
    )


def _note(found: Outcome, answer: tuple[int, bytes], due: float) -> None:
    now = time.monotonic()
    found.statuses.append(answer[0])
    found.bodies.append(answer[1].decode())
    found.latencies_seconds.append(now - due)
    found.answered_at.append(now)


def _shallow(found: Outcome) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Outcome.__slots__}


def main() -> None:
    """Take the plan from the file that the first argument names, and write the outcome to the second."""
    asked, answered = (Path(argument) for argument in sys.argv[1:])
    outcome = run(Plan(**json.loads(asked.read_text())))
    answered.write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
