"""The configuration of webhooks, as their compacted topic says it now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from runtime.failures import Transient
from runtime.kafka import incoming
from runtime.logs import logger
from schemas.codec import Undecodable
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import WEBHOOKS
from streams.patience import Patience

_POLL_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 5.0
# After so many of these without a record, half a minute, another client is tried: one that met a broker in the middle
# of its own start was seen to fetch nothing for good.
_SILENT_ANSWERS: Final = 6
_PLACE: Final = (WEBHOOKS.name, 0)


class Webhooks:
    """Webhook configurations by id. A change in the topic takes effect at once.

    ``connect`` returns a consumer that says when it is at the end of a partition.
    """

    def __init__(
        self, *, connect: Callable[[], Consumer], decode: Callable[[bytes | None], Webhook], patience: Patience
    ) -> None:
        self._connect = connect
        self._decode = decode
        self._patience = patience
        self._by_id: dict[str, Webhook] = {}
        self._at_end = False

    def get(self, webhook_id: str) -> Webhook | None:
        """The configuration of a webhook, or ``None`` if none is known."""
        return self._by_id.get(webhook_id)

    def known(self) -> Mapping[str, Webhook]:
        """Every configuration."""
        return dict(self._by_id)

    def read_to_end(self) -> None:
        """Read what is in the topic now. Events must not be resolved before this returns."""
        self._begin()
        self._patience.until_answered("kafka", self._read)
        logger().info("webhooks.read", webhooks=len(self._by_id))

    def _begin(self) -> None:
        self._consumer = self._connect()
        self._consumer.assign([TopicPartition(*_PLACE, OFFSET_BEGINNING)])
        self._silent = 0

    def _read(self) -> None:
        if self._silent == _SILENT_ANSWERS:
            self._consumer.close()
            self._begin()
        while not self._at_end:
            message = self._consumer.poll(_ANSWER_SECONDS)
            if message is None:
                self._silent += 1
                raise Transient(f"Kafka does not give {WEBHOOKS.name} to its end")
            self._take(message)

    def follow(self, stop: threading.Event) -> None:
        """Take in changes until ``stop`` is set."""
        try:
            while not stop.is_set():
                self._take(self._consumer.poll(_POLL_SECONDS))
        finally:
            self._consumer.close()

    def _take(self, message: Message | None) -> None:
        """Take in what a poll returned."""
        if message is None:
            return
        error = message.error()
        if error is None:
            self.take(incoming(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            self._at_end = True
        else:
            logger().warning("webhooks.read_failed", problem=str(error))

    def take(self, record: Incoming) -> None:
        """Take in one record. A bad one is left out, so the version before it stays in force."""
        webhook_id = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            self._by_id.pop(webhook_id, None)
            return
        try:
            webhook = self._decode(record.value)
        except Undecodable as problem:
            logger().error("webhook.refused", webhook_id=webhook_id, offset=record.offset, problem=problem.reason)
            return
        self._by_id[webhook.webhook_id] = webhook
