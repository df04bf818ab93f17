"""The shortcut past ASGI writes what uvicorn itself would have written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from producers.exchange import Answer, send_answer, success, unavailable
from tests.unit.producers.parts import until

_HEAD = b"/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
_BODY = b"\r\n{}"


class Application:
    """Answers each request, with and without the shortcut in turns."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.shortcut = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

        async def plainly(message: Message) -> None:
            await send(message)

        self.shortcut = not self.shortcut
        await send_answer(send if self.shortcut else plainly, self.answer)


@asynccontextmanager
async def connected(application: Application) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    config = uvicorn.Config(
        application, port=0, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    connection = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    try:
        yield connection
    finally:
        connection[1].close()
        server.should_exit = True
        await serving


@pytest.mark.parametrize("answer", [success(202, event_ids=["a"]), Answer(status=400, body=b""), unavailable("no")])
async def test_answers_are_the_same_byte_for_byte_and_the_connection_lives_on(answer: Answer) -> None:
    async with connected(Application(answer)) as (reader, writer):
        answers = []
        for _ in range(4):
            writer.write(b"POST " + _HEAD + _BODY)
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"date:")]
            answers.append((lines, await reader.readexactly(len(answer.body))))
        assert answers == [answers[0]] * 4


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with connected(Application(success(200))) as (reader, writer):
        writer.write((b"POST " + _HEAD + _BODY) * 6)
        for _ in range(6):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(success(200).body)) == success(200).body


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b"Expect: 100-continue\r\nConnection: close\r\n"])
async def test_a_connection_that_shall_be_closed_is(more: bytes) -> None:
    async with connected(Application(success(200))) as (reader, writer):
        writer.write(b"POST " + _HEAD + more + _BODY)
        async with asyncio.timeout(5):
            everything = await reader.read()
        assert everything.endswith(success(200).body)
        assert b"connection: close" in everything
