"""Records to ``web.sessions``, and the turn in which they are written.

Under ``s:`` the last record stands. So whoever reads rows and writes their sessions does so in turn: the rows are read
after the turn has come and acknowledged before it is over, and no older state of a row is ever written behind a newer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaException, Producer

from runtime.failures import Transient
from runtime.kafka import DeliveryFailed, Sender, partitions_of
from schemas.codec import Codec
from schemas.events import Session
from schemas.records import Outgoing
from schemas.topics import SESSIONS
from sinks.postgres.connection import Connection, translated_errors

# Any number, as long as no other program locks it.
_TURN: Final = int.from_bytes(hashlib.sha256(b"goalpost sessions").digest()[:8], "big", signed=True)


class KafkaUnavailable(Transient):
    """Kafka has not acknowledged the sessions."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Kafka has not acknowledged the sessions ({cause}). Check KAFKA_BOOTSTRAP_SERVERS.")


@contextmanager
def turn(connection: Connection) -> Iterator[None]:
    """A transaction in which nobody else writes sessions of this table; an error undoes what it changed.

    The lock belongs to the transaction, so that it also holds behind a pooler that shares sessions. The site's own
    writes are not kept waiting: only our rows are locked.

    Raises:
        Contention: another one's turn takes longer than a few seconds.
        PostgresUnavailable: no answer.
    """
    with translated_errors(), connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
        yield


class SessionTopic:
    """``web.sessions`` for writing; connects when it is first needed, and anew after a failure."""

    def __init__(self, producer: Callable[[], Producer], codec: Callable[[], Codec[Session]]) -> None:
        self._producer = producer
        self._load_codec = codec
        self._codec: Codec[Session] | None = None
        self._sender: Sender | None = None

    @property
    def codec(self) -> Codec[Session]:
        """The codec of the topic.

        Raises:
            RegistryUnavailable: no answer.
            Fatal: the schema is not registered.
        """
        if self._codec is None:
            self._codec = self._load_codec()
        return self._codec

    def write(self, records: Sequence[Outgoing]) -> None:
        """Write ``records`` in order and return when all are acknowledged.

        Raises:
            KafkaUnavailable: one was not. A repeat does no harm.
            Fatal: the topic is not there.
        """
        try:
            self._connected().send(records)
        except DeliveryFailed as exc:
            self._sender = None  # what is still queued in it must not come after the repeat
            raise KafkaUnavailable(exc.error) from exc

    def _connected(self) -> Sender:
        if self._sender is None:
            client = self._producer()
            try:
                partitions_of(client, SESSIONS.name)
            except KafkaException as exc:
                raise KafkaUnavailable(str(exc.args[0].str())) from exc
            self._sender = Sender(client)
        return self._sender
