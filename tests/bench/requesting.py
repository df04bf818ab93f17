"""What load consists of: the plan, the requests that it asks for, and the connections that they go over."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# How soon a patient sender repeats.
_PATIENCE_SECONDS: Final = 0.2
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
    patient: bool = False


class Requests:
    """The requests of a plan, made as they are needed, and when each is due."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._begin = time.monotonic()
        self._sent = 0
        self._again: deque[tuple[float, int]] = deque()
        self._body = plan.body.encode()
        lines = {"Host": "127.0.0.1", "Content-Length": str(len(self._body_of(0))), **plan.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._head = f"POST {plan.path} HTTP/1.1\r\n{head}\r\n".encode()

    def due(self, now: float) -> float | None:
        """When the next request is due; ``None`` after the last one."""
        if self._again:
            return self._again[0][0]
        offset = self._sent / self._plan.rate_per_s if self._plan.rate_per_s else now - self._begin
        return self._begin + offset if offset < self._plan.seconds else None

    def next(self) -> tuple[int, bytes]:
        """The next request and its number."""
        if self._again:
            _, number = self._again.popleft()
        else:
            number = self._plan.first_number + self._sent
            self._sent += 1
        return number, self._head + self._body_of(number)

    def again(self, number: int) -> None:
        """Send a request once more, a little later."""
        self._again.append((time.monotonic() + _PATIENCE_SECONDS, number))

    def _body_of(self, number: int) -> bytes:
        return self._body % {b"number": number, b"session": number % self._plan.sessions}


class Connection:
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.due = 0.0
        self.number = 0
        self.open()

    def open(self) -> None:
        """Connect, also after the last connection broke."""
        self._received = b""
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, number: int, request: bytes, due: float) -> None:
        self.number, self.due = number, due
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
