"""Sending for as long as a process runs: a producer that Kafka leaves without an answer is replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from confluent_kafka import Producer

from runtime.failures import Transient
from runtime.kafka import DeliveryFailed, Sender
from runtime.logs import seldom
from runtime.metrics import CLIENTS_RENEWED
from schemas.records import Outgoing


class Sends(Protocol):
    """What can be written through."""

    def send(self, records: Sequence[Outgoing]) -> None:
        """Write ``records`` in order; return when all are acknowledged, raise if one is not."""


class Unacknowledged(Transient):
    """Kafka has not acknowledged records within half a minute. Some may be stored all the same: a repeat doubles them,
    which changes nothing, since every effect goes by ``event_id``.
    """

    def __init__(self, cause: DeliveryFailed) -> None:
        where = cause.topic or "its topics"
        super().__init__(f"Kafka has not acknowledged what was written to {where} ({cause.error})")


class LastingSender:
    """Writes records and returns when all are acknowledged, over any number of producers. For one thread.

    ``connect`` makes a producer; the first one is made when it is needed.
    """

    def __init__(self, connect: Callable[[], Producer], *, client: str) -> None:
        """``client`` is what logs and metrics call it."""
        self._connect = connect
        self._client: Final = client
        self._sender: Sender | None = None

    def send(self, records: Sequence[Outgoing]) -> None:
        """Write ``records`` in order and wait for all acknowledgements.

        Raises:
            Unacknowledged: not now. The producer is given up with all that it holds; the next call has another one.
            DeliveryFailed: a record cannot be written, however often it is tried.
        """
        if not records:
            return
        if self._sender is None:
            self._sender = Sender(self._connect())
        try:
            self._sender.send(records)
        except DeliveryFailed as failure:
            # What it still holds must not come after the repeat, and it may be silent for good.
            self._sender = None
            CLIENTS_RENEWED.labels(self._client).inc()
            seldom("client.renewed", client=self._client, why=failure.error)
            if failure.hopeless:
                raise
            raise Unacknowledged(failure) from failure
