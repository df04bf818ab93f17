"""Since when Kafka is silent, and who looks."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from runtime.attention import Log, Sighting
from runtime.lookout import Lookout, assigned

LOG = Log(topic_id="x", begins={0: 0}, ends={0: 1})


class Broker:
    """Answers unless it is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away

    def answer(self) -> None:
        if self.away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def sighting(self) -> Sighting:
        self.answer()
        return Sighting(at=0.0, ends={("t", 0): 7}, compacted=LOG)


class Street:
    """A look-out, its clients in the order in which they are made, and the time."""

    def __init__(self, *brokers: Broker) -> None:
        self.now = 0.0
        self.made = 0
        self._brokers = brokers
        self.lookout = Lookout(self._connect, lambda: self.now)

    def _connect(self) -> Broker:
        self.made += 1
        return self._brokers[min(self.made, len(self._brokers)) - 1]

    def look_for(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.lookout.look()


def test_kafka_is_an_obstacle_while_it_is_silent_and_none_again_when_it_answers() -> None:
    broker = Broker()
    street = Street(broker)
    street.look_for(3)
    assert street.lookout.obstacles() == {}
    broker.away = True
    street.look_for(4)
    assert street.lookout.obstacles() == {}
    street.look_for(4)
    assert street.lookout.obstacles() == {"kafka": "no answer for 8 s"}
    assert street.lookout.answering_seconds() == 0.0
    broker.away = False
    street.look_for(1)
    assert street.lookout.obstacles() == {}
    street.look_for(9)
    assert street.lookout.answering_seconds() == 9


def test_a_silence_shows_even_while_a_look_hangs() -> None:
    street = Street(Broker())
    street.look_for(1)
    street.now += 100
    assert street.lookout.obstacles() == {"kafka": "no answer for 100 s"}


def test_the_looking_client_may_be_the_one_that_has_lost_its_way() -> None:
    """Else the wait would only be counted: "no answer for 670 s" was seen where Kafka was well."""
    lost, good = Broker(away=True), Broker()
    street = Street(lost, good)
    street.look_for(10)
    assert street.made == 1
    street.look_for(3)
    assert street.made == 2
    assert street.lookout.obstacles() == {}


def test_in_an_outage_clients_are_not_made_faster_than_they_can_connect() -> None:
    street = Street(Broker(away=True))
    street.look_for(1000)
    assert street.made < 20


def test_what_kafka_said_last_is_kept() -> None:
    broker = Broker()
    street = Street(broker)
    assert (street.lookout.sighting(), street.lookout.log()) == (None, None)
    street.look_for(1)
    seen = street.lookout.sighting()
    assert seen is not None
    assert seen.ends == {("t", 0): 7}
    broker.away = True
    street.look_for(20)
    assert street.lookout.log() == LOG


def test_the_partitions_of_a_member_are_read_as_kafka_writes_them() -> None:
    two_topics = (
        b"\x00\x01"
        b"\x00\x00\x00\x02"
        b"\x00\x03lab"
        b"\x00\x00\x00\x02"
        b"\x00\x00\x00\x00"
        b"\x00\x00\x00\x07"
        b"\x00\x01x"
        b"\x00\x00\x00\x01"
        b"\x00\x00\x00\x03"
        b"\xff\xff\xff\xff"
    )
    assert assigned(two_topics) == {("lab", 0), ("lab", 7), ("x", 3)}
    assert assigned(b"\x00\x00\x00\x00\x00\x00") == frozenset()
    assert assigned(b"") == frozenset()
