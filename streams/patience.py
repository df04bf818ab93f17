"""Waiting for a dependency: again and again, saying so once, until it answers or the process is to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from runtime import metrics
from runtime.failures import Transient
from runtime.lifecycle import Heartbeat, Stop
from runtime.logs import logger
from runtime.sending import Sends
from schemas.codec import Codec
from schemas.records import Outgoing
from streams.letters import STAGE

T = TypeVar("T")

_PAUSE_SECONDS: Final = 1.0


class StoppedWaiting(Exception):
    """The process was asked to stop while it waited for a dependency; what it had in hand will be read again."""


class Patience:
    """Turns ``Transient`` into waiting. ``obstacles`` is what is being waited for, for the readiness page."""

    def __init__(self, stop: Stop, heartbeat: Heartbeat) -> None:
        self._stop = stop
        self._heartbeat = heartbeat
        self._obstacles: dict[str, str] = {}

    @property
    def obstacles(self) -> Mapping[str, str]:
        """What does not answer now, by dependency."""
        return dict(self._obstacles)

    def until_answered(self, dependency: str, ask: Callable[[], T], *, pause_seconds: float = _PAUSE_SECONDS) -> T:
        """Return what ``ask`` returns, asking again after a pause while it raises ``Transient``.

        Raises:
            StoppedWaiting: the process was asked to stop.
        """
        while True:
            try:
                answer = ask()
            except Transient as problem:
                self._say(dependency, str(problem))
            else:
                if self._obstacles.pop(dependency, None) is not None:
                    logger().info("dependency.answered", dependency=dependency)
                return answer
            # A restart would not help, so waiting is no stall.
            self._heartbeat.beat()
            if self._stop.wait(pause_seconds):
                raise StoppedWaiting(dependency)

    def _say(self, dependency: str, problem: str) -> None:
        metrics.RETRIED.labels(STAGE, dependency).inc()
        if dependency not in self._obstacles:
            logger().warning("dependency.awaited", dependency=dependency, problem=problem)
        self._obstacles[dependency] = problem


class PatientSender:
    """Writes for as long as it takes: while Kafka acknowledges nothing, it waits and nothing is lost."""

    def __init__(self, sender: Sends, patience: Patience) -> None:
        self._sender = sender
        self._patience = patience

    def send(self, records: Sequence[Outgoing]) -> None:
        """Write ``records`` in order and return when all are acknowledged.

        Raises:
            StoppedWaiting: the process was asked to stop before.
            runtime.kafka.DeliveryFailed: a record cannot be written, however often it is tried.
        """
        self._patience.until_answered("kafka", lambda: self._sender.send(records))


class PatientDecoder(Generic[T]):
    """Decodes values; while the registry cannot be asked about a foreign schema, it waits and refuses nothing."""

    def __init__(self, codec: Codec[T], patience: Patience) -> None:
        self._codec = codec
        self._patience = patience

    def __call__(self, value: bytes | None) -> T:
        """Decode ``value``.

        Raises:
            Undecodable: the bytes are no such record.
            StoppedWaiting: the process was asked to stop while the registry did not answer.
        """
        try:
            return self._codec.decode(value)
        except Transient:
            return self._patience.until_answered("registry", lambda: self._codec.decode(value))
