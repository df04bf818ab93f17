"""The consumer of the state's topics: exactly the partitions, from exactly the offsets, that it is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from runtime.failures import Fatal, Transient
from runtime.kafka import incoming
from runtime.logs import logger
from schemas.records import Incoming
from streams.patience import Patience
from streams.state.progress import Place

_BATCH_RECORDS: Final = 5000
# How soon the caller comes round when nothing arrives; records themselves are not delayed by it.
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 10
_HOPELESS: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Records by partition, in the order of the offsets, and the places that have no more behind them now."""

    records: Mapping[int, list[Incoming]]
    ended: Sequence[Place] = ()


class Reader:
    """Reads for one thread."""

    def __init__(self, connect: Callable[[], Consumer], patience: Patience) -> None:
        """``connect`` returns a consumer that says when it is at the end of a partition."""
        self._connect = connect
        self._consumer = connect()
        self._patience = patience

    def renew(self) -> None:
        """Go on with another client; it reads nothing before :meth:`read_from`."""
        self._consumer.close()
        self._consumer = self._connect()

    def ends(self, place: Place) -> tuple[int, int]:
        """Where a partition begins and ends now; waits while Kafka does not answer."""
        return self._patience.until_answered("kafka", lambda: self._ask_for_ends(place))

    def read_from(self, positions: Mapping[Place, int]) -> None:
        """Read these and no others from now on."""
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in positions.items()])

    def poll(self) -> Arrived:
        """Return what has arrived, or nothing after a moment.

        Raises:
            Fatal: a topic is gone or may not be read.
        """
        records: defaultdict[int, list[Incoming]] = defaultdict(list)
        ended: list[Place] = []
        first = self._consumer.poll(_POLL_SECONDS)
        rest = () if first is None else (first, *self._consumer.consume(_BATCH_RECORDS - 1, timeout=0))
        for message in rest:
            error = message.error()
            if error is None:
                records[message.partition() or 0].append(incoming(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.append((message.topic() or "", message.partition() or 0))
            else:
                _consider(error)
        return Arrived(records=records, ended=ended)

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def _ask_for_ends(self, place: Place) -> tuple[int, int]:
        problem = f"Kafka does not say where {place[0]} {place[1]} ends"
        try:
            ends = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECONDS)
        except KafkaException as exc:
            raise Transient(f"{problem} ({exc.args[0].name()})") from exc
        if ends is None:
            raise Transient(problem)
        return ends


def _consider(error: KafkaError) -> None:
    if error.fatal() or error.code() in _HOPELESS:
        raise Fatal(f"the join's state cannot be followed ({error}). Check `goalpost topics check` and the broker.")
    logger().warning("state.read_failed", problem=error.name())
