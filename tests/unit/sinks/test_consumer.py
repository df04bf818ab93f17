"""The loop's promises, with a consumer whose broker is a list, and every effect in one ordered log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from runtime.breaker import Breaker, Limits
from runtime.failures import Fatal, Transient
from runtime.kafka import DeliveryFailed
from runtime.lifecycle import Heartbeat, Stop
from schemas.codec import Undecodable, UnknownSchemaId
from schemas.dead_letter import ErrorClass, Reason, Stage
from schemas.records import Incoming, Outgoing, header
from schemas.topics import CONVERSIONS
from sinks.consumer import SinkLoop
from sinks.contract import Item, Refused

TOPIC = CONVERSIONS.name


@dataclass(frozen=True, kw_only=True)
class Message:
    """As much of confluent_kafka.Message as is read."""

    value_: bytes | None = None
    partition_: int = 0
    offset_: int = 0
    error_: KafkaError | None = None

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_763_790_000_123

    def key(self) -> bytes:
        return b"s:1"

    def value(self) -> bytes | None:
        return self.value_

    def headers(self) -> list[tuple[str, bytes]]:
        return [("event_id", b"e")]

    def error(self) -> KafkaError | None:
        return self.error_


Poll = Message | Callable[[], None] | None


Rebalanced = Callable[[Any, list[TopicPartition]], None]


@dataclass(kw_only=True)
class Broker:
    """Answers polls from a list; when it is empty the process is asked to stop. Time passes only while it is polled."""

    stop: Stop
    log: list[Any]
    polls: list[Poll] = field(default_factory=list)
    refuses_commits: bool = False
    rebalanced: dict[str, Rebalanced] = field(default_factory=dict)
    now: float = 0.0
    partitions: set[int] = field(default_factory=set)

    def subscribe(self, topics: list[str], **callbacks: Rebalanced) -> None:
        self.rebalanced = callbacks
        self.assign(0, 1)

    def assign(self, *partitions: int) -> None:
        self.rebalanced["on_assign"](self, _places(partitions))

    def revoke(self, *partitions: int) -> None:
        self.rebalanced["on_revoke"](self, _places(partitions))
        self.partitions -= set(partitions)

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self.partitions |= {place.partition for place in places}

    def assignment(self) -> list[TopicPartition]:
        return _places(sorted(self.partitions))

    def position(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return places

    def pause(self, places: list[TopicPartition]) -> None:
        self.log.append(("paused", [place.partition for place in places]))

    def resume(self, places: list[TopicPartition]) -> None:
        self.log.append(("resumed", [place.partition for place in places]))

    def poll(self, timeout: float) -> Message | None:
        if not self.polls:
            self.stop.request()
            return None
        found = self.polls.pop(0)
        if isinstance(found, Message):
            return found
        self.now += timeout
        if found is not None:
            found()
        return None

    def consume(self, count: int, timeout: float) -> list[Message]:
        found: list[Message] = []
        while len(found) < count and self.polls and isinstance(self.polls[0], Message):
            found.append(cast(Message, self.polls.pop(0)))
        return found

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        if self.refuses_commits:
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.log.append(("committed", {place.partition: place.offset for place in offsets}))

    def close(self) -> None:
        self.log.append("left")


def _places(partitions: Sequence[int] | tuple[int, ...]) -> list[TopicPartition]:
    return [TopicPartition(TOPIC, partition) for partition in partitions]


class NowDown(Transient):
    """A dependency that will be back."""


@dataclass(kw_only=True)
class Recorder:
    """A sink that writes to the log; ``outages`` are raised first, one per call."""

    log: list[Any]
    outages: list[str] = field(default_factory=list)
    name: str = "test"
    mended: bool = False

    def _may_fail(self, step: str) -> None:
        if step in self.outages:
            self.outages.remove(step)
            self.log.append(f"{step} failed")
            raise NowDown(step)

    def open(self) -> None:
        self._may_fail("open")

    def probe(self) -> None:
        self._may_fail("probe")

    def close(self) -> None:
        self.log.append("closed")

    def decode(self, record: Incoming) -> str | None:
        self._may_fail("decode")
        assert record.value is not None
        if record.value == b"garbage":
            raise Undecodable("the first byte is 103, not the wire format's 0")
        if record.value == b"foreign":
            raise UnknownSchemaId(77)
        return None if record.value == b"no concern" else record.value.decode()

    def write(self, batch: Sequence[Item[str]]) -> list[Refused]:
        self._may_fail("write")
        refused = () if self.mended else ("bad",)
        self.log.append(("wrote", [item.content for item in batch if item.content not in refused]))
        return [
            Refused(
                record=item.record,
                reason=Reason(error_class=ErrorClass.ROW_REFUSED, stage=Stage.WRITE, message="refused"),
            )
            for item in batch
            if item.content in refused
        ]


@dataclass(kw_only=True)
class Letters:
    """A sender that keeps what it is given."""

    log: list[Any]
    letters: list[Outgoing] = field(default_factory=list)
    down: bool = False

    def send(self, records: Sequence[Outgoing]) -> None:
        if self.down and records:
            raise DeliveryFailed(records[0].topic, "no broker")
        self.letters += records
        if records:
            self.log.append(("letters", [header(one.headers, "dlq.error.class") for one in records]))


@dataclass(kw_only=True)
class Desk:
    """A loop and everything around it."""

    log: list[Any] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    outages: list[str] = field(default_factory=list)
    batch_rows: int = 100

    def __post_init__(self) -> None:
        self.broker = Broker(stop=self.stop, log=self.log)
        self.sink = Recorder(log=self.log, outages=self.outages)
        self.letters = Letters(log=self.log)
        self.loop = SinkLoop[str](
            lambda: cast(Consumer, self.broker),
            self.sink,
            self.letters,
            topics=(CONVERSIONS,),
            batch_rows=self.batch_rows,
            stop=self.stop,
            heartbeat=Heartbeat(),
            group="test-group",
            breaker=Breaker(Limits(run=3, share=1), lambda: self.broker.now),
            monotonic=lambda: self.broker.now,
        )

    def run(self, *polls: Poll) -> list[Any]:
        self.broker.polls = list(polls)
        self.loop.run()
        assert self.log.pop() == "closed"
        noise = (("resumed", [0, 1]),)
        return [effect for effect in self.log if effect not in noise]


def message(value: str, offset: int, partition: int = 0) -> Message:
    return Message(value_=value.encode(), offset_=offset, partition_=partition)


def test_what_has_arrived_is_one_batch_and_offsets_are_committed_behind_it() -> None:
    effects = Desk().run(message("a", 4), message("b", 9, 1), message("c", 5))
    assert effects == [("wrote", ["a", "b", "c"]), ("committed", {0: 6, 1: 10}), "left"]


def test_a_batch_is_never_larger_than_asked_for() -> None:
    effects = Desk(batch_rows=2).run(*(message(str(n), n) for n in range(3)))
    assert [effect[1] for effect in effects if effect[0] == "wrote"] == [["0", "1"], ["2"]]


def test_dead_letters_are_acknowledged_before_their_offsets_are_committed() -> None:
    desk = Desk()
    effects = desk.run(message("garbage", 0), message("a", 1), message("bad", 2), message("foreign", 3))
    assert effects == [
        ("wrote", ["a"]),
        ("letters", ["undecodable", "schema_unknown", "row_refused"]),
        ("committed", {0: 4}),
        "left",
    ]
    letter = desk.letters.letters[0]
    assert (letter.topic, letter.key, letter.value) == ("crm.conversions.dlq", b"s:1", b"garbage")
    assert letter.headers[0] == ("event_id", b"e")
    assert header(letter.headers, "dlq.original.offset") == "0"


def test_the_same_record_always_becomes_the_same_letter() -> None:
    ids = []
    for _ in range(2):
        desk = Desk()
        desk.run(message("garbage", 0))
        ids.append(header(desk.letters.letters[0].headers, "dlq.id"))
    assert ids[0] == ids[1]


def test_without_its_dead_letter_nothing_is_committed() -> None:
    desk = Desk()
    desk.letters.down = True
    with pytest.raises(DeliveryFailed):
        desk.run(message("garbage", 0))
    assert desk.log[-2:] == ["left", "closed"]
    assert not [effect for effect in desk.log if effect[0] == "committed"]


def test_a_wall_of_rejects_stops_the_stage_before_a_single_letter() -> None:
    desk = Desk()
    seen: list[str] = []

    def look() -> None:
        seen.append(desk.loop.obstacles()["TooManyRejects"])
        desk.stop.request()

    effects = desk.run(*(message("garbage", offset) for offset in range(4)), look)

    assert effects == [("wrote", []), ("paused", [0, 1]), "left"]
    assert "4 records in a row are refused (mostly undecodable)" in seen[0]
    assert "GOALPOST_REJECT_RUN=0" in seen[0]


def test_the_wall_is_tried_again_and_the_stage_goes_on_when_the_cause_is_mended() -> None:
    desk = Desk()
    bad = [message("bad", offset) for offset in range(4)]

    def mend() -> None:
        desk.sink.mended = True

    effects = desk.run(*bad, mend, *[None] * 200)

    assert effects == [
        ("wrote", []),
        ("paused", [0, 1]),
        ("wrote", ["bad"] * 4),
        ("committed", {0: 4}),
        "left",
    ]
    assert desk.loop.obstacles() == {}


def test_a_few_rejects_among_others_are_letters() -> None:
    effects = Desk().run(*(message(value, offset) for offset, value in enumerate(["bad", "garbage", "bad", "a"])))

    assert effects == [("wrote", ["a"]), ("letters", ["undecodable", "row_refused", "row_refused"]), *effects[2:]]


def test_records_of_no_concern_are_passed_over() -> None:
    effects = Desk().run(message("no concern", 0), message("no concern", 1))
    assert effects == [("wrote", []), ("committed", {0: 2}), "left"]


@pytest.mark.parametrize("step", ["decode", "write"])
def test_an_outage_pauses_the_partitions_and_loses_nothing(step: str) -> None:
    desk = Desk(outages=[step, step])
    seen: list[object] = []
    effects = desk.run(message("a", 0), lambda: seen.append(dict(desk.loop.obstacles())), *[None] * 5)
    assert effects == [
        f"{step} failed",
        ("paused", [0, 1]),
        f"{step} failed",
        ("wrote", ["a"]),
        ("committed", {0: 1}),
        "left",
    ]
    assert seen == [{"NowDown": step}]
    assert desk.loop.obstacles() == {}
    assert desk.log[-2] == ("resumed", [0, 1])


def test_before_the_dependencies_are_there_nothing_is_read() -> None:
    desk = Desk(outages=["open", "open"])
    assert desk.loop.obstacles() == {"start": "the sink has not reached its dependencies yet"}
    effects = desk.run(message("a", 0))
    assert effects == ["open failed", "open failed", ("wrote", ["a"]), ("committed", {0: 1}), "left"]


def test_a_partition_that_is_taken_away_during_an_outage_takes_its_records_with_it() -> None:
    desk = Desk(outages=["write"])
    effects = desk.run(message("mine", 4, 0), message("taken", 7, 1), lambda: desk.broker.revoke(1), None)
    assert ("wrote", ["mine"]) in effects
    assert ("committed", {0: 5}) in effects
    assert not [effect for effect in effects if "taken" in str(effect)]


def test_a_partition_that_comes_during_an_outage_waits_like_the_others() -> None:
    desk = Desk(outages=["write"])
    effects = desk.run(message("a", 0), lambda: desk.broker.assign(2), None)
    assert effects[:3] == ["write failed", ("paused", [0, 1]), ("paused", [2])]
    assert ("resumed", [0, 1, 2]) in effects


def test_a_record_that_was_on_its_way_when_the_partitions_were_paused_is_kept() -> None:
    effects = Desk(outages=["write"]).run(message("a", 0), message("late", 1), None)
    assert effects[-3:] == [("wrote", ["a", "late"]), ("committed", {0: 2}), "left"]


def test_a_stop_during_an_outage_leaves_the_batch_to_the_next_owner() -> None:
    desk = Desk(outages=["write"])
    effects = desk.run(message("a", 0), desk.stop.request)
    assert effects == ["write failed", ("paused", [0, 1]), "left"]


def test_a_commit_that_is_refused_does_not_stop_the_loop() -> None:
    desk = Desk()
    desk.broker.refuses_commits = True
    assert desk.run(message("a", 0), None, message("b", 1)) == [("wrote", ["a"]), ("wrote", ["b"]), "left"]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "goalpost topics apply"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "Allow this client"),
    ],
)
def test_what_only_a_person_can_put_right_ends_the_process_with_a_remedy(code: int, remedy: str) -> None:
    with pytest.raises(Fatal, match=remedy):
        Desk().run(Message(error_=KafkaError(code)))


def test_a_passing_error_of_the_broker_is_no_record() -> None:
    effects = Desk().run(Message(error_=KafkaError(KafkaError._TRANSPORT)), None, message("a", 0))
    assert effects == [("wrote", ["a"]), ("committed", {0: 1}), "left"]


def test_while_it_is_quiet_the_dependencies_are_asked_now_and_then() -> None:
    desk = Desk(outages=["probe"])
    seen: list[object] = []
    effects = desk.run(*[None] * 6, lambda: seen.append(dict(desk.loop.obstacles())), message("late", 0), *[None] * 4)
    assert effects == ["probe failed", ("paused", [0, 1]), ("wrote", ["late"]), ("committed", {0: 1}), "left"]
    assert seen == [{"NowDown": "probe"}]
