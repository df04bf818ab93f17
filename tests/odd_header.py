"""Writes records with a header whose name is no UTF-8: ``python -m tests.odd_header SERVERS TOPIC...``.

A process of its own, because aiokafka's producer writes such a name only in pure Python, and that is chosen at import.
"""

from __future__ import annotations

import asyncio
import os
import sys

os.environ["AIOKAFKA_NO_EXTENSIONS"] = "1"

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # it ships no types


class _Odd(str):
    """A name that is written as bytes which are no text."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return them."""
        del encoding, errors
        return b"\xff\xfe"


async def _write(servers: str, topics: list[str]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=servers)
    await producer.start()
    try:
        for topic in topics:
            await producer.send_and_wait(
                topic, value=b"odd", key=b"s:odd", headers=[("event_id", b"e"), (_Odd("x"), b"1")]
            )
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], sys.argv[2:]))
