"""Says for a stage that it has finished a topic, so that what one test leaves there is no other test's work."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from runtime import kafka
from schemas.records import Incoming
from schemas.topics import Topic

_SECONDS = 30.0


def finish(bootstrap_servers: str, group: str, topic: Topic, *, short_of: Incoming | None = None) -> None:
    """Commit the ends of ``topic``, in the partition of ``short_of`` only up to that record. Nobody may be at work."""
    client = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group})
    try:
        ends = kafka.end_offsets(client, topic.name, kafka.partitions_of(client, topic.name))
        if short_of is not None:
            ends[short_of.partition] = short_of.offset
        offsets = [TopicPartition(topic.name, partition, end) for partition, end in ends.items()]
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                client.commit(offsets=offsets, asynchronous=False)
                return
            except KafkaException:  # a worker of an earlier test that was killed is still taken for a member
                assert time.monotonic() < deadline
    finally:
        client.close()
