"""Writes what a run does to Kafka, all or nothing: records that go back, and the marks that they did."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from goalpost.cluster import ClusterUnavailable, cause_of
from runtime import kafka
from runtime.failures import Fatal
from schemas.records import Outgoing

# One name for every run, so that Kafka itself lets only one of them write: the last that started.
_TRANSACTIONS: Final = "goalpost-dlq"
_SECONDS: Final = 30.0
# What a killed run has begun holds up readers of its partitions no longer than this (and the broker's next look).
_TRANSACTION_SECONDS: Final = 10.0
_TAKEN_OVER: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


class TakenOver(Fatal):
    """Another run of goalpost dlq has begun meanwhile. What this one was about to do is undone; let that one end."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class TransactionalSender:
    """Sends batches, each in one transaction of Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Take over from any other run, and undo what a killed one has left half done.

        Raises:
            goalpost.cluster.ClusterUnavailable: no answer, or transactions cannot be had.
        """
        self._client: Producer = kafka.producer(
            bootstrap_servers,
            client_id=_TRANSACTIONS,
            transaction=_TRANSACTIONS,
            transaction_seconds=_TRANSACTION_SECONDS,
            delivery_seconds=_TRANSACTION_SECONDS,
        )
        self._sender = kafka.Sender(self._client)
        self._carefully(lambda: self._client.init_transactions(_SECONDS))

    def send(self, records: Iterable[Outgoing]) -> None:
        """Write ``records``; return when all are there for readers of committed records.

        Raises:
            TakenOver: another run has begun.
            runtime.kafka.DeliveryFailed, goalpost.cluster.ClusterUnavailable: none of them is there.
        """
        batch = list(records)
        if not batch:
            return
        self._carefully(self._client.begin_transaction)
        try:
            self._sender.send(batch)
        except kafka.DeliveryFailed:
            self._carefully(lambda: self._client.abort_transaction(_SECONDS))
            raise
        self._carefully(lambda: self._client.commit_transaction(_SECONDS))

    def _carefully(self, act: Callable[[], object]) -> None:
        try:
            act()
        except KafkaException as exc:
            if exc.args[0].code() in _TAKEN_OVER:
                raise TakenOver from exc
            raise ClusterUnavailable(cause_of(exc)) from exc
