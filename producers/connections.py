"""Connections that cost without giving: too many of them, and those on which a request never becomes complete.

uvicorn closes idle connections (keep-alive), but takes heads of any size, and waits for ever for the rest of a head, of
a body, or for a client that does not read its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.logs import seldom

_LOOK_SECONDS: Final = 1.0
# Twice what proxies usually let through. One that comes in a single read may have 256 KiB, which is uvloop's buffer.
_HEAD_LIMIT_BYTES: Final = 64 * 1024
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)
# At a stop: how long what senders have already written is still read. Some of them never repeat it.
_LAST_READ_SECONDS: Final = 0.25


def bounded(limit: int) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol for a server that keeps at most ``limit`` connections open; more are closed at once.

    A head that is too large is answered 431. At a stop connections are closed a moment later than uvicorn would.
    """

    class Bounded(HttpToolsProtocol):
        _head_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            if len(self.connections) > limit:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            cycle = self.cycle
            in_body = cycle is not None and cycle.more_body
            super().data_received(data)
            if in_body or self.cycle is not cycle:
                self._head_bytes = 0
                return
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()

        def shutdown(self) -> None:
            asyncio.get_running_loop().call_later(_LAST_READ_SECONDS, super().shutdown)

    return Bounded


class SlowConnections:
    """Finds the connections that have been busy with one and the same request for too long. Times are in seconds."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        # The request in which a connection was seen first, and when; None is a connection's very first one.
        self._busy: dict[HttpToolsProtocol, tuple[object, float]] = {}

    def overdue(self, connections: Iterable[HttpToolsProtocol], now: float) -> list[HttpToolsProtocol]:
        """Return what is overdue at ``now``; called every now and then with all connections there are."""
        before, self._busy = self._busy, {}
        for connection in connections:
            # uvicorn's timer for idle connections runs from an answer to the first byte of the next request.
            if connection.timeout_keep_alive_task is None:
                cycle, since = before.get(connection, (None, now))
                same = cycle is connection.cycle
                self._busy[connection] = (connection.cycle, since if same else now)
        return [one for one, (_, since) in self._busy.items() if now - since > self._timeout_seconds]


async def keep_closing(connections: set[Any], *, timeout_seconds: float) -> None:
    """Close connections that are overdue, for as long as the task runs."""
    slow = SlowConnections(timeout_seconds)
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(_LOOK_SECONDS, timeout_seconds / 4))
        overdue = slow.overdue(list(connections), loop.time())
        for connection in overdue:
            connection.transport.abort()
        if overdue:
            seldom("connections.closed", connections=len(overdue), why="no complete request in time")
