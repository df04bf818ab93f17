"""The configuration of webhooks, as their compacted topic says it now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import KafkaException

from runtime.compacted import CompactedTopic, NotSeen
from runtime.failures import Transient
from runtime.last_known import LastKnown
from runtime.logs import logger, seldom
from schemas.codec import Undecodable
from schemas.events import Webhook
from schemas.records import Incoming
from schemas.topics import WEBHOOKS
from streams.patience import Patience

READER: Final = "webhooks"

_BATCH: Final = 500
_POLL_SECONDS: Final = 0.2
_PAUSE_SECONDS: Final = 1.0
# Reading to the end is waited for so long at a time, and then is a wait that /readyz names.
_POLLS: Final = 25


class Webhooks:
    """Webhook configurations by id. A change in the topic takes effect at once.

    A topic that has lost records takes nothing away: ``last_known`` keeps for the next process what it said.
    """

    def __init__(
        self,
        topic: CompactedTopic,
        *,
        decode: Callable[[bytes | None], Webhook],
        patience: Patience,
        last_known: LastKnown,
    ) -> None:
        self._topic = topic
        self._decode = decode
        self._patience = patience
        self._last_known = last_known
        self._values: dict[bytes, bytes] = {}
        self._by_id: dict[str, Webhook] = {}

    def get(self, webhook_id: str) -> Webhook | None:
        """The configuration of a webhook, or ``None`` if none is known."""
        return self._by_id.get(webhook_id)

    def known(self) -> Mapping[str, Webhook]:
        """Every configuration."""
        return dict(self._by_id)

    def read_to_end(self) -> None:
        """Read what is in the topic now. Events must not be resolved before this returns."""
        for value in self._last_known.webhooks():
            self._recall(value)
        self._patience.until_answered("kafka", self._read)
        logger().info("webhooks.read", webhooks=len(self._by_id), certain=self._topic.standing.certain)

    def follow(self, stop: threading.Event) -> None:
        """Take in changes until ``stop`` is set."""
        try:
            while not stop.is_set():
                try:
                    self._step()
                except (KafkaException, NotSeen) as problem:
                    seldom("webhooks.read_failed", dependency="kafka", problem=str(problem))
                    stop.wait(_PAUSE_SECONDS)
        finally:
            self._topic.close()

    def _read(self) -> None:
        try:
            for _ in range(_POLLS):
                self._step()
                if self._topic.standing.whole:
                    return
        except KafkaException as problem:
            raise Transient(f"Kafka does not answer ({problem.args[0].name()})") from problem
        raise Transient(f"Kafka does not give {WEBHOOKS.name} to its end")

    def _step(self) -> None:
        records, gone = self._topic.read(_BATCH, _POLL_SECONDS)
        for record in records:
            self.take(record)
        for key in gone:
            self._forget(key)
        if (records or gone) and self._topic.standing.whole:
            self._last_known.remember_webhooks(self._values.values(), self._topic.standing.trusted)

    def take(self, record: Incoming) -> None:
        """Take in one record. A bad one is left out, so the version before it stays in force."""
        key = record.key or b""
        if record.value is None:
            self._forget(key)
            return
        try:
            webhook = self._decode(record.value)
        except Undecodable as problem:
            name = key.decode("utf-8", "replace")
            logger().error("webhook.refused", webhook_id=name, offset=record.offset, problem=problem.reason)
            return
        self._keep(webhook, record.value)

    def _recall(self, value: bytes) -> None:
        """Know what an earlier process knew, until the topic has a word on it."""
        try:
            webhook = self._decode(value)
        except Undecodable:
            return
        self._keep(webhook, value)
        self._topic.standing.known.add(webhook.webhook_id.encode())

    def _keep(self, webhook: Webhook, value: bytes) -> None:
        self._by_id[webhook.webhook_id] = webhook
        self._values[webhook.webhook_id.encode()] = value

    def _forget(self, key: bytes) -> None:
        self._values.pop(key, None)
        self._by_id.pop(key.decode("utf-8", "replace"), None)
