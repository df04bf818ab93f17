"""Connections that cost without giving: too many of them, and those on which a request never becomes complete.

uvicorn closes idle connections (keep-alive), but waits for ever for the rest of a head, of a body, or for a client that
does not read its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.logs import logger

_LOOK_SECONDS: Final = 1.0


def bounded(limit: int) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol for a server that keeps at most ``limit`` connections open; more are closed at once."""

    class Bounded(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            if len(self.connections) > limit:
                transport.abort()

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
            logger().warning("connections.closed", connections=len(overdue), why="no complete request in time")
