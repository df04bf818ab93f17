"""Progress, patience, probes and webhooks: the small parts around the state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError
from prometheus_client import REGISTRY

from runtime.failures import Transient
from runtime.lifecycle import Heartbeat, Stop
from schemas.codec import Codec, SchemaText
from schemas.contracts import RAW_EVENTS, WEBHOOK_CONFIGURATIONS
from schemas.events import RawEvent
from schemas.records import Incoming
from schemas.topics import SESSIONS, WEBHOOKS
from streams import patience as patience_module
from streams.patience import Patience, PatientDecoder, StoppedWaiting
from streams.probes import Gauges, obstacles
from streams.state import follower as follower_module
from streams.state.database import shared_cache
from streams.state.folder import Folder, Identity, claim
from streams.state.follower import Follower
from streams.state.keys import due_key, since_value
from streams.state.progress import Progress
from streams.state.reader import Arrived, Reader
from streams.state.store import Store
from streams.webhooks import Webhooks
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


def _never() -> Consumer:
    pytest.fail("nothing is read from Kafka")


WEBHOOK_CODEC = WEBHOOK_CONFIGURATIONS.codec(schema_id=7, foreign_schema=lambda _: "")


def configured(value: bytes | None, offset: int, key: bytes = webhook().webhook_id.encode()) -> Incoming:
    return Incoming(topic=WEBHOOKS.name, partition=0, offset=offset, timestamp=NOW, key=key, value=value)


def test_the_last_readable_configuration_stands_and_a_tombstone_removes_it(patience: Patience) -> None:
    webhooks = Webhooks(connect=_never, decode=WEBHOOK_CODEC.decode, patience=patience)
    webhooks.take(configured(WEBHOOK_CODEC.encode(webhook(name="old")), 0))
    webhooks.take(configured(WEBHOOK_CODEC.encode(webhook(name="new")), 1))
    webhooks.take(configured(b"junk", 2))
    assert webhooks.get(webhook().webhook_id) == webhook(name="new")
    webhooks.take(configured(None, 3))
    assert webhooks.get(webhook().webhook_id) is None


class _Log:
    """As much of a consumer as reading to the end needs."""

    def __init__(self, records: list[Incoming], *, silent: int) -> None:
        """``silent`` polls bring nothing before the records come."""
        self._records = records
        self._silent = silent
        self.connected = 0

    def assign(self, _: object) -> None:
        self.connected += 1

    def close(self) -> None: ...

    def poll(self, _: float) -> object | None:
        if self._silent:
            self._silent -= 1
            return None
        if not self._records:
            return SimpleNamespace(error=lambda: KafkaError(KafkaError._PARTITION_EOF))
        record = self._records.pop(0)
        return SimpleNamespace(
            error=lambda: None,
            topic=lambda: record.topic,
            partition=lambda: record.partition,
            offset=lambda: record.offset,
            timestamp=lambda: (1, record.timestamp),
            key=lambda: record.key,
            value=lambda: record.value,
            headers=list,
        )


@pytest.mark.parametrize(("silent", "clients"), [(0, 1), (2, 1), (6, 2)])
def test_all_configurations_are_read_before_the_first_event_however_long_kafka_takes(
    patience: Patience, silent: int, clients: int
) -> None:
    """A client that stays silent is replaced: another one may see what it does not."""
    log = _Log([configured(WEBHOOK_CODEC.encode(webhook()), 0)], silent=silent)
    webhooks = Webhooks(connect=lambda: cast(Consumer, log), decode=WEBHOOK_CODEC.decode, patience=patience)
    webhooks.read_to_end()
    assert set(webhooks.known()) == {webhook().webhook_id}
    assert log.connected == clients


class _Mute:
    """As much of a reader as following needs, with more to read than it gives."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.reads: list[str] = []

    def ends(self, _: object) -> tuple[int, int]:
        return 0, 5

    def read_from(self, _: object) -> None:
        self.reads.append("assigned")
        if "renewed" in self.reads:
            self._stop.set()

    def poll(self) -> Arrived:
        return Arrived(records={})

    def renew(self) -> None:
        self.reads.append("renewed")

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


def test_a_client_that_gives_nothing_of_what_is_there_is_replaced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no partition would ever catch up, and no event be resolved."""
    monkeypatch.setattr(follower_module, "_SILENCE_SECONDS", -1.0)
    stop = threading.Event()
    mute = _Mute(stop)
    follower = following(mute, folder)
    follower.own(frozenset({0}))
    follower.follow(stop)
    assert mute.reads[:3] == ["assigned", "renewed", "assigned"]
    assert follower.ready() == frozenset()


def test_a_damaged_state_is_thrown_away_and_built_anew(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "_SILENCE_SECONDS", -1.0)
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
