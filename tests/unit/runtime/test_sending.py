"""A producer that is left without an answer is replaced, and what it was given is told to be unwritten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer

from runtime.kafka import DeliveryFailed
from runtime.sending import LastingSender, Unacknowledged
from schemas.records import Outgoing

RECORD = Outgoing(topic="t", key=b"k", value=b"v")


class Client:
    """A producer that acknowledges, says an error, or says nothing at all."""

    def __init__(self, error: int | None = None, *, silent: bool = False) -> None:
        self.error = error
        self.silent = silent
        self.written: list[bytes] = []
        self._waiting: list[tuple[bytes, Callable[..., None]]] = []

    def produce(self, _topic: str, *, value: bytes, on_delivery: Callable[..., None], **_: Any) -> None:
        self._waiting.append((value, on_delivery))

    def flush(self, _seconds: float) -> int:
        if self.silent:
            return len(self._waiting)
        for value, report in self._waiting:
            if self.error is None:
                self.written.append(value)
            report(None if self.error is None else KafkaError(self.error), cast(Any, self))
        self._waiting = []
        return 0

    def topic(self) -> str:
        return "t"


def sender(*clients: Client) -> tuple[LastingSender, list[Client]]:
    left = list(clients)
    return LastingSender(lambda: cast(Producer, left.pop(0)), client="test"), left


@pytest.mark.parametrize(
    "lost", [Client(silent=True), Client(KafkaError._MSG_TIMED_OUT), Client(KafkaError._UNKNOWN_PARTITION)]
)
def test_after_silence_another_client_is_asked(lost: Client) -> None:
    good = Client()
    made, left = sender(lost, good)
    with pytest.raises(Unacknowledged):
        made.send([RECORD])
    made.send([RECORD])
    made.send([RECORD])
    assert (lost.written, good.written, left) == ([], [b"v", b"v"], [])


def test_what_no_client_can_write_is_told_as_such() -> None:
    made, _ = sender(Client(KafkaError.MSG_SIZE_TOO_LARGE))
    with pytest.raises(DeliveryFailed):
        made.send([RECORD])


def test_without_records_nobody_connects() -> None:
    made, left = sender(Client())
    made.send([])
    assert len(left) == 1
