"""A reader that is silent is told from one without work, from an outage, and from a group that is put together."""

from __future__ import annotations

import pytest

from runtime.attention import RENEW_AFTER_SECONDS, Attention, Log, Place, Sighting

A, B = ("t", 0), ("t", 1)
STALLED_SECONDS = 300.0


class Kafka:
    """What Kafka says, and the time. It says it anew at each moment unless it is ``away``."""

    def __init__(self, **ends: int) -> None:
        self.now = 1000.0
        self.away = False
        self.ends: dict[Place, int] = {A: 0, B: 0}
        self.members: dict[str, frozenset[Place]] | None = None
        self._said = self.now

    def clock(self) -> float:
        return self.now

    def sighting(self) -> Sighting:
        if not self.away:
            self._said = self.now
        return Sighting(at=self._said, ends=dict(self.ends), members=self.members)

    def watch(self, group: str | None = None) -> Attention:
        return Attention(self.sighting, group=group, clock=self.clock)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def pass_time(kafka: Kafka, attention: Attention, seconds: float) -> None:
    """Let time pass as a loop sees it, which asks all the time, and gets nothing."""
    until = kafka.now + seconds
    while kafka.now < until:
        kafka.now += 0.5
        attention.emptied()
        attention.silent()


def test_a_reader_that_has_all_there_is_may_be_silent_for_good(kafka: Kafka) -> None:
    kafka.ends = {A: 7, B: 0}
    attention = kafka.watch()
    attention.owns([A, B])
    attention.took(A, 7)
    pass_time(kafka, attention, 10_000)
    assert not attention.silent()
    assert attention.obstacle() is None
    assert attention.standstill(STALLED_SECONDS) is None


def test_a_reader_that_gets_nothing_of_what_is_there_is_unready_then_renewed_then_dead(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A])
    kafka.ends[A] = 3980
    pass_time(kafka, attention, 5)
    assert attention.obstacle() is None
    pass_time(kafka, attention, 5)
    assert "3980 records" not in (attention.obstacle() or "")  # from where it would read is not known yet
    assert "nothing has come" in (attention.obstacle() or "")
    assert not attention.silent()
    pass_time(kafka, attention, RENEW_AFTER_SECONDS)
    assert attention.silent()
    attention.begin()
    attention.owns([A])
    assert not attention.silent(), "the new client has its own time"
    assert attention.obstacle() is not None, "and yet nothing has come"
    while kafka.now < 1000 + STALLED_SECONDS + 5:
        pass_time(kafka, attention, 5)
        if attention.silent():
            attention.begin()
            attention.owns([A])
    assert attention.standstill(STALLED_SECONDS) is not None
    attention.took(A, 3980)
    assert (attention.obstacle(), attention.standstill(STALLED_SECONDS)) == (None, None)


def test_each_client_that_gets_nothing_either_has_twice_the_time(kafka: Kafka) -> None:
    """One that is given up may hang for good: a bad day must not cost a client every ten seconds."""
    attention = kafka.watch()
    attention.begin()
    attention.owns([A])
    kafka.ends[A] = 1
    began, renewed = kafka.now, []
    while kafka.now < began + 1000:
        pass_time(kafka, attention, 0.5)
        if attention.silent():
            renewed.append(kafka.now - began)
            attention.begin()
            attention.owns([A])
    assert len(renewed) == 7
    assert renewed[:3] == pytest.approx([10, 30, 70], abs=3)
    attention.took(A, 1)
    kafka.ends[A] = 2
    pass_time(kafka, attention, RENEW_AFTER_SECONDS + 2)
    assert attention.silent(), "who has got something begins anew"


def test_how_much_is_missing_is_said(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A, B])
    attention.took(A, 20)
    attention.took(B, 0)
    kafka.ends = {A: 4000, B: 0}
    pass_time(kafka, attention, 10)
    assert attention.behind() == 3980
    assert "3980 records" in (attention.obstacle() or "")


def test_an_outage_is_no_silence_of_the_reader_and_afterwards_it_gets_its_time(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A])
    kafka.ends[A] = 5
    pass_time(kafka, attention, 2)
    kafka.away = True
    pass_time(kafka, attention, 10_000)
    assert not attention.silent()
    assert (attention.obstacle(), attention.standstill(STALLED_SECONDS)) == (None, None)
    kafka.away = False
    pass_time(kafka, attention, RENEW_AFTER_SECONDS - 1)
    assert not attention.silent()
    pass_time(kafka, attention, 2)
    assert attention.silent()


def test_one_place_that_gets_nothing_is_noticed_while_all_others_do(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A, B])
    attention.took(B, 0)
    for position in range(30):
        kafka.ends = {A: position + 1, B: 5}
        attention.stands(A, position)
        pass_time(kafka, attention, 1)
    assert attention.silent()
    assert "5 records" in (attention.obstacle() or "") or "6 records" in (attention.obstacle() or "")


def test_a_place_whose_turn_has_not_come_in_a_long_backlog_is_not_missed(kafka: Kafka) -> None:
    """The client has so much of other places to give that this one's records wait behind them."""
    attention = kafka.watch()
    attention.owns([A, B])
    kafka.ends = {A: 10**6, B: 5}
    attention.took(B, 0)
    for position in range(0, 300_000, 1000):
        attention.stands(A, position)
        kafka.now += 1
        assert not attention.silent()


def test_any_record_is_a_sign_of_life_and_a_position_only_when_it_moves(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A])
    kafka.ends[A] = 1000
    for position in range(100):
        attention.stands(A, position)
        pass_time(kafka, attention, 5)
        assert not attention.silent()
    for _ in range(5):
        attention.stands(A, 99)
        pass_time(kafka, attention, 5)
    assert attention.silent()


def test_what_is_not_to_be_read_now_is_not_missed(kafka: Kafka) -> None:
    attention = kafka.watch()
    attention.owns([A, B])
    attention.took(A, 0)
    kafka.ends = {A: 0, B: 100}
    attention.rest([B])
    pass_time(kafka, attention, 100)
    assert not attention.silent()
    attention.rest([])
    pass_time(kafka, attention, 100)
    assert attention.silent()
    attention.excuse()
    assert not attention.silent()


def test_a_reader_that_kafka_does_not_count_to_its_group_is_silent_though_its_group_has_nobody(kafka: Kafka) -> None:
    attention = kafka.watch(group="g")
    attention.joined("me")
    attention.owns([A])
    attention.took(A, 0)
    kafka.members = {"me": frozenset({A})}
    pass_time(kafka, attention, 100)
    assert not attention.silent()
    kafka.members = {}
    pass_time(kafka, attention, 10)
    assert "does not count it to group g" in (attention.obstacle() or "")
    pass_time(kafka, attention, 10)
    assert attention.silent()


def test_a_reader_without_what_the_group_has_given_it_is_silent(kafka: Kafka) -> None:
    attention = kafka.watch(group="g")
    attention.joined("me")
    attention.owns([])
    kafka.members = {"me": frozenset({A})}
    pass_time(kafka, attention, 10)
    assert "has not taken up the partitions" in (attention.obstacle() or "")
    pass_time(kafka, attention, 10)
    assert attention.silent()


def test_while_a_group_is_put_together_nobody_is_to_blame(kafka: Kafka) -> None:
    attention = kafka.watch(group="g")
    attention.joined("me")
    kafka.members = None
    pass_time(kafka, attention, 200)
    assert not attention.silent()
    assert attention.standstill(100) is None


def test_a_member_is_ready_when_it_has_partitions_or_kafka_says_that_there_is_none_for_it(kafka: Kafka) -> None:
    attention = kafka.watch(group="g")
    assert "no partition" in (attention.obstacle() or "")
    kafka.members = {"me": frozenset(), "other": frozenset({A, B})}
    attention.joined("me")
    pass_time(kafka, attention, 1)
    assert attention.obstacle() is None
    other = kafka.watch(group="g")
    other.owns([A])
    assert other.obstacle() is None


def test_before_kafka_has_said_anything_nothing_is_known() -> None:
    attention = Attention(lambda: None)
    attention.owns([A])
    assert (attention.behind(), attention.silent(), attention.obstacle()) == (0, False, None)


@pytest.mark.parametrize(
    ("later", "continues"),
    [
        (Log(topic_id="x", begins={0: 0}, ends={0: 9}), True),
        (Log(topic_id="x", begins={0: 0}, ends={0: 5}), True),
        (Log(topic_id="x", begins={0: 0}, ends={0: 4}), False),
        (Log(topic_id="x", begins={0: 3}, ends={0: 9}), False),
        (Log(topic_id="y", begins={0: 0}, ends={0: 9}), False),
        (Log(topic_id="x", begins={}, ends={}), False),
    ],
)
def test_a_log_continues_another_when_it_has_lost_nothing_of_it(later: Log, continues: bool) -> None:
    assert later.continues(Log(topic_id="x", begins={0: 0}, ends={0: 5})) is continues
