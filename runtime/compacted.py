"""A small compacted topic, followed from its beginning, and how certain it is that all of it is known.

Compaction never takes the last word on a key away. So a topic in which keys are missing that were there has lost them
with records that somebody deleted, or it is another topic of the same name; then what was known stays in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from runtime.attention import Attention, Log
from runtime.failures import Transient
from runtime.kafka import incoming, partitions_of
from runtime.logs import logger, seldom
from runtime.reading import Reading
from schemas.records import Incoming
from schemas.topics import Topic


class NotSeen(Transient):
    """Kafka has not said yet where the topic begins and ends."""


@dataclass(slots=True)
class Standing:
    """What is known of the topic's keys. ``trusted`` is the log that said so, ``known`` are the keys that it had."""

    trusted: Log | None = None
    known: set[bytes] = field(default_factory=set)
    unconfirmed: set[bytes] = field(default_factory=set)
    whole: bool = False
    _log: Log | None = None
    _seen: set[bytes] = field(default_factory=set)
    _reached: dict[int, int] = field(default_factory=dict)

    @property
    def certain(self) -> bool:
        """Whether what is not known is not there."""
        return self.whole and not self.unconfirmed

    def begin(self, log: Log) -> None:
        """Say that ``log`` is read from its beginning now."""
        if self.trusted is not None and not log.continues(self.trusted):
            self.unconfirmed |= self.known
        self._log, self._seen, self._reached, self.whole = log, set(), {}, False

    def is_other(self, log: Log) -> bool:
        """Whether ``log`` is not what is being read any more."""
        return self._log is not None and not log.continues(self._log)

    def grew(self, log: Log) -> None:
        """Say how far the topic goes now."""
        self._log = log
        if self.certain:
            self.trusted = log

    def took(self, key: bytes, *, removed: bool) -> None:
        """Say that the topic has a word on ``key``."""
        self._seen.add(key)
        self.unconfirmed.discard(key)
        (self.known.discard if removed else self.known.add)(key)

    def ended(self, partition: int, offset: int) -> set[bytes]:
        """Say that a partition is read up to ``offset``; return the keys that are gone, once all of it is read.

        Gone is what an earlier reading of the same log had: it was removed so long ago that compaction took that away.
        """
        self._reached[partition] = offset
        log = self._log
        if log is None or any(self._reached.get(partition, -1) < end for partition, end in log.ends.items() if end):
            return set()
        gone = set() if self.whole else self.known - self._seen - self.unconfirmed
        self.known -= gone
        self.whole = True
        if self.certain:
            self.trusted = log
        return gone


class CompactedTopic:
    """Reads the topic for one thread. ``log`` says what Kafka has of it now; ``known`` are keys of an earlier process,
    and ``trusted`` the log that it had them from.
    """

    def __init__(
        self,
        topic: Topic,
        connect: Callable[[], Consumer],
        log: Callable[[], Log | None],
        *,
        attention: Attention,
        name: str,
        known: Iterable[bytes] = (),
        trusted: Log | None = None,
    ) -> None:
        """``connect`` makes a consumer that says when it is at the end of a partition."""
        self._topic = topic
        self._log = log
        self._reading = Reading(connect, self._begin, attention=attention, name=name)
        self._begun = False
        self.standing = Standing(trusted=trusted, known=set(known))

    def read(self, most: int, seconds: float) -> tuple[list[Incoming], set[bytes]]:
        """Return the records that came within ``seconds``, and the keys that are found to be gone.

        Raises:
            NotSeen: Kafka does not answer yet.
            confluent_kafka.KafkaException: nor does it answer the reader.
            Fatal: the topic does not exist.
        """
        now = self._log()
        if now is not None and self.standing.is_other(now):
            logger().error("topic.replaced", topic=self._topic.name, known=len(self.standing.known))
            self._reading.renew()
        if now is not None:
            self.standing.grew(now)
        records: list[Incoming] = []
        gone: set[bytes] = set()
        for message in self._reading.consume(most, seconds):
            error = message.error()
            if error is None:
                record = incoming(message)
                self.standing.took(record.key or b"", removed=record.value is None)
                records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                gone |= self._ended(message.partition() or 0, message.offset() or 0)
            else:
                seldom("topic.read_failed", topic=self._topic.name, dependency="kafka", error=error.name())
        return records, gone

    def close(self) -> None:
        """Stop reading."""
        self._reading.close()

    def _ended(self, partition: int, offset: int) -> set[bytes]:
        began = not self.standing.whole
        gone = self.standing.ended(partition, offset)
        if began and self.standing.whole and self.standing.unconfirmed:
            logger().error(
                "topic.lost_records",
                topic=self._topic.name,
                kept=len(self.standing.unconfirmed),
                remedy="what was known before stays in force; `goalpost admin webhook publish` writes the topic anew",
            )
        return gone

    def _begin(self, client: Consumer) -> None:
        log = self._log()
        if log is None:
            raise NotSeen(f"Kafka has not said where {self._topic.name} ends")
        if not self._begun:  # later on, a client that does not find the topic is the client's fault
            partitions_of(client, self._topic.name)
            self._begun = True
        self.standing.begin(log)
        client.assign([TopicPartition(self._topic.name, partition, OFFSET_BEGINNING) for partition in log.ends])
        self._reading.attention.owns((self._topic.name, partition) for partition in log.ends)
