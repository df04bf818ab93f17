"""The configuration of webhooks, as their compacted topic says it now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from runtime.failures import Transient
from runtime.kafka import incoming
from runtime.logs import logger
from schemas.codec import Undecodable
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import WEBHOOKS
from streams.patience import Patience

_POLL_SECONDS: Final = 0.2
_ANSWER_SECONDS: Final = 10
# Compaction can leave nothing between the last record and the end: the broker answers, and nothing comes.
_QUIET_SECONDS: Final = 5.0
_PLACE: Final = (WEBHOOKS.name, 0)


class Webhooks:
    """Webhook configurations by id. A change in the topic takes effect at once."""

    def __init__(self, *, consumer: Consumer, decode: Callable[[bytes | None], Webhook], patience: Patience) -> None:
        self._consumer = consumer
        self._decode = decode
        self._patience = patience
        self._by_id: dict[str, Webhook] = {}
        self._position = 0

    def get(self, webhook_id: str) -> Webhook | None:
        """The configuration of a webhook, or ``None`` if none is known."""
        return self._by_id.get(webhook_id)

    def known(self) -> Mapping[str, Webhook]:
        """Every configuration."""
        return dict(self._by_id)

    def read_to_end(self) -> None:
        """Read what is in the topic now. Events must not be resolved before this returns."""
        end = self._patience.until_answered("kafka", self._end)
        self._consumer.assign([TopicPartition(*_PLACE, OFFSET_BEGINNING)])
        quiet_since = time.monotonic()
        while self._position < end:
            if self._take(self._consumer.poll(_POLL_SECONDS)):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > _QUIET_SECONDS:
                end = min(self._position, self._patience.until_answered("kafka", self._end))
        logger().info("webhooks.read", webhooks=len(self._by_id))

    def follow(self, stop: threading.Event) -> None:
        """Take in changes until ``stop`` is set."""
        try:
            while not stop.is_set():
                self._take(self._consumer.poll(_POLL_SECONDS))
        finally:
            self._consumer.close()

    def _end(self) -> int:
        try:
            low_high = self._consumer.get_watermark_offsets(TopicPartition(*_PLACE), timeout=_ANSWER_SECONDS)
        except KafkaException as exc:
            raise Transient(f"Kafka does not say where {WEBHOOKS.name} ends ({exc})") from exc
        if low_high is None:
            raise Transient(f"Kafka does not say where {WEBHOOKS.name} ends")
        low, high = low_high
        return 0 if low == high else high

    def _take(self, message: Message | None) -> bool:
        """Take in what a poll returned; says whether it was a record."""
        if message is None:
            return False
        error = message.error()
        if error is not None:
            logger().warning("webhooks.read_failed", problem=str(error))
            return False
        record = incoming(message)
        self.take(record)
        self._position = record.offset + 1
        return True

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
