"""Reading Kafka for as long as a process runs: a consumer that is silent while it should not be is made anew.

The one way for every reader of every process. What a new client reads twice is the reader's to bear, as after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message

from runtime import metrics
from runtime.attention import Attention
from runtime.kafka import retire
from runtime.logs import logger

# A reader whose owner was busy for so long was given nothing because it has not asked.
_UNASKED_SECONDS: Final = 5.0


class Reading:
    """A consumer over any number of clients. For one thread, but for what ``attention`` offers to all.

    ``connect`` makes a client that says when it is at the end of a partition (``says_ends``); ``begin`` has it take up
    its work, by subscribing or by taking partitions, and may ask it where to.
    """

    def __init__(
        self,
        connect: Callable[[], Consumer],
        begin: Callable[[Consumer], None],
        *,
        attention: Attention,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects when it is first needed. ``name`` is what logs and metrics call the reader."""
        self._connect = connect
        self._begin = begin
        self._client: Consumer | None = None
        self._lag = metrics.BEHIND.labels(name)
        self._clock = clock
        self._asked_at = clock()
        self.attention = attention
        self.name: Final = name

    @property
    def client(self) -> Consumer:
        """The client of this moment."""
        if self._client is None:
            self.attention.begin()
            self._client = client = self._connect()
            try:
                self._begin(client)
            except Exception:
                self._client = None
                retire(client)
                raise
        return self._client

    @property
    def connected(self) -> bool:
        """Whether there is a client yet."""
        return self._client is not None

    def is_current(self, client: Consumer) -> bool:
        """Whether ``client`` still reads: one that is given up may go on calling back."""
        return client is self._client

    def poll(self, seconds: float) -> Message | None:
        """Return what came first within ``seconds``, if anything did: a record, an error, or the end of a partition."""
        self._look_after()
        message = self.client.poll(seconds)
        if message is not None:
            self._noted(message)
        return message

    def consume(self, most: int, seconds: float) -> list[Message]:
        """Return what came within ``seconds``; without waiting where that is 0."""
        if seconds:
            self._look_after()
        messages = self.client.consume(most, timeout=seconds)
        for message in messages:
            self._noted(message)
        return messages

    def renew(self) -> None:
        """Go on with another client."""
        if self._client is not None:
            client, self._client = self._client, None
            retire(client)
        _ = self.client

    def close(self) -> None:
        """Stop reading and leave the group, if there is one."""
        if self._client is not None:
            self._client.close()

    def _look_after(self) -> None:
        self._lag.set(self.attention.behind())
        if self._client is None:
            return
        if self._clock() - self._asked_at > _UNASKED_SECONDS:
            self.attention.excuse()
        self._asked_at = self._clock()
        if self.attention.in_group:
            self.attention.joined(self._client.memberid())
        if self.attention.silent():
            metrics.CLIENTS_RENEWED.labels(self.name).inc()
            logger().warning("client.renewed", client=self.name, why=self.attention.obstacle())
            self.renew()

    def _noted(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self.attention.took((message.topic() or "", message.partition() or 0), (message.offset() or 0) + 1)
        elif error.code() == KafkaError._PARTITION_EOF:
            self.attention.took((message.topic() or "", message.partition() or 0), message.offset() or 0)
