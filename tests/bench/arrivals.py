"""When a conversion can be read from its topic by somebody else."""

from __future__ import annotations

import threading
import time
import uuid
from types import TracebackType
from typing import Final, Self

from confluent_kafka import TopicPartition

from runtime import kafka
from schemas.records import EVENT_ID_HEADER, header
from schemas.topics import CONVERSIONS

_POLL_SECONDS: Final = 0.1


class Arrivals:
    """Reads ``crm.conversions`` from its end on, on a thread of its own.

    ``seen_at`` says when each event's conversion was first seen, by ``time.monotonic``; always a little late.
    """

    def __init__(self, bootstrap_servers: str) -> None:
        self._consumer = kafka.consumer(bootstrap_servers, group=f"bench-{uuid.uuid4()}", client_id="bench-arrivals")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._read, name="arrivals", daemon=True)
        self.seen_at: dict[str, float] = {}

    def __enter__(self) -> Self:
        partitions = kafka.partitions_of(self._consumer, CONVERSIONS.name)
        ends = kafka.end_offsets(self._consumer, CONVERSIONS.name, partitions)
        self._consumer.assign([TopicPartition(CONVERSIONS.name, partition, end) for partition, end in ends.items()])
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._consumer.close()

    def _read(self) -> None:
        while not self._done.is_set():
            message = self._consumer.poll(_POLL_SECONDS)
            if message is not None and message.error() is None:
                event_id = header(kafka.incoming(message).headers, EVENT_ID_HEADER) or ""
                self.seen_at.setdefault(event_id, time.monotonic())
