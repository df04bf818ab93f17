"""Topics of a benchmark: made, filled, watched and read again to the last record."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from runtime import kafka
from schemas.records import Incoming, Outgoing
from schemas.topics import DEFAULT_PARTITIONS, RAW

Offsets = Mapping[int, int]

_READ_AT_ONCE: Final = 5000
_SILENCE_SECONDS: Final = 30.0
# Short against a round of seconds, long against what a look costs the broker.
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Cluster:
    """The broker, as a benchmark uses it."""

    bootstrap_servers: str

    def create(self, *names: str) -> None:
        """Make topics with the partitions and settings of ``crm.events.raw``."""
        wanted = [
            NewTopic(name, num_partitions=DEFAULT_PARTITIONS, replication_factor=1, config=RAW.config())
            for name in names
        ]
        admin = kafka.admin(self.bootstrap_servers)
        for made in admin.create_topics(wanted).values():
            made.result()

    def write(self, records: Iterable[Outgoing]) -> None:
        """Write records with goalpost's producer options; return when all are acknowledged."""
        kafka.Sender(kafka.producer(self.bootstrap_servers, client_id="bench", linger_ms=20)).send(records)

    def ends(self, topic: str) -> dict[int, int]:
        """Return the end offset of each partition."""
        with _reader(self.bootstrap_servers) as reader:
            return kafka.end_offsets(reader, topic, kafka.partitions_of(reader, topic))

    def read(self, topic: str, *, since: Offsets) -> Iterator[Incoming]:
        """Yield every record that is there now, from the offsets ``since``."""
        with _reader(self.bootstrap_servers) as reader:
            ends = kafka.end_offsets(reader, topic, list(since))
            left = sum(ends.values()) - sum(since.values())
            reader.assign([TopicPartition(topic, partition, offset) for partition, offset in since.items()])
            while left > 0:
                messages = reader.consume(_READ_AT_ONCE, _SILENCE_SECONDS)
                if not messages:
                    raise TimeoutError(f"{topic}: {left} records could not be read")
                for message in messages:
                    if message.error() is not None:
                        raise RuntimeError(f"{topic}: {message.error()}")
                    left -= 1
                    yield kafka.incoming(message)

    def wait_for(
        self, topic: str, *, since: Offsets, records: int, within_seconds: float, each_look: Callable[[], None]
    ) -> None:
        """Return as soon as ``topic`` holds ``records`` more than at ``since``.

        Raises:
            TimeoutError: it does not within the time.
        """
        deadline = time.monotonic() + within_seconds
        goal = sum(since.values()) + records
        with _reader(self.bootstrap_servers) as reader:
            while (there := sum(kafka.end_offsets(reader, topic, list(since)).values())) < goal:
                each_look()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic}: {goal - there} of {records} records did not come")
                time.sleep(_LOOK_SECONDS)


def _reader(bootstrap_servers: str) -> Consumer:
    return kafka.consumer(bootstrap_servers, group=f"bench-{uuid.uuid4()}", client_id="bench")
