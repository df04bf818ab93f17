"""Reading Kafka for as long as a process runs: a consumer that is silent while it should not be is made anew.

The one way for every reader of every process. What a new client reads twice is the reader's to bear, as after a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime import metrics
from runtime.attention import Attention, Place
from runtime.kafka import retire
from runtime.logs import logger

# A reader whose owner was busy for so long was given nothing because it has not asked.
_UNASKED_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 1.0


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
        self._asked_at = self._looked_at = clock()
        self._ended: dict[Place, int] = {}
        self.attention = attention
        self.name: Final = name

    @property
    def client(self) -> Consumer:
        """The client of this moment."""
        if self._client is None:
            self.attention.begin()
            self._ended = {}
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
        if message is None:
            self.attention.emptied()
        else:
            self._noted((message,))
        return message

    def consume(self, most: int, seconds: float) -> list[Message]:
        """Return what came within ``seconds``; without waiting where that is 0."""
        if seconds:
            self._look_after()
        messages = self.client.consume(most, timeout=seconds)
        self._noted(messages)
        if len(messages) < most:
            self.attention.emptied()
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
        now = self._clock()
        if now - self._asked_at > _UNASKED_SECONDS:
            self.attention.excuse()
        self._asked_at = now
        if self._client is None or now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._tell(self._client)
        self._lag.set(self.attention.behind())
        if self.attention.silent():
            metrics.CLIENTS_RENEWED.labels(self.name).inc()
            logger().warning("client.renewed", client=self.name, why=self.attention.obstacle())
            self.renew()

    def _tell(self, client: Consumer) -> None:
        """Say where the client stands: once a second, since records come a hundred thousand times as often."""
        if self.attention.in_group:
            self.attention.joined(client.memberid())
        places = self.attention.places()
        with suppress(KafkaException):  # one of them was just taken away
            for part in client.position([TopicPartition(*place) for place in places]) if places else ():
                if part.error is None and part.offset >= 0:
                    place = (part.topic, part.partition)
                    self.attention.stands(place, max(part.offset, self._ended.get(place, 0)))

    def _noted(self, messages: Sequence[Message]) -> None:
        for message in messages:
            error = message.error()
            # Where a partition ends is what the position does not tell: behind offsets that hold no record.
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
                self._ended[place] = offset
                self.attention.took(place, offset)
