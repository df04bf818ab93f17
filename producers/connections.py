"""Connections that cost without giving: too many of them, and those on which a request never becomes complete.

uvicorn closes idle connections (keep-alive), but takes heads of any size, of any number of lines and any number of
requests at once, and waits for ever for the rest of a head, of a body, or for a client that does not read its answer.
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
# Browsers and proxies send some thirty. A single read may hold sixty thousand, which would take 50 ms of the loop.
_HEAD_LIMIT_LINES: Final = 256
# Requests that one read may hold. Browsers have given up sending a request before the last one is answered (RFC 9112,
# 9.3.2), some load generators do it. A read may hold thousands, and all their heads are parsed at once.
_PIPELINED_LIMIT: Final = 64
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
)
# At a stop: how long what senders have already written is still read. Some of them never repeat it.
_LAST_READ_SECONDS: Final = 0.25


class Excessive(Exception):
    """A client sends more lines, or more requests, than are parsed at once."""


class _LimitedHeads(HttpToolsProtocol):
    """uvicorn's protocol, for which a head can be too large, and requests at once too many: both are answered 431."""

    _head_bytes = 0
    _begun = 0
    _excessive = False

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        in_body = cycle is not None and cycle.more_body
        self._begun = 0
        super().data_received(data)
        if in_body or self.cycle is not cycle:
            self._head_bytes = 0
            return
        self._head_bytes += len(data)
        if self._head_bytes > _HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self._close_with_431()

    def on_message_begin(self) -> None:
        self._begun += 1
        if self._begun > _PIPELINED_LIMIT:
            self._end_parsing()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Called for each line of each request, so this is uvicorn's own method with a look at their number.
        if len(self.headers) >= _HEAD_LIMIT_LINES:
            self._end_parsing()
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, or what :meth:`_end_parsing` has ended."""
        if self._excessive:
            self._close_with_431()
        else:
            super().send_400_response(msg)

    def _end_parsing(self) -> None:
        """Let the parser stop here; uvicorn takes that for something that is not HTTP.

        Raises:
            Excessive: always.
        """
        self._excessive = True
        raise Excessive

    def _close_with_431(self) -> None:
        self.transport.write(_HEAD_TOO_LARGE)
        self.transport.close()


def bounded(limit: int) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol for a server that keeps at most ``limit`` connections open; more are closed at once.

    A head that is too large, or that has too many lines, is answered 431, and so are too many requests at once. At a
    stop connections are closed a moment later than uvicorn would.
    """

    class Bounded(_LimitedHeads):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            if len(self.connections) > limit:
                transport.abort()

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
