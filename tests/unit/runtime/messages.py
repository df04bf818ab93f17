"""Consumed messages, and a consumer that gives what a test lays down."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, TopicPartition


class Message:
    """A record, or with ``error`` the end of a partition or a trouble."""

    def __init__(
        self,
        offset: int,
        key: bytes = b"k",
        value: bytes | None = b"v",
        *,
        error: int | None = None,
        topic: str = "t",
        partition: int = 0,
    ) -> None:
        self._place = (topic, partition, offset)
        self._key, self._value = key, value
        self._error = None if error is None else KafkaError(error)

    def error(self) -> KafkaError | None:
        return self._error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._place[2]

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def headers(self) -> None:
        return None


def end(offset: int, topic: str = "t", partition: int = 0) -> Message:
    """Return the news that a partition has no more."""
    return Message(offset, error=KafkaError._PARTITION_EOF, topic=topic, partition=partition)


class Client:
    """A consumer whose polls give what is in ``coming``, and otherwise nothing: a silent one."""

    def __init__(self, *coming: Message) -> None:
        self.coming = list(coming)
        self.assigned: list[TopicPartition] = []
        self.closed = False
        self.read = -1001

    def poll(self, _seconds: float) -> Message | None:
        taken = self.consume(1, 0)
        return taken[0] if taken else None

    def consume(self, most: int, timeout: float) -> list[Message]:
        del timeout
        taken, self.coming = self.coming[:most], self.coming[most:]
        self.read = max([self.read, *(one.offset() + 1 for one in taken if one.error() is None)])
        return taken

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = places

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(one.topic, one.partition, self.read) for one in places]

    def memberid(self) -> str:
        return f"member-{id(self)}"

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        return _Metadata(topic)

    def close(self) -> None:
        self.closed = True


class _Metadata:
    def __init__(self, topic: str) -> None:
        self.topics = {topic: _Topic()}


class _Topic:
    error = None
    partitions = {0: None}  # noqa: RUF012 - as the library has it
