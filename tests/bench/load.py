"""HTTP load from a process of its own, with every answer and its exact latency: ``python -m tests.bench.load``.

One thread, one selector, keep-alive connections with one request each in flight. The latency of a request counts from
when it was due, also where no connection was free by then, so that a slow answer cannot hide the ones behind it.

A patient sender is one that repeats, as amoCRM or Make: what was answered 503, or not at all because the server is
gone, is sent again; its latency then counts from that time.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench.processes import Process
from tests.bench.requesting import Connection, Plan, Requests

_DRAIN_SECONDS: Final = 20.0
# How often a patient sender looks whether the server is back.
_LOOK_SECONDS: Final = 0.05
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back. Per answer, in the order in which they came: status, body, latency, and when it was complete.

    Times are of ``time.monotonic``, which all processes share. ``broken`` counts requests without an answer.
    """

    statuses: list[int]
    bodies: list[str]
    latencies_seconds: list[float]
    answered_at: list[float]
    seconds: float
    cpu_seconds: float
    broken: int = 0

    def event_ids(self) -> list[str]:
        """The ids of the events that were taken."""
        taken = (body for status, body in zip(self.statuses, self.bodies, strict=True) if status < 300)
        return [event_id for body in taken for event_id in json.loads(body)["event_ids"]]


def drive(plan: Plan, home: Path) -> Outcome:
    """Run ``plan`` in a process of its own that keeps its files in ``home``."""
    asked, answered = home / "load-plan.json", home / "load-outcome.json"
    begun(home).unlink(missing_ok=True)
    asked.write_text(json.dumps(asdict(plan)))
    command = (sys.executable, "-m", __name__, str(asked), str(answered))
    subprocess.run(command, check=True, cwd=home, env=Process.environment({}))
    return Outcome(**json.loads(answered.read_text()))


def begun(home: Path) -> Path:
    """The file that is there as soon as the first request may have been sent: a process takes its time to start."""
    return home / "load-outcome.begun"


def run(plan: Plan, began: Callable[[], None] = lambda: None) -> Outcome:
    """Send what ``plan`` asks for and wait for every answer; ``began`` is called when all connections are there.

    Raises:
        TimeoutError: answers are missing long after the last request.
        OSError: a connection broke, and the plan is not patient.
    """
    load = _Load(plan)
    began()
    began_at, cpu_began = time.monotonic(), time.process_time()
    while load.step():
        if time.monotonic() > began_at + plan.seconds + _DRAIN_SECONDS:
            raise TimeoutError(f"{load.in_flight} requests were never answered")
    return load.outcome(seconds=time.monotonic() - began_at, cpu_seconds=time.process_time() - cpu_began)


class _Load:
    """Connections, and what came back on them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._found = Outcome(statuses=[], bodies=[], latencies_seconds=[], answered_at=[], seconds=0, cpu_seconds=0)
        self._selector = selectors.DefaultSelector()
        self._idle = deque(Connection(plan.port) for _ in range(plan.connections))
        self._broken: deque[Connection] = deque()
        self._breaks = 0
        for connection in self._idle:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._requests = Requests(plan)

    @property
    def in_flight(self) -> int:
        """Requests that are not answered."""
        return self._plan.connections - len(self._idle) - len(self._broken)

    def step(self) -> bool:
        """Send what is due, and take what has come. Returns whether anything is left to do."""
        self._mend()
        now = time.monotonic()
        due = self._requests.due(now)
        while due is not None and due <= now and self._idle:
            self._send(self._idle.popleft(), due)
            due = self._requests.due(now)
        if due is None and not self.in_flight:
            return False
        patience = max(0.0, due - now) if due is not None and self._idle else _LOOK_SECONDS
        for key, _ in self._selector.select(min(patience, _LOOK_SECONDS)):
            self._receive(key.data)
        return True

    def outcome(self, *, seconds: float, cpu_seconds: float) -> Outcome:
        """Everything that came back."""
        return replace(self._found, seconds=seconds, cpu_seconds=cpu_seconds, broken=self._breaks)

    def _send(self, connection: Connection, due: float) -> None:
        try:
            connection.send(*self._requests.next(), due)
        except OSError:
            self._gone(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            answer = connection.receive()
        except OSError:
            self._gone(connection)
            return
        if answer is not None:
            _note(self._found, answer, connection.due)
            if self._plan.patient and answer[0] == _UNAVAILABLE:
                self._requests.again(connection.number)
            self._idle.append(connection)

    def _gone(self, connection: Connection) -> None:
        """Take a broken connection out; called while its error is handled."""
        if not self._plan.patient:
            raise  # noqa: PLE0704 - see above
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self._breaks += 1
            self._requests.again(connection.number)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._broken.append(connection)

    def _mend(self) -> None:
        for _ in range(len(self._broken)):
            connection = self._broken.popleft()
            try:
                connection.open()
            except OSError:
                self._broken.append(connection)
                return
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            self._idle.append(connection)


def _note(found: Outcome, answer: tuple[int, bytes], due: float) -> None:
    now = time.monotonic()
    found.statuses.append(answer[0])
    found.bodies.append(answer[1].decode())
    found.latencies_seconds.append(now - due)
    found.answered_at.append(now)


def main() -> None:
    """Take the plan from the file that the first argument names, and write the outcome to the second."""
    asked, answered = (Path(argument) for argument in sys.argv[1:])
    outcome = run(Plan(**json.loads(asked.read_text())), begun(answered.parent).touch)
    answered.write_text(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
