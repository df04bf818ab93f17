"""A compacted topic is known when it is read to its end, and nothing that it has lost is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer

from runtime.attention import Attention, Log
from runtime.compacted import CompactedTopic, NotSeen, Standing
from schemas.topics import WEBHOOKS
from tests.unit.runtime.messages import Client, Message, end

TOPIC = WEBHOOKS.name
LOG = Log(topic_id="x", begins={0: 0}, ends={0: 3})
OTHER = Log(topic_id="y", begins={0: 0}, ends={0: 0})


def read(standing: Standing, log: Log, *keys: bytes) -> set[bytes]:
    """Read a whole log that has ``keys``; return what is found to be gone."""
    standing.begin(log)
    for key in keys:
        standing.took(key, removed=False)
    return standing.ended(0, log.ends[0])


def test_all_is_known_only_at_the_end_offsets() -> None:
    standing = Standing()
    standing.begin(LOG)
    standing.took(b"a", removed=False)
    assert not standing.certain
    standing.ended(0, 1)
    assert not standing.certain, "this end was an earlier one"
    standing.ended(0, 3)
    assert standing.certain


def test_of_several_partitions_all_have_to_be_read() -> None:
    standing = Standing()
    standing.begin(Log(topic_id="x", begins={0: 0, 1: 0}, ends={0: 3, 1: 2}))
    standing.ended(0, 3)
    assert not standing.whole
    standing.ended(1, 2)
    assert standing.whole


def test_an_empty_topic_is_known_when_kafka_says_that_it_has_no_more() -> None:
    standing = Standing()
    standing.begin(OTHER)
    assert not standing.certain
    assert standing.ended(0, 0) == set()
    assert standing.certain


def test_in_the_same_log_what_is_not_there_any_more_was_removed() -> None:
    standing = Standing(trusted=LOG, known={b"a", b"b"})
    assert read(standing, replace(LOG, ends={0: 9}), b"a") == {b"b"}
    assert standing.certain
    assert standing.known == {b"a"}


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(OTHER, id="made anew"),
        pytest.param(replace(LOG, ends={0: 2}), id="cut off at its end"),
        pytest.param(replace(LOG, begins={0: 2}), id="cut off at its beginning"),
    ],
)
def test_a_topic_that_has_lost_records_takes_nothing_away_and_leaves_it_uncertain(log: Log) -> None:
    standing = Standing(trusted=LOG, known={b"a", b"b", b"c"})
    assert read(standing, log, b"a") == set()
    assert (standing.whole, standing.certain) == (True, False)
    assert standing.known == {b"a", b"b", b"c"}
    assert standing.unconfirmed == {b"b", b"c"}
    assert standing.trusted == LOG, "the next process has to find out, too"


def test_it_is_certain_again_when_all_of_it_has_been_written_anew() -> None:
    standing = Standing(trusted=LOG, known={b"a", b"b"})
    read(standing, OTHER)
    standing.took(b"a", removed=False)
    standing.took(b"b", removed=True)
    standing.grew(replace(OTHER, ends={0: 2}))
    assert standing.certain
    assert standing.known == {b"a"}
    assert standing.trusted == replace(OTHER, ends={0: 2})


class Reader:
    """The topic read by clients that a test lays down, and what Kafka says of it."""

    def __init__(self, log: Log | None, *clients: Client, **options: Any) -> None:
        self.log = log
        self.clients = list(clients)
        self.topic = CompactedTopic(
            WEBHOOKS,
            lambda: cast(Consumer, self.clients.pop(0)),
            lambda: self.log,
            attention=Attention(),
            name="test",
            **options,
        )

    def read(self) -> tuple[list[bytes], set[bytes]]:
        records, gone = self.topic.read(100, 0.1)
        return [record.key or b"" for record in records], gone


def record(offset: int, key: bytes, value: bytes | None = b"v") -> Message:
    return Message(offset, key, value, topic=TOPIC)


def test_nothing_is_read_before_kafka_has_said_where_the_topic_ends() -> None:
    reader = Reader(None, Client(), Client())
    with pytest.raises(NotSeen):
        reader.read()
    assert not reader.topic.standing.whole


def test_what_is_being_read_goes_on_while_kafka_does_not_say_where_it_ends() -> None:
    client = Client(record(0, b"a"))
    reader = Reader(LOG, client)
    reader.read()
    reader.log = None
    client.coming = [record(1, b"b"), end(3, TOPIC)]
    assert reader.read() == ([b"b"], set())
    assert reader.topic.standing.certain


def test_records_tombstones_and_ends_are_told() -> None:
    reader = Reader(LOG, Client(record(0, b"a"), record(1, b"b"), record(2, b"a", None), end(3, TOPIC)))
    assert reader.read() == ([b"a", b"b", b"a"], set())
    assert reader.topic.standing.certain
    assert reader.topic.standing.known == {b"b"}


def test_a_client_that_stays_silent_leaves_it_incomplete_however_long_it_takes() -> None:
    reader = Reader(LOG, Client())
    for _ in range(1000):
        assert reader.read() == ([], set())
    assert not reader.topic.standing.whole


def test_a_topic_that_is_made_anew_meanwhile_is_read_from_its_beginning_and_keeps_what_was_known() -> None:
    first = Client(record(0, b"a"), record(2, b"b"), end(3, TOPIC))
    second = Client(end(0, TOPIC))
    reader = Reader(LOG, first, second)
    reader.read()
    reader.log = OTHER
    assert reader.read() == ([], set())
    assert reader.clients == []
    standing = reader.topic.standing
    assert (standing.whole, standing.certain, standing.known) == (True, False, {b"a", b"b"})


def test_what_an_earlier_process_knew_counts() -> None:
    reader = Reader(OTHER, Client(end(0, TOPIC)), known=[b"a"], trusted=LOG)
    reader.read()
    assert not reader.topic.standing.certain
