"""The consumer of the state's topics: exactly the partitions, from exactly the offsets, that it is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from runtime.attention import Attention, Place
from runtime.failures import Fatal, Transient
from runtime.kafka import incoming
from runtime.logs import seldom
from runtime.reading import Reading
from schemas.records import Incoming
from streams.patience import Patience

READER: Final = "state"

_BATCH_RECORDS: Final = 5000
# How soon the caller comes round when nothing arrives; records themselves are not delayed by it.
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 10
# A client that has lost its way answers at once that it knows of no such partition, so this is some seconds.
_ASKS_BEFORE_RENEWAL: Final = 8
_HOPELESS: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Records by partition, in the order of the offsets, and the places that have no more behind them now.

    ``lost``: a new client took over, which reads nothing before it is told from where.
    """

    records: Mapping[int, list[Incoming]]
    ended: Sequence[Place] = ()
    lost: bool = False


class Reader:
    """Reads for one thread."""

    def __init__(self, connect: Callable[[], Consumer], patience: Patience, attention: Attention) -> None:
        """``connect`` returns a consumer that says when it is at the end of a partition."""
        self._reading = Reading(connect, self._begin, attention=attention, name=READER)
        self._patience = patience
        self._lost = False
        self._asked_in_vain = 0

    def ends(self, place: Place) -> tuple[int, int]:
        """Where a partition begins and ends now; waits while Kafka does not answer."""
        return self._patience.until_answered("kafka", lambda: self._ask_for_ends(place))

    def read_from(self, positions: Mapping[Place, int]) -> None:
        """Read these and no others from now on."""
        self._reading.client.assign([TopicPartition(*place, offset) for place, offset in positions.items()])
        self._reading.attention.owns(positions)
        self._lost = False

    def poll(self) -> Arrived:
        """Return what has arrived, or nothing after a moment.

        Raises:
            Fatal: a topic is gone or may not be read.
        """
        records: defaultdict[int, list[Incoming]] = defaultdict(list)
        ended: list[Place] = []
        first = self._reading.poll(_POLL_SECONDS)
        rest = () if first is None else (first, *self._reading.consume(_BATCH_RECORDS - 1, 0))
        for message in rest:
            error = message.error()
            if error is None:
                records[message.partition() or 0].append(incoming(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.append((message.topic() or "", message.partition() or 0))
            else:
                _consider(error)
        return Arrived(records=records, ended=ended, lost=self._lost)

    def close(self) -> None:
        """Stop reading."""
        self._reading.close()

    def _begin(self, _client: Consumer) -> None:
        """A new client reads nothing before :meth:`read_from`."""
        self._lost = True

    def _ask_for_ends(self, place: Place) -> tuple[int, int]:
        problem = f"Kafka does not say where {place[0]} {place[1]} ends"
        self._consider_renewal()
        try:
            ends = self._reading.client.get_watermark_offsets(TopicPartition(*place), timeout=_ANSWER_SECONDS)
        except KafkaException as exc:
            raise Transient(f"{problem} ({exc.args[0].name()})") from exc
        if ends is None:
            raise Transient(problem)
        self._asked_in_vain = 0
        return ends

    def _consider_renewal(self) -> None:
        """Ask with another client after some answers that were none: this one may have lost its way for good."""
        if self._asked_in_vain and self._asked_in_vain % _ASKS_BEFORE_RENEWAL == 0:
            self._reading.renew()
        self._asked_in_vain += 1


def _consider(error: KafkaError) -> None:
    if error.fatal() or error.code() in _HOPELESS:
        raise Fatal(f"the join's state cannot be followed ({error}). Check `goalpost topics check` and the broker.")
    seldom("state.read_failed", dependency="kafka", problem=error.name())
