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

# A message with its headers as Python objects takes several kilobytes, and those of a batch are alive together.
_BATCH: Final = 500
# Of each partition: what is asked for at once, compressed (unpacked it may be ten times that), and what may lie ready.
_FETCH_BYTES: Final = 256 * 1024
_AHEAD_KIB: Final = 1024

# Under which name brokers see a command that only looks.
_GROUP: Final = "goalpost-command"

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


class NoRecord(LookupError):
    """There is no such record. The message says what there is instead."""


def records(
    bootstrap_servers: str, topics: Iterable[str], *, since_ms: int = 0, group: str = _GROUP
) -> Iterator[Incoming]:
    """Yield the records of ``topics`` with a timestamp from ``since_ms`` (epoch milliseconds) on, and then end.

    Records that arrive after the first step are left out. Within a partition they come in order. ``group`` is the
    name under which brokers see the reader; nothing joins it.

    Raises:
        ClusterUnavailable: no answer, or none any more.
        runtime.failures.Fatal: a topic does not exist.
    """
    with broker_calls(), closing(reader(bootstrap_servers, group)) as client:
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


def spans(bootstrap_servers: str, topics: Iterable[str], *, since_ms: int = 0) -> dict[Place, tuple[int, int]]:
    """Return first and behind-the-last offset of what :func:`records` would read now, by topic and partition.

    Raises:
        ClusterUnavailable, runtime.failures.Fatal: as there.
    """
    with broker_calls(), closing(reader(bootstrap_servers, _GROUP)) as client:
        starts, ends = _spans(client, topics, since_ms)
        return {place: (offset, ends[place]) for place, offset in starts.items()}


def record_at(bootstrap_servers: str, topic: str, partition: int, offset: int) -> Incoming:
    """Return the record that stands there.

    Raises:
        NoRecord: nothing does: no such partition or offset, or retention or compaction has removed it.
        ClusterUnavailable: no answer.
    """
    with broker_calls(), closing(reader(bootstrap_servers, _GROUP)) as client:
        there = kafka.partitions_of(client, topic)
        if partition not in there:
            raise NoRecord(f"{topic} has no partition {partition}; its partitions are {there[0]} to {there[-1]}")
        low, high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
        if low == high:
            raise NoRecord(f"partition {partition} of {topic} is empty; its next offset is {high}")
        if not low <= offset < high:
            raise NoRecord(f"partition {partition} of {topic} has no offset {offset}; it has {low} to {high - 1} now")
        client.assign([TopicPartition(topic, partition, offset)])
        message = next(_messages(client, {(topic, partition)}))
        found = None if message.error() else kafka.incoming(message)
        if found is None or found.offset != offset:
            raise NoRecord(f"nothing stands at offset {offset} of partition {partition} of {topic} any more")
        return found


def reader(bootstrap_servers: str, group: str) -> Consumer:
    """Return a consumer that takes partitions by itself and commits nothing; ``group`` is only its name."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "client.id": "goalpost-command",
            "group.id": group,  # the library wants one; nothing joins it and nothing is committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",  # what a killed replay left half done never happened
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 50,
            # The library would read 100 000 records ahead, which is what a command's memory would then consist of.
            "queued.min.messages": 10 * _BATCH,
            "queued.max.messages.kbytes": _AHEAD_KIB,
            "fetch.message.max.bytes": _FETCH_BYTES,
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
