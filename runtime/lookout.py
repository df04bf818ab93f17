"""What Kafka says when it is asked, on a thread and with a client that nobody else uses.

Kafka's clients go on trying without a word, so a process that is cut off looks the same as one without work; and a page
that asked only when it is read would keep its reader waiting exactly then.
"""

from __future__ import annotations

import io
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, Self

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from runtime import kafka
from runtime.attention import Log, Place, Sighting
from runtime.logs import seldom
from runtime.metrics import CLIENTS_RENEWED

_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 2.0
# How often Kafka is asked for more than a sign of life.
_SIGHT_SECONDS: Final = 4.0
# One look that a broker misses while a leader is elected is no news; two are. So a frozen broker shows after this and,
# at most, one look more: within eight seconds.
_SILENCE_SECONDS: Final = 5.0
# A topic that is deleted and made again meanwhile is rare, and asking for it needs the admin client.
_IDENTITY_SECONDS: Final = 60.0
# Kafka's own numbers for "the end" and "the beginning" where a time is asked for.
_LATEST: Final = -1
_EARLIEST: Final = -2
_SETTLED: Final = ("Stable", "Empty", "Dead")
_CLIENT: Final = "goalpost-lookout"
# The looking client may be the one that has lost its way.
_RENEW_SECONDS: Final = 10.0
_DOUBLINGS: Final = 3


class Broker(Protocol):
    """What is asked. Everything raises KafkaException where there is no answer."""

    def answer(self) -> object:
        """Return at once if Kafka answers."""

    def sighting(self) -> Sighting:
        """Return what Kafka says of the watched topics and group."""


class Lookout:
    """Says since when Kafka is silent, and what it said last. ``connect`` makes a client for the questions."""

    def __init__(self, connect: Callable[[], Broker], clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` is monotonic, in seconds."""
        self._connect = connect
        self._clock = clock
        self._broker = connect()
        self._connected_at = self._answered_at = self._answering_since = clock()
        self._answered = False
        self._in_vain = 0
        self._sighted_at = float("-inf")
        self._sighting: Sighting | None = None

    @classmethod
    def over(cls, bootstrap_servers: str, *topics: str, group: str | None = None, compacted: str | None = None) -> Self:
        """Return one that looks at ``topics``, at the members of ``group``, and at the log of a ``compacted`` topic."""
        return cls(lambda: _Kafka(bootstrap_servers, topics, group, compacted))

    def start(self) -> None:
        """Look every second until the process ends."""
        threading.Thread(target=self._keep_looking, name="lookout", daemon=True).start()

    def _keep_looking(self) -> None:
        while True:
            self.look()
            time.sleep(_LOOK_SECONDS)

    def look(self) -> None:
        """Ask Kafka now."""
        try:
            self._broker.answer()
            if not self._answered or self._clock() - self._answered_at > _SILENCE_SECONDS:
                self._answering_since = self._clock()
            self._answered = True
            self._in_vain = 0
            self._answered_at = self._clock()
            if self._clock() - self._sighted_at >= _SIGHT_SECONDS:
                self._sighting = self._broker.sighting()
                self._sighted_at = self._clock()
        except KafkaException as exc:
            self._renew(exc.args[0])

    def sighting(self) -> Sighting | None:
        """What Kafka said last; ``None`` before it has said anything."""
        return self._sighting

    def answering_seconds(self) -> float:
        """For how long Kafka has been answering all the time; 0 while it does not."""
        return 0.0 if self.obstacles() else self._clock() - self._answering_since

    def log(self) -> Log | None:
        """The log of the compacted topic, by what Kafka said last."""
        return None if self._sighting is None else self._sighting.compacted

    def obstacles(self) -> dict[str, str]:
        """Kafka, if it has been silent for a while, or from the start."""
        if not self._answered:
            return {"kafka": "it has not answered yet"}
        silence = self._clock() - self._answered_at
        return {"kafka": f"no answer for {silence:.0f} s"} if silence > _SILENCE_SECONDS else {}

    def _renew(self, error: KafkaError) -> None:
        silence = min(self._clock() - self._answered_at, self._clock() - self._connected_at)
        if silence > _RENEW_SECONDS * 2.0 ** min(self._in_vain, _DOUBLINGS):
            self._in_vain += 1
            CLIENTS_RENEWED.labels("lookout").inc()
            seldom("kafka.silent", why=error.name())
            self._broker = self._connect()
            self._connected_at = self._clock()


class _Kafka:
    """A :class:`Broker` over calls that wait for their answer themselves.

    Not the admin client's newer ones: a question to a group's coordinator that a frozen broker does not answer in time
    ends the whole process (librdkafka 2.16, a failed assertion in rd_kafka_enq_once_del_source_return).
    """

    def __init__(self, bootstrap_servers: str, topics: Sequence[str], group: str | None, compacted: str | None) -> None:
        # It joins no group; unlike an admin client it has the isolation level of those that it looks after.
        self._client = kafka.consumer(bootstrap_servers, group=_CLIENT, client_id=_CLIENT)
        self._admin = kafka.admin(bootstrap_servers)
        self._topics = topics if compacted is None else (*topics, compacted)
        self._group = group
        self._compacted = compacted
        self._places: list[Place] = []
        self._topic_id: str | None = None
        self._identified_at = float("-inf")

    def answer(self) -> object:
        return self._client.list_topics(self._topics[0], timeout=_ANSWER_SECONDS)

    def sighting(self) -> Sighting:
        now = time.monotonic()  # what is read while the answers come must not be taken for missing
        ends = self._offsets(self._partitions(), _LATEST)
        return Sighting(
            at=now,
            ends=ends,
            members=None if self._group is None else self._members(self._group),
            compacted=None if self._compacted is None else self._log(self._compacted, ends),
        )

    def _partitions(self) -> list[Place]:
        if not self._places:
            places: list[Place] = []
            for topic in self._topics:
                found = self._client.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
                if found.error is not None:
                    raise KafkaException(found.error)
                places += [(topic, partition) for partition in found.partitions]
            self._places = places
        return self._places

    def _offsets(self, places: Sequence[Place], which: int) -> dict[Place, int]:
        """Return the offsets of those that have a leader; an outage of one partition is none of the others."""
        asked = [TopicPartition(*place, which) for place in places]
        found = self._client.offsets_for_times(asked, timeout=_ANSWER_SECONDS)
        good = {(one.topic, one.partition): one.offset for one in found if one.error is None and one.offset >= 0}
        if not good:
            raise KafkaException(found[0].error or KafkaError(KafkaError._TIMED_OUT))
        return good

    def _log(self, topic: str, ends: Mapping[Place, int]) -> Log | None:
        places = [place for place in self._places if place[0] == topic]
        begins = self._offsets(places, _EARLIEST)
        if not all(place in ends and place in begins for place in places):
            return None
        return Log(
            topic_id=self._identity(topic),
            begins={partition: offset for (_, partition), offset in begins.items()},
            ends={partition: offset for (name, partition), offset in ends.items() if name == topic},
        )

    def _identity(self, topic: str) -> str:
        if self._topic_id is None or time.monotonic() - self._identified_at > _IDENTITY_SECONDS:
            (answer,) = self._admin.describe_topics(TopicCollection([topic]), request_timeout=_ANSWER_SECONDS).values()
            try:
                self._topic_id = str(answer.result(timeout=2 * _ANSWER_SECONDS).topic_id)
            except TimeoutError as exc:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from exc
            self._identified_at = time.monotonic()
        return self._topic_id

    def _members(self, group: str) -> dict[str, frozenset[Place]] | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what replaces it is what ends processes
            found = self._admin.list_groups(group, timeout=_ANSWER_SECONDS)
        if any(one.state not in _SETTLED for one in found):
            return None
        members = [member for one in found for member in one.members]
        return {str(member.id): assigned(bytes(member.assignment or b"")) for member in members}


def assigned(assignment: bytes) -> frozenset[Place]:
    """Return the partitions in a member's assignment, as Kafka's consumer protocol writes it.

    It is: a version, then an array of (topic, array of partitions), numbers of two and four bytes, big-endian.
    """
    source = io.BytesIO(assignment)

    def number(size: int) -> int:
        return int.from_bytes(source.read(size), signed=True)

    number(2)
    places: set[Place] = set()
    for _ in range(number(4)):
        topic = source.read(number(2)).decode()
        places.update((topic, number(4)) for _ in range(number(4)))
    return frozenset(places)
