"""Progress, patience, probes and webhooks: the small parts around the state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from prometheus_client import REGISTRY

from runtime.attention import Attention, Log
from runtime.compacted import CompactedTopic
from runtime.failures import Transient
from runtime.kafka import DeliveryFailed
from runtime.last_known import LastKnown
from runtime.lifecycle import Heartbeat, Stop
from runtime.sending import Unacknowledged
from schemas.codec import Codec, SchemaText
from schemas.contracts import RAW_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.events import RawEvent
from schemas.records import Incoming, Outgoing
from schemas.topics import SESSIONS, WEBHOOKS
from streams import patience as patience_module
from streams.patience import Patience, PatientDecoder, PatientSender, StoppedWaiting
from streams.probes import Gauges, Probes, obstacles
from streams.state.database import shared_cache
from streams.state.folder import Folder, Identity, claim
from streams.state.follower import Follower
from streams.state.keys import due_key, since_value
from streams.state.progress import Progress
from streams.state.reader import Arrived, Reader
from streams.state.store import Store
from streams.webhooks import Webhooks
from tests.unit.runtime.messages import Client, Message, end
from tests.unit.streams.builders import NOW, RAW_CODEC, SESSION_CODEC, event, webhook


def test_a_partition_has_caught_up_when_all_its_topics_have() -> None:
    progress = Progress()
    progress.begin(("a", 0), 0, 10)
    progress.begin(("b", 0), 7, 7)
    progress.begin(("a", 1), 3, 3)
    assert progress.caught_up() == frozenset({1})
    assert progress.behind(0) == 10
    progress.read(("a", 0), 10)
    assert progress.caught_up() == frozenset({0, 1})


def test_an_end_that_holds_no_record_is_reached_when_kafka_says_that_there_is_no_more() -> None:
    """Compaction and transactions leave such ends; another partition's end says nothing."""
    progress = Progress()
    progress.begin(("a", 0), 0, 10)
    progress.begin(("a", 1), 0, 1000)
    progress.ended(("a", 1))
    assert progress.caught_up() == frozenset({1})
    progress.read(("a", 0), 9)
    assert progress.caught_up() == frozenset({1})
    progress.ended(("a", 0))
    assert progress.caught_up() == frozenset({0, 1})


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Patience:
    monkeypatch.setattr(patience_module, "_PAUSE_SECONDS", 0.001)
    return Patience(Stop(), Heartbeat())


def test_a_dependency_is_asked_until_it_answers_and_is_named_meanwhile(patience: Patience) -> None:
    seen: list[dict[str, str]] = []

    def ask() -> str:
        seen.append(dict(patience.obstacles))
        if len(seen) < 4:
            raise Transient("not now")
        return "answer"

    assert patience.until_answered("registry", ask) == "answer"
    assert seen == [{}, *[{"registry": "not now"}] * 3]
    assert patience.obstacles == {}


def test_a_stop_ends_the_waiting() -> None:
    stop = Stop()
    stop.request()

    def ask() -> None:
        raise Transient("not now")

    with pytest.raises(StoppedWaiting):
        Patience(stop, Heartbeat()).until_answered("registry", ask)


def test_a_record_of_a_foreign_schema_waits_for_the_registry_instead_of_being_refused(patience: Patience) -> None:
    answers: list[SchemaText | None] = [None, None, RAW_EVENTS.schema_text]

    def foreign(_: int) -> SchemaText:
        answer = answers.pop(0)
        if answer is None:
            raise Transient("down")
        return answer

    ours: Codec[RawEvent] = RAW_EVENTS.codec(schema_id=99, foreign_schema=foreign)
    assert PatientDecoder(ours, patience)(RAW_CODEC.encode(event())) == event()
    assert answers == []


class States:
    """A state with one partition."""

    def __init__(self, store: Store) -> None:
        self.held = {3: store}
        self.late: dict[int, int] = {}
        self.ours: frozenset[int] | None = frozenset({3})

    def owned(self) -> frozenset[int] | None:
        return self.ours

    def behind(self) -> dict[int, int]:
        return self.late

    def stores(self) -> dict[int, Store]:
        return self.held


@pytest.fixture
def states(tmp_path: Path) -> States:
    return States(Store(tmp_path / "db", shared_cache()))


def test_readiness_names_what_is_waited_for(states: States) -> None:
    assert obstacles(states, {}) == {}
    states.late = {3: 17}
    assert obstacles(states, {"registry": "down"}) == {"registry": "down", "state of partition 3": "17 records behind"}
    states.ours = None
    assert set(obstacles(states, {})) == {"kafka"}
    assert set(obstacles(None, {})) == {"kafka"}


def test_gauges_of_partitions_that_are_no_longer_ours_disappear(states: States) -> None:
    gauges, states.late = Gauges(), {3: 5}
    gauges.show(cast(Any, states))
    assert REGISTRY.get_sample_value("join_sessions_lag_records", {"partition": "3"}) == 5
    states.held = {}
    gauges.show(cast(Any, states))
    assert REGISTRY.get_sample_value("join_sessions_lag_records", {"partition": "3"}) is None


WEBHOOK_CODEC = WEBHOOK_CONFIGURATIONS.codec(schema_id=7, foreign_schema=lambda _: "")


def configured(value: bytes | None, offset: int, key: bytes = webhook().webhook_id.encode()) -> Incoming:
    return Incoming(topic=WEBHOOKS.name, partition=0, offset=offset, timestamp=NOW, key=key, value=value)


LOG = Log(topic_id="x", begins={0: 0}, ends={0: 1})


def reading(client: Client, patience: Patience, home: Path, log: Callable[[], Log | None] = lambda: LOG) -> Webhooks:
    """Webhooks over one client, with what an earlier process has left below ``home``."""
    last_known = LastKnown(home)
    topic = CompactedTopic(
        WEBHOOKS,
        lambda: cast(Consumer, client),
        log,
        attention=Attention(),
        name="test",
        trusted=last_known.log(),
    )
    return Webhooks(topic, decode=WEBHOOK_CODEC.decode, patience=patience, last_known=last_known)


def message(offset: int, value: bytes | None, key: bytes = webhook().webhook_id.encode()) -> Message:
    return Message(offset, key, value, topic=WEBHOOKS.name)


def test_the_last_readable_configuration_stands_and_a_tombstone_removes_it(patience: Patience, tmp_path: Path) -> None:
    webhooks = reading(Client(), patience, tmp_path)
    webhooks.take(configured(WEBHOOK_CODEC.encode(webhook(name="old")), 0))
    webhooks.take(configured(WEBHOOK_CODEC.encode(webhook(name="new")), 1))
    webhooks.take(configured(b"junk", 2))
    assert webhooks.get(webhook().webhook_id) == webhook(name="new")
    webhooks.take(configured(None, 3))
    assert webhooks.get(webhook().webhook_id) is None


def test_all_configurations_are_read_before_the_first_event_however_long_kafka_takes(
    patience: Patience, tmp_path: Path
) -> None:
    logs = iter([None, None, LOG])
    client = Client(message(0, WEBHOOK_CODEC.encode(webhook())), end(1, WEBHOOKS.name))
    webhooks = reading(client, patience, tmp_path, lambda: next(logs, LOG))
    webhooks.read_to_end()
    assert set(webhooks.known()) == {webhook().webhook_id}


def test_a_topic_that_was_made_anew_takes_no_configuration_away(patience: Patience, tmp_path: Path) -> None:
    first = Client(message(0, WEBHOOK_CODEC.encode(webhook())), end(1, WEBHOOKS.name))
    reading(first, patience, tmp_path).read_to_end()
    empty = Log(topic_id="another", begins={0: 0}, ends={0: 0})
    later = reading(Client(end(0, WEBHOOKS.name)), patience, tmp_path, lambda: empty)
    later.read_to_end()
    assert later.get(webhook().webhook_id) == webhook()


def test_what_was_removed_from_the_same_topic_is_forgotten(patience: Patience, tmp_path: Path) -> None:
    first = Client(message(0, WEBHOOK_CODEC.encode(webhook())), end(1, WEBHOOKS.name))
    reading(first, patience, tmp_path).read_to_end()
    later = reading(Client(end(9, WEBHOOKS.name)), patience, tmp_path, lambda: replace(LOG, ends={0: 9}))
    later.read_to_end()
    assert later.known() == {}


class _Mute:
    """As much of a reader as following needs, with more to read than it gives."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.reads: list[str] = []

    def ends(self, _: object) -> tuple[int, int]:
        return 0, 5

    def read_from(self, _: object) -> None:
        self.reads.append("assigned")
        if "lost" in self.reads:
            self._stop.set()

    def poll(self) -> Arrived:
        """Say that another client has taken over, which reads nothing by itself."""
        self.reads.append("lost")
        return Arrived(records={}, lost=True)

    def close(self) -> None: ...


def following(reader: _Mute, folder: Folder) -> Follower:
    return Follower(
        folder=folder,
        reader=cast(Reader, reader),
        sender=cast(Any, None),
        decode=SESSION_CODEC.decode,
        encode=SESSION_CODEC.encode,
        clock=lambda: NOW,
        heartbeat=Heartbeat(),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    claimed = claim(tmp_path, Identity(partitions=1, topic_ids={}))
    yield claimed
    claimed.release()


def test_what_is_assigned_is_taken_up_again_by_another_client(folder: Folder) -> None:
    """Else no partition would ever catch up, and no event be resolved."""
    stop = threading.Event()
    mute = _Mute(stop)
    follower = following(mute, folder)
    follower.own(frozenset({0}))
    follower.follow(stop)
    assert mute.reads[:3] == ["assigned", "lost", "assigned"]
    assert follower.ready() == frozenset()


def test_a_damaged_state_is_thrown_away_and_built_anew(folder: Folder) -> None:
    store = Store(folder.partition(0), shared_cache())
    store.write({due_key(NOW, 4): since_value(NOW)}, {SESSIONS.name: 5}, now=NOW)
    store.flush()
    del store
    (table,) = folder.partition(0).glob("*.sst")
    content = table.read_bytes()
    table.write_bytes(bytes(50) + content[50:])
    stop = threading.Event()
    follower = following(_Mute(stop), folder)
    follower.own(frozenset({0}))
    follower.follow(stop)
    assert follower.store(0).next_offset(SESSIONS.name) is None


class _Lost(Client):
    """A client that has forgotten every partition."""

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))


class _Good(Client):
    """One that knows them."""

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return 3, 8


def test_a_client_that_says_for_ever_that_there_is_no_such_partition_is_replaced(patience: Patience) -> None:
    """Seen for good after a freeze, until somebody restarted the process."""
    clients: list[Client] = [_Lost(), _Good()]
    reader = Reader(lambda: cast(Consumer, clients.pop(0)), patience, Attention())
    assert reader.ends((SESSIONS.name, 0)) == (3, 8)
    assert clients == []


def test_what_kafka_does_not_acknowledge_is_written_again_until_it_does(patience: Patience) -> None:
    """Once the join ended then; now it waits, and says for what."""
    seen: list[dict[str, str]] = []

    class Sender:
        def send(self, records: Sequence[Outgoing]) -> None:
            seen.append(dict(patience.obstacles))
            if len(seen) < 3:
                raise Unacknowledged(DeliveryFailed("t", "timed out"))
            assert records == [record]

    record = Outgoing(topic="t", key=b"k", value=b"v")
    PatientSender(Sender(), patience).send([record])
    assert [set(obstacles) for obstacles in seen] == [set(), {"kafka"}, {"kafka"}]
    assert patience.obstacles == {}


class _Reader:
    """An attention that says what the test wants."""

    problem: str | None = None

    def obstacle(self) -> str | None:
        return self.problem

    def standstill(self, _seconds: float) -> str | None:
        return self.problem


def test_a_silent_reader_stands_in_the_way_and_is_a_standstill_unless_something_is_awaited(states: States) -> None:
    awaited: dict[str, str] = {}
    events, state = _Reader(), _Reader()
    probes = Probes(
        events=cast(Attention, events),
        readers={"state": cast(Attention, state)},
        dependencies=lambda: awaited,
        awaited=lambda: awaited,
        stalled_seconds=300,
    )
    assert set(probes.obstacles()) == {"kafka"}, "it has not begun"
    probes.states = cast(Any, states)
    assert (probes.obstacles(), probes.standstill()) == ({}, None)
    events.problem = "for 9 s nothing has come, and 3980 records wait"
    assert probes.obstacles() == {"reader of events": events.problem}
    assert probes.standstill() == events.problem
    awaited["registry"] = "down"
    assert probes.standstill() is None
    assert set(probes.obstacles()) == {"registry", "reader of events"}
