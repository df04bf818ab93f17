"""Reads single conversions back from Kafka, untouched, for their dead letters."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from runtime.failures import Transient
from runtime.kafka import incoming
from schemas.records import Incoming
from schemas.topics import CONVERSIONS

_SECONDS: Final = 10.0
_GONE: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})


class OriginalUnavailable(Transient):
    """Kafka does not give the record now."""


class Originals:
    """``crm.conversions`` by partition and offset. For one thread."""

    def __init__(self, client: Consumer) -> None:
        self._client = client

    def at(self, partition: int, offset: int) -> Incoming | None:
        """Return the record that stands there, or ``None`` when retention has deleted it.

        Raises:
            OriginalUnavailable: the broker does not answer.
        """
        try:
            return self._read(TopicPartition(CONVERSIONS.name, partition, offset))
        except KafkaException as exc:
            if exc.args[0].code() in _GONE:
                return None
            raise OriginalUnavailable(f"{CONVERSIONS.name} {partition}:{offset}: {exc.args[0].str()}") from exc

    def _read(self, place: TopicPartition) -> Incoming | None:
        low, high = self._client.get_watermark_offsets(place, timeout=_SECONDS)
        if not low <= place.offset < high:
            return None
        self._client.assign([place])
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            message = self._client.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            found = incoming(message)
            if found.partition == place.partition and found.offset >= place.offset:
                return found if found.offset == place.offset else None
        raise OriginalUnavailable(f"{CONVERSIONS.name} {place.partition}:{place.offset}: nothing within {_SECONDS} s")
