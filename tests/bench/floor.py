"""The least that a webhook can do and keep its promise, on the same server: ``python -m tests.bench.floor``.

Raw ASGI: read the body, compare the secret in constant time, produce a record as large as the service's, answer after
the acknowledgement. It parses nothing, checks nothing and knows no schema.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import threading
from typing import Final

import orjson
import uuid_utils
import uvicorn
import uvloop
from confluent_kafka import KafkaError, Message, Producer
from starlette.types import Receive, Scope, Send

from runtime import kafka

TOPIC: Final = "bench.floor"

_Report = tuple["asyncio.Future[KafkaError | None]", KafkaError | None]
# What the service writes around a body: ids, times and the parsed fields, and a second header.
_ENVELOPE: Final = os.urandom(189)
_WEBHOOK_ID: Final = b"7b0e5a52-3a35-4d37-9a7e-0f6b7a4f2a11"
_JSON: Final = (b"content-type", b"application/json")


class Floor:
    """The application. ``deliver`` has to run in a thread for as long as it serves."""

    def __init__(self, client: Producer, *, secret: bytes) -> None:
        self._client = client
        self._authorization = b"Bearer " + secret
        self._reports: list[_Report] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._authorization):
            await _answer(send, 401, b"{}")
            return
        event_id = str(uuid_utils.uuid7())
        error = await self._acknowledged(event_id.encode(), body)
        facts = {"success": error is None, "event_ids": [event_id]}
        await _answer(send, 202 if error is None else 503, orjson.dumps(facts))

    async def _acknowledged(self, event_id: bytes, body: bytes) -> KafkaError | None:
        outcome: asyncio.Future[KafkaError | None] = asyncio.get_running_loop().create_future()

        def delivered(error: KafkaError | None, _message: Message) -> None:
            self._reports.append((outcome, error))

        self._client.produce(
            TOPIC,
            key=event_id,
            value=_ENVELOPE + body,
            headers=[("event_id", event_id), ("webhook_id", _WEBHOOK_ID)],
            on_delivery=delivered,
        )
        return await outcome

    def deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report deliveries to ``loop``, which is woken once per poll, for ever."""
        while True:
            self._client.poll(0.1)
            if self._reports:
                reports, self._reports = self._reports, []
                loop.call_soon_threadsafe(_settle, reports)


def _settle(reports: list[_Report]) -> None:
    for outcome, error in reports:
        outcome.set_result(error)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [_JSON, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve() -> None:
    client = kafka.producer(os.environ["KAFKA_BOOTSTRAP_SERVERS"], client_id="floor")
    floor = Floor(client, secret=os.environ["BENCH_SECRET"].encode())
    threading.Thread(target=floor.deliver, args=(asyncio.get_running_loop(),), daemon=True).start()
    # The options that `goalpost webhook` gives the server.
    options = uvicorn.Config(
        floor,
        port=int(os.environ["BENCH_PORT"]),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    await uvicorn.Server(options).serve()


if __name__ == "__main__":
    uvloop.run(_serve())
