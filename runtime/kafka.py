"""Kafka clients with every option that matters for safety written out, and one way to send and be sure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from runtime.failures import Fatal
from runtime.logs import seldom
from schemas.construct import constructor
from schemas.records import Headers, Incoming, Outgoing
from schemas.topics import RECORD_LIMIT_BYTES

# Java's partitioner: every producer must put a key where the join looks for it.
PARTITIONER: Final = "murmur2_random"

_SECONDS_TO_DELIVER: Final = 30

_record = constructor(Incoming)

# For a header name that is no UTF-8 the library returns a list and sets an error as well. A direct call, once Python
# has made it fast, leaves that error to whatever comes next; called through here it is raised at once.
_listed = methodcaller("headers")

# How every client finds its brokers again. A broker that has just gone on after a freeze names no broker at all for a
# moment, and a client believes it and forgets the only one that it knew: without `rebootstrap` for good. With it, and
# all brokers gone, a client begins anew as often as it may connect: with the default of 100 ms that is seven log lines
# a second and client, with 500 ms less than two, and a third of the CPU time. The library's upper limit of ten seconds
# would be added to every outage of minutes.
_RECOVERING: Final[dict[str, str | int | float | bool]] = {
    "metadata.recovery.strategy": "rebootstrap",
    "metadata.recovery.rebootstrap.trigger.ms": 30_000,
    "reconnect.backoff.ms": 500,
    "reconnect.backoff.max.ms": 1000,
}

# librdkafka writes to standard error by itself, past our log format; this way its lines become ours.
_LIBRDKAFKA: Final = logging.getLogger("librdkafka")


# No other attempt will change these: the record or its topic has to be mended first.
_HOPELESS: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._INVALID_ARG,
    }
)


class DeliveryFailed(Fatal):
    """Kafka did not acknowledge a record. Nothing that depends on it may be committed; the process ends un-acked."""

    def __init__(self, topic: str, error: str, *, hopeless: bool = False) -> None:
        """``hopeless``: no repeat will change it, with whatever client."""
        super().__init__(
            f"{topic}: record not acknowledged ({error}). Check the broker; the record will be read again."
        )
        self.topic = topic
        self.error = error
        self.hopeless = hopeless


def producer(
    bootstrap_servers: str,
    *,
    client_id: str,
    linger_ms: float = 2,
    delivery_seconds: float = _SECONDS_TO_DELIVER,
    queue_kbytes: int = 256 * 1024,
    transaction: str | None = None,
    transaction_seconds: float = 60,
) -> Producer:
    """Return an idempotent producer that counts a record as sent only when all in-sync replicas have it.

    A record that is not acknowledged within ``delivery_seconds`` fails; ``queue_kbytes`` bounds what waits in memory.
    With ``transaction`` it writes in transactions under that id, which the broker ends after ``transaction_seconds``.
    """
    transactional = {"transactional.id": transaction, "transaction.timeout.ms": int(transaction_seconds * 1000)}
    return Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": PARTITIONER,
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "delivery.timeout.ms": int(delivery_seconds * 1000),
            "queue.buffering.max.kbytes": queue_kbytes,
            **_RECOVERING,
            "message.max.bytes": RECORD_LIMIT_BYTES,
            "log.connection.close": False,
            "logger": _LIBRDKAFKA,
            **(transactional if transaction is not None else {}),
        }
    )


def offsets_answered(error: KafkaError | None, _offsets: Sequence[TopicPartition]) -> None:
    """Say so if Kafka has refused a commit; a consumer's ``on_commit``.

    The effects are durable; whoever owns the partition next reads the records again, which changes nothing.
    """
    if error is not None:
        seldom("offsets.not_committed", dependency="kafka", error=str(error))


def consumer(
    bootstrap_servers: str,
    *,
    group: str,
    client_id: str,
    says_ends: bool = False,
    on_commit: Callable[[KafkaError | None, Sequence[TopicPartition]], None] | None = None,
) -> Consumer:
    """Return a consumer that starts at the beginning and commits only what its owner says.

    With ``says_ends`` it returns a message with the error ``_PARTITION_EOF`` whenever it comes to a partition's end.
    ``on_commit`` is called, by ``poll``, with Kafka's answer to each commit that was not waited for.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group,
            "client.id": client_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.wait.max.ms": 50,
            "enable.partition.eof": says_ends,
            "allow.auto.create.topics": False,
            "isolation.level": "read_committed",  # what a killed replay left half done never happened
            "session.timeout.ms": 10_000,
            **_RECOVERING,
            "log.connection.close": False,
            "logger": _LIBRDKAFKA,
            **({"on_commit": on_commit} if on_commit is not None else {}),
        }
    )


def admin(bootstrap_servers: str) -> AdminClient:
    """Return a client for topics and offsets."""
    options = {"bootstrap.servers": bootstrap_servers, "log.connection.close": False, **_RECOVERING}
    return AdminClient(options, logger=_LIBRDKAFKA)


def retire(client: Consumer) -> None:
    """Let go of a consumer that is given up, without waiting: its last words to a silent broker would take seconds."""
    threading.Thread(target=client.close, name="retired", daemon=True).start()


def incoming(message: Message) -> Incoming:
    """Return a consumed message as a plain value."""
    return _record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=message.timestamp()[1],
        key=_as_bytes(message.key()),
        value=_as_bytes(message.value()),
        headers=_headers(message),
    )


def _as_bytes(part: str | bytes | None) -> bytes | None:
    return part.encode() if isinstance(part, str) else part


def _headers(message: Message) -> Headers:
    """Return the headers; none where a name is no UTF-8, which Kafka takes and the client library cannot say."""
    try:
        listed = _listed(message) or []
    except (SystemError, UnicodeDecodeError):
        return ()
    pairs = listed.items() if isinstance(listed, dict) else listed
    return tuple((str(pair[0]), _as_bytes(pair[1])) for pair in pairs)


class Sender:
    """Writes records and returns when Kafka has acknowledged every one of them."""

    def __init__(self, client: Producer) -> None:
        self._client = client

    def send(self, records: Iterable[Outgoing]) -> None:
        """Write ``records`` in order and wait for all acknowledgements.

        Raises:
            DeliveryFailed: at least one record was not acknowledged; some of the others may have been.
        """
        failures: list[DeliveryFailed] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(_failed(message.topic() or "", error))

        for record in records:
            self._produce(record, delivered)
        left = self._client.flush(_SECONDS_TO_DELIVER + 5)
        if left:
            failures.append(DeliveryFailed("", f"{left} records without an answer"))
        if failures:
            raise max(failures, key=lambda failure: failure.hopeless)

    def _produce(self, record: Outgoing, delivered: Callable[[KafkaError | None, Message], None]) -> None:
        while True:
            try:
                self._client.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    partition=record.partition,
                    on_delivery=delivered,
                )
                return
            except BufferError:  # the local queue is full: let deliveries drain
                self._client.poll(0.05)
            except KafkaException as exc:  # refused before it was queued, for example because of its size
                raise _failed(record.topic, exc.args[0]) from exc


def _failed(topic: str, error: KafkaError) -> DeliveryFailed:
    return DeliveryFailed(topic, str(error), hopeless=error.code() in _HOPELESS)


def end_offsets(client: Consumer, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Return the offset behind the last record of each partition, as the broker says now."""
    ends: dict[int, int] = {}
    for partition in partitions:
        low_high = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        ends[partition] = low_high[1] if low_high else 0
    return ends


def partitions_of(client: Consumer | Producer, topic: str) -> list[int]:
    """Return a topic's partitions.

    Raises:
        Fatal: the topic does not exist.
    """
    metadata = client.list_topics(topic, timeout=10).topics[topic]
    if metadata.error is not None:
        raise Fatal(f"topic {topic} is not there ({metadata.error}). Run `goalpost topics apply`.")
    return sorted(metadata.partitions)
