"""Bounded reading of topics for commands: from a time to where the topic ended when the command began.

Nothing is committed and no group is joined, so a look never disturbs a process.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from runtime import kafka
from runtime.failures import Transient
from schemas.records import Incoming

_SECONDS: Final = 10.0

# A broker that has said nothing for this long in the middle of a scan is gone.
_SILENCE_SECONDS: Final = 30.0

# The library's own lines about lost connections would come between a command's; errors come as exceptions.
_SILENT: Final = 0

_BATCH: Final = 5_000

Place = tuple[str, int]


class ClusterUnavailable(Transient):
    """Kafka does not answer."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Kafka does not answer ({cause}). Is it running? Check KAFKA_BOOTSTRAP_SERVERS.")


@contextmanager
def broker_calls() -> Iterator[None]:
    """Turn the client library's errors inside the block into :class:`ClusterUnavailable`."""
    try:
        yield
    except KafkaException as exc:
        raise ClusterUnavailable(cause_of(exc)) from exc


def cause_of(error: KafkaException) -> str:
    """Return the broker's or client library's own words."""
    cause = error.args[0]
    return str(cause.str() if isinstance(cause, KafkaError) else cause)


def admin(bootstrap_servers: str) -> AdminClient:
    """Return a client for topics that leaves it to exceptions to say that a broker does not answer."""
    return AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": _SILENT})


def records(bootstrap_servers: str, topics: Iterable[str], *, since_ms: int = 0) -> Iterator[Incoming]:
    """Yield the records of ``topics`` with a timestamp from ``since_ms`` (epoch milliseconds) on, and then end.

    Records that arrive after the first step are left out. Within a partition they come in order.

    Raises:
        ClusterUnavailable: no answer, or none any more.
        runtime.failures.Fatal: a topic does not exist.
    """
    with broker_calls(), closing(_reader(bootstrap_servers)) as client:
        starts, ends = _spans(client, topics, since_ms)
        client.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
        unfinished = set(starts)
        for message in _messages(client, unfinished):
            place = (str(message.topic()), int(message.partition() or 0))
            record = None if message.error() else kafka.incoming(message)
            # The end of the partition tells too: compaction may have removed the very last record that was there.
            if record is None or record.offset >= ends[place] - 1:
                unfinished.discard(place)
            if record is not None and record.offset < ends[place]:
                yield record


def record_at(bootstrap_servers: str, topic: str, partition: int, offset: int) -> Incoming | None:
    """Return the record that stands there, or ``None`` where retention or compaction has removed it.

    Raises:
        ClusterUnavailable: no answer.
    """
    with broker_calls(), closing(_reader(bootstrap_servers)) as client:
        low, high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
        if not low <= offset < high:
            return None
        client.assign([TopicPartition(topic, partition, offset)])
        message = next(_messages(client, {(topic, partition)}))
        found = None if message.error() else kafka.incoming(message)
        return found if found is not None and found.offset == offset else None


def _reader(bootstrap_servers: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "goalpost-command",
            "group.id": "goalpost-command",  # the library wants one; nothing joins it and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 50,
            "log_level": _SILENT,
        }
    )


def _spans(client: Consumer, topics: Iterable[str], since_ms: int) -> tuple[dict[Place, int], dict[Place, int]]:
    """Return first and behind-the-last offset of every partition that has something to read."""
    places = [(topic, partition) for topic in topics for partition in kafka.partitions_of(client, topic)]
    lows_highs = {place: client.get_watermark_offsets(TopicPartition(*place), timeout=_SECONDS) for place in places}
    asked = [TopicPartition(*place, since_ms) for place in places]
    found = client.offsets_for_times(asked, timeout=_SECONDS) if asked and since_ms > 0 else []
    starts = {place: low for place, (low, _high) in lows_highs.items()}
    for start in found:
        place = (start.topic, start.partition)
        starts[place] = start.offset if start.offset >= 0 else lows_highs[place][1]
    ends = {place: high for place, (_low, high) in lows_highs.items()}
    return {place: offset for place, offset in starts.items() if offset < ends[place]}, ends


def _messages(client: Consumer, unfinished: set[Place]) -> Iterator[Message]:
    """Yield messages, and ends of partitions as messages with an error, while something is unfinished."""
    heard = time.monotonic()
    while unfinished:
        messages = client.consume(_BATCH, timeout=0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > _SILENCE_SECONDS:
            raise ClusterUnavailable(f"nothing came for {_SILENCE_SECONDS:.0f} s")
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            yield message
