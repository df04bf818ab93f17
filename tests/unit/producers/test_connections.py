"""Connections on which nothing becomes complete are found, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import uvicorn
from starlette.types import Receive, Scope, Send

from producers.connections import SlowConnections, bounded, keep_closing
from tests.unit.producers.parts import until


class Connection:
    """What is looked at of uvicorn's."""

    def __init__(self) -> None:
        self.cycle: object = None
        self.timeout_keep_alive_task: object = None


def overdue(slow: SlowConnections, now: float, *connections: Connection) -> list[Any]:
    return list(slow.overdue(cast(Any, connections), now))


def test_a_head_or_a_body_that_never_ends_is_overdue() -> None:
    slow, silent, sending = SlowConnections(10), Connection(), Connection()
    sending.cycle = "first request"
    assert overdue(slow, 0, silent, sending) == []
    assert overdue(slow, 10, silent, sending) == []
    assert overdue(slow, 10.1, silent, sending) == [silent, sending]


def test_a_connection_that_gets_on_or_is_idle_is_left_alone() -> None:
    slow, busy, idle = SlowConnections(10), Connection(), Connection()
    idle.timeout_keep_alive_task = "uvicorn's timer"
    for number in range(10):
        busy.cycle = f"request {number}"
        assert overdue(slow, 8.0 * number, busy, idle) == []
    idle.timeout_keep_alive_task = None  # the first byte of a next request that then does not come
    assert overdue(slow, 80, idle) == []
    assert overdue(slow, 91, idle) == [idle]


async def _answer(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def _serving() -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """Give a server that keeps three connections, and its port."""
    config = uvicorn.Config(
        _answer, port=0, http=bounded(3), ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def test_a_slow_sender_is_cut_off_and_one_connection_too_many_is_not_kept() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    async with _serving() as (server, port):
        closing = asyncio.create_task(keep_closing(server.server_state.connections, timeout_seconds=0.2))
        quick = await asyncio.open_connection("127.0.0.1", port)
        quick[1].write(head + b"Content-Length: 0\r\n\r\n")
        assert (await quick[0].readline()).startswith(b"HTTP/1.1 204")
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        slow[0][1].write(head)
        slow[1][1].write(head + b"Content-Length: 10\r\n\r\nhalf")
        too_many = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            assert await _end(too_many[0]) == b""
            for reader, _ in slow:
                assert await _end(reader) == b""
        quick[1].write(head + b"Content-Length: 0\r\n\r\n")  # idle for longer than that, and still welcome
        await quick[0].readuntil(b"\r\n\r\n")
        assert (await quick[0].readline()).startswith(b"HTTP/1.1 204")
        for _, writer in (quick, *slow, too_many):
            writer.close()
        closing.cancel()


async def test_a_head_that_does_not_end_is_431_and_a_body_of_that_size_is_none_of_its_business() -> None:
    async with _serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"b" * 1_000_000)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.write(b"POST / HTTP/1.1\r\nX-Long: " + b"h" * 1_000_000)
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 431")
        writer.close()


async def test_heads_of_countless_lines_and_countless_requests_at_once_are_431() -> None:
    line = b"POST / HTTP/1.1\r\nHost: x\r\n"
    empty = b"Content-Length: 0\r\n\r\n"
    async with _serving() as (_, port):
        for sent in (line + b"a:\r\n" * 257 + empty, (line + empty) * 100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(5):
                assert b"HTTP/1.1 431" in await _end(reader)
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(line + b"a: b\r\n" * 250 + empty + (line + empty) * 20)
        async with asyncio.timeout(5):
            for _ in range(21):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()


async def test_at_a_stop_what_a_sender_has_already_written_is_still_answered() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    async with _serving() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(request)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            for connection in server.server_state.connections:
                connection.shutdown()
        async with asyncio.timeout(5):
            assert await _end(reader) == b""
        writer.close()


async def _end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
